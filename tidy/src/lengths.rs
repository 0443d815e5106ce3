//! Files and functions that one can take in at once.

use std::collections::BTreeMap;

use syn::visit::{self, Visit};

use crate::File;

/// The longest Rust file, in lines.
pub const FILE_LINES: usize = 500;
/// The longest function, in lines, from `fn` to the closing brace.
pub const FUNCTION_LINES: usize = 70;

/// What is too long. `ratchet` lists exceptions, one a line: a path or `path::function`, and the
/// number of lines that it may have. An exception that is no longer needed, or could be lowered,
/// is a finding too: so the list only gets shorter.
pub fn check(files: &[File], ratchet: &str) -> Vec<String> {
    let (mut excess, mut findings) = (BTreeMap::new(), Vec::new());
    for file in files.iter().filter(|file| file.is_rust()) {
        let lines = file.text.lines().count();
        if lines > FILE_LINES {
            excess.insert(file.path.clone(), (lines, FILE_LINES));
        }
        match functions(&file.text) {
            Ok(functions) => {
                for (name, lines) in functions.into_iter().filter(|(_, n)| *n > FUNCTION_LINES) {
                    excess.insert(format!("{}::{name}", file.path), (lines, FUNCTION_LINES));
                }
            }
            Err(error) => findings.push(format!("{}: {error}", file.path)),
        }
    }
    for line in ratchet.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
        let parsed = line.rsplit_once(' ').map(|(what, lines)| (what, lines.parse::<usize>()));
        let Some((what, Ok(allowed))) = parsed else {
            findings.push(format!("ratchet: `{line}` is not a name and a number of lines"));
            continue;
        };
        match excess.remove(what) {
            Some((lines, _)) if lines == allowed => {}
            Some((lines, _)) => {
                findings.push(format!("{what}: {lines} lines; the ratchet says {allowed}"));
            }
            None => findings.push(format!("ratchet: {what} needs no exception any more")),
        }
    }
    let too_long = |(what, (lines, allowed)): (String, (usize, usize))| {
        format!("{what}: {lines} lines; {allowed} are allowed")
    };
    findings.extend(excess.into_iter().map(too_long));
    findings
}

fn functions(text: &str) -> syn::Result<Vec<(String, usize)>> {
    let mut lengths = Lengths(Vec::new());
    lengths.visit_file(&syn::parse_file(text)?);
    Ok(lengths.0)
}

struct Lengths(Vec<(String, usize)>);

impl Lengths {
    fn note(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let end = block.brace_token.span.close().end().line;
        let lines = end + 1 - signature.fn_token.span.start().line;
        self.0.push((signature.ident.to_string(), lines));
    }
}

impl<'ast> Visit<'ast> for Lengths {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.note(&function.sig, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.note(&function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        if let Some(block) = &function.default {
            self.note(&function.sig, block);
        }
        visit::visit_trait_item_fn(self, function);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{none, tree};

    #[test]
    fn files_and_functions_can_be_taken_in_at_once() {
        none(check(&tree(), include_str!("../ratchet.txt")));
    }

    fn long() -> [File; 2] {
        let body = |lines| "    step();\n".repeat(lines);
        let function = format!("impl A {{\nfn b() {{\n{}}}\n}}\n", body(FUNCTION_LINES - 1));
        [File::new("a.rs", &"// x\n".repeat(FILE_LINES + 1)), File::new("b.rs", &function)]
    }

    #[test]
    fn a_long_file_and_a_long_function_are_found() {
        let found = check(&long(), "");
        assert_eq!(
            found,
            ["a.rs: 501 lines; 500 are allowed", "b.rs::b: 71 lines; 70 are allowed"]
        );
    }

    #[test]
    fn what_just_fits_is_not_found() {
        let body = "    step();\n".repeat(FUNCTION_LINES - 2);
        let files = [
            File::new("a.rs", &"// x\n".repeat(FILE_LINES)),
            File::new("b.rs", &format!("fn b() {{\n{body}}}\n")),
        ];
        assert!(check(&files, "").is_empty());
    }

    #[test]
    fn the_ratchet_allows_what_it_lists_and_only_gets_shorter() {
        assert!(check(&long(), "a.rs 501\nb.rs::b 71\n").is_empty());
        assert_eq!(check(&long(), "a.rs 502\nb.rs::b 71\n").len(), 1);
        assert_eq!(check(&long(), "a.rs 501\nb.rs::b 71\nc.rs 600\n").len(), 1);
        assert_eq!(check(&[], "nonsense").len(), 1);
        assert_eq!(check(&[File::new("a.rs", "fn f( {")], "").len(), 1, "what can't be read");
    }
}
