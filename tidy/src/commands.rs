//! `docs/protocol.md` has a row for every command, in the words of the code: its name, and the file
//! of its conversation, which speaks of it.

use std::collections::BTreeSet;

use crate::{File, markdown, requirements, tokens};

/// The enums whose variants are commands.
const ENUMS: [&str; 2] = ["Command", "Write"];

/// What is wrong with the table, held against the enums in `source` and against `files`.
pub fn check(document: &File, source: &File, files: &[File]) -> Vec<String> {
    let tables = markdown::read(&document.text).tables;
    let table = tables.iter().find(|table| {
        table.first().and_then(|head| head.first()).is_some_and(|cell| cell == "command")
    });
    let Some(table) = table else {
        return vec![format!("{}: no table of commands", document.path)];
    };
    let mut findings = Vec::new();
    let mut missing = variants(&source.text);
    for row in &table[1..] {
        let [name, route, says, file, numbers] = &row[..] else {
            findings.push(format!("a row must have five cells: {row:?}"));
            continue;
        };
        let name = name.trim_matches('`');
        if !missing.remove(name) {
            findings.push(format!("{name}: no such command, or a second row of it"));
        }
        if !route.contains('→') || says.len() < 5 {
            findings.push(format!("{name}: it must say from whom, to whom, and what"));
        }
        findings.extend(not_spoken_of(name, file, files));
        let known = |number: &&str| !requirements::has(number);
        let unknown = numbers.split([',', ' ']).filter(|number| !number.is_empty()).filter(known);
        findings.extend(unknown.map(|number| format!("{name}: there is no requirement R{number}")));
    }
    findings.extend(missing.iter().map(|name| format!("{name}: the command has no row")));
    findings
}

/// The conversation's file must exist and use the command.
fn not_spoken_of(name: &str, cell: &str, files: &[File]) -> Option<String> {
    let path = cell.trim_matches('`');
    let Some(file) = files.iter().find(|file| file.path == path) else {
        return Some(format!("{name}: there is no file {path}"));
    };
    let mut spoken_of = false;
    tokens::identifiers(&file.text, &mut |ident, _| spoken_of |= ident == name);
    (!spoken_of).then(|| format!("{name}: {path} has nothing of it"))
}

fn variants(source: &str) -> BTreeSet<String> {
    let items = syn::parse_file(source).map(|file| file.items).unwrap_or_default();
    let commands = items.into_iter().filter_map(|item| match item {
        syn::Item::Enum(item) if ENUMS.iter().any(|name| item.ident == name) => Some(item),
        _ => None,
    });
    commands.flat_map(|item| item.variants).map(|variant| variant.ident.to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{file, none, tree};

    #[test]
    fn the_table_of_commands_says_what_the_code_has() {
        let files = tree();
        let source = file(&files, "core/src/command.rs");
        assert!(variants(&source.text).len() >= 14, "too few commands to be true");
        none(check(file(&files, "docs/protocol.md"), source, &files));
    }

    fn found(rows: &str) -> Vec<String> {
        let head = "| command | from → to | says | file | R |\n|---|---|---|---|---|\n";
        let document = File::new("docs/protocol.md", &format!("{head}{rows}"));
        let source =
            File::new("c.rs", "pub enum Command { Ack { at: u64 }, Leave } enum Other { X }");
        let talk =
            File::new("p/ack.rs", "fn f(c: Command) { matches!(c, Command::Ack { .. }) } // Leave");
        check(&document, &source, &[talk, File::new("p/leave.rs", "Command::Leave")])
    }

    const ACK: &str = "| `Ack` | a → b | I have it | `p/ack.rs` | 59, 60 |\n";
    const LEAVE: &str = "| `Leave` | one → all | I am going | `p/leave.rs` | |\n";

    #[test]
    fn a_right_table_has_no_findings() {
        assert_eq!(found(&format!("{ACK}{LEAVE}")), [""; 0]);
    }

    #[test]
    fn a_missing_command_and_one_that_does_not_exist_are_found() {
        assert_eq!(found(ACK), ["Leave: the command has no row"]);
        let extra = "| `X` | a → b | whatever | `p/leave.rs` | |\n";
        assert_eq!(found(&format!("{ACK}{LEAVE}{extra}")).len(), 2);
        assert_eq!(found(&format!("{ACK}{ACK}{LEAVE}")).len(), 1);
    }

    #[test]
    fn a_wrong_file_and_a_wrong_number_are_found() {
        let wrong = |from: &str, to: &str| found(&format!("{ACK}{}", LEAVE.replace(from, to)));
        assert_eq!(wrong("p/leave.rs", "p/none.rs"), ["Leave: there is no file p/none.rs"]);
        assert_eq!(wrong("p/leave.rs", "p/ack.rs"), ["Leave: p/ack.rs has nothing of it"]);
        assert_eq!(wrong("` | |", "` | 56 |"), ["Leave: there is no requirement R56"]);
        assert_eq!(wrong("one → all", "everybody").len(), 1);
    }

    #[test]
    fn a_document_without_the_table_is_found() {
        let document = File::new("docs/protocol.md", "nothing");
        assert_eq!(check(&document, &File::new("c.rs", ""), &[]).len(), 1);
    }
}
