//! `docs/requirements.md` has a row for every requirement; each names the file that does it and the
//! test that shows it, and both exist. What is not done yet says so, with the reason.

use crate::{File, markdown, tokens};

/// The numbers of all requirements, in order, as the table must have them.
pub const ALL: [&str; 57] = [
    "57a",
    "57b",
    "57c",
    "57d",
    "57e",
    "58",
    "59",
    "60",
    "61",
    "62",
    "63",
    "64",
    "65",
    "66",
    "67",
    "68",
    "69",
    "70",
    "71",
    "72",
    "73",
    "74",
    "75",
    "76",
    "77",
    "78",
    "79, 80",
    "81",
    "82",
    "83",
    "84",
    "85",
    "86a",
    "86b",
    "86c, 86d",
    "86e",
    "86f",
    "86g",
    "86h",
    "87, 88",
    "89, 90",
    "91",
    "92",
    "93",
    "94",
    "95",
    "96",
    "97, 98",
    "99",
    "100",
    "101",
    "102 to 110",
    "111",
    "112",
    "112a",
    "112b1",
    "112b2",
];

/// Whether this is the number of a requirement, alone or within a row of several. A number without
/// its letter stands for all of its rows.
pub fn has(number: &str) -> bool {
    let within = |row: &str| match row.split_once(" to ") {
        Some((first, last)) => {
            let parsed = [first, number, last].map(|text| text.parse::<u32>().unwrap_or(0));
            parsed[1] > 0 && parsed.is_sorted()
        }
        None => row.split(", ").any(|one| {
            let letters = one.strip_prefix(number);
            letters.is_some_and(|rest| !rest.starts_with(|next: char| next.is_ascii_digit()))
        }),
    };
    !number.is_empty() && ALL.into_iter().any(within)
}

/// What the table says of one requirement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// A file does it and a test shows it.
    Done,
    /// It says that it isn't done yet, and why.
    NotYet,
}

/// What is wrong with the table in `document`, held against `files`; and how each row stands.
pub fn check(document: &File, files: &[File]) -> (Vec<String>, Vec<Standing>) {
    let tables = markdown::read(&document.text).tables;
    let rows: Vec<&Vec<String>> = tables.iter().flat_map(|table| table.iter().skip(1)).collect();
    let (mut findings, mut standings) = (Vec::new(), Vec::new());
    let numbers: Vec<&str> =
        rows.iter().filter_map(|row| row.first()).map(String::as_str).collect();
    for number in wanted() {
        match numbers.iter().filter(|other| **other == number).count() {
            1 => {}
            count => findings.push(format!("R{number}: {count} rows; there must be one")),
        }
    }
    for row in rows {
        let [number, must, file, test] = &row[..] else {
            findings.push(format!("a row must have four cells: {row:?}"));
            continue;
        };
        if !wanted().any(|wanted| wanted == number) {
            findings.push(format!("R{number}: there is no such requirement"));
        }
        if must.len() < 10 {
            findings.push(format!("R{number}: it doesn't say what the system must do"));
        }
        let unfinished = test.strip_prefix("not yet: ").map(str::len);
        if unfinished.is_some_and(|reason| reason > 10) {
            standings.push(Standing::NotYet);
            continue;
        }
        standings.push(Standing::Done);
        findings.extend(names_no_file(file, files).map(|what| format!("R{number}: {what}")));
        findings.extend(names_no_test(test, files).map(|what| format!("R{number}: {what}")));
    }
    (findings, standings)
}

fn wanted() -> impl Iterator<Item = &'static str> {
    ALL.into_iter()
}

fn names_no_file(cell: &str, files: &[File]) -> impl Iterator<Item = String> {
    let named: Vec<&str> = markdown::code_in(cell).collect();
    let none = named.is_empty().then(|| "it names no file that does it".to_owned());
    let missing = named.into_iter().filter(|path| !files.iter().any(|file| file.path == *path));
    none.into_iter()
        .chain(missing.map(|path| format!("there is no file {path}")).collect::<Vec<_>>())
}

fn names_no_test(cell: &str, files: &[File]) -> impl Iterator<Item = String> {
    let named: Vec<&str> = markdown::code_in(cell).collect();
    let none = named.is_empty().then(|| "it names no test that shows it".to_owned());
    let missing = named.into_iter().filter_map(|name| {
        let Some((path, test)) = name.split_once("::") else {
            return Some(format!("`{name}` is not a `path::test`"));
        };
        let Some(file) = files.iter().find(|file| file.path == path) else {
            return Some(format!("there is no file {path}"));
        };
        let found = tokens::tests(&file.text).iter().any(|other| other == test);
        (!found).then(|| format!("{path} has no test `{test}`"))
    });
    none.into_iter().chain(missing.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{file, none, tree};

    #[test]
    fn every_requirement_names_the_file_that_does_it_and_the_test_that_shows_it() {
        let files = tree();
        let (findings, standings) = check(file(&files, "docs/requirements.md"), &files);
        none(findings);
        let done = standings.iter().filter(|standing| **standing == Standing::Done).count();
        println!("{done} of {} requirements are done", standings.len());
    }

    #[test]
    fn numbers_alone_and_within_rows_are_known() {
        for number in ["57", "57e", "58", "80", "86", "86d", "105", "112b1"] {
            assert!(has(number), "{number}");
        }
        for number in ["", "5", "56", "113", "86z", "1", "57f"] {
            assert!(!has(number), "{number}");
        }
    }

    /// A table with one bad row, the others good.
    fn table(number: &str, row: &str) -> File {
        let good = |n: &str| format!("| {n} | do what it must | `a.rs` | `t.rs::it_works` |\n");
        let mut text = "| R | must | file | test |\n| --- | --- | --- | --- |\n".to_owned();
        wanted().for_each(|n| text += &if n == number { row.to_owned() } else { good(n) });
        File::new("docs/requirements.md", &text)
    }

    fn found(row: &str) -> Vec<String> {
        let files = [File::new("a.rs", ""), File::new("t.rs", "#[test] fn it_works() {}")];
        check(&table("68", row), &files).0
    }

    #[test]
    fn a_good_table_has_no_findings_and_an_open_row_is_counted() {
        assert!(found("| 68 | do what it must | `a.rs` | `t.rs::it_works` |\n").is_empty());
        let row = "| 68 | do what it must | | not yet: the answer goes to the asker only |\n";
        let (findings, standings) = check(
            &table("68", row),
            &[File::new("a.rs", ""), File::new("t.rs", "#[test] fn it_works() {}")],
        );
        assert!(findings.is_empty(), "{findings:?}");
        let open = standings.iter().filter(|standing| **standing == Standing::NotYet).count();
        assert_eq!((open, standings.len()), (1, wanted().count()));
    }

    #[test]
    fn a_missing_row_and_one_too_many_are_found() {
        assert_eq!(found(""), ["R68: 0 rows; there must be one"]);
        let twice = "| 68 | do what it must | `a.rs` | `t.rs::it_works` |\n".repeat(2);
        assert_eq!(found(&twice), ["R68: 2 rows; there must be one"]);
        let strange = found("| 999 | do what it must | `a.rs` | `t.rs::it_works` |\n");
        assert_eq!(strange.len(), 2, "{strange:?}");
    }

    #[test]
    fn a_row_without_a_file_or_a_test_or_with_one_that_does_not_exist_is_found() {
        let cases = [
            (
                "| 68 | do what it must | | `t.rs::it_works` |\n",
                "R68: it names no file that does it",
            ),
            (
                "| 68 | do what it must | `b.rs` | `t.rs::it_works` |\n",
                "R68: there is no file b.rs",
            ),
            ("| 68 | do what it must | `a.rs` | |\n", "R68: it names no test that shows it"),
            (
                "| 68 | do what it must | `a.rs` | not yet |\n",
                "R68: it names no test that shows it",
            ),
            ("| 68 | do what it must | `a.rs` | `t.rs` |\n", "R68: `t.rs` is not a `path::test`"),
            ("| 68 | do what it must | `a.rs` | `u.rs::x` |\n", "R68: there is no file u.rs"),
            ("| 68 | do what it must | `a.rs` | `t.rs::x` |\n", "R68: t.rs has no test `x`"),
        ];
        for (row, wanted) in cases {
            assert_eq!(found(row), [wanted], "{row}");
        }
    }
}
