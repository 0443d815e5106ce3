//! Links in documents lead somewhere: to a file of the tree, and to a heading in it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::markdown::{self, Document};
use crate::{File, root};

/// Relative links that lead nowhere. `exists` tells whether the tree has a path.
pub fn check(files: &[File], exists: &dyn Fn(&str) -> bool) -> Vec<String> {
    let documents: BTreeMap<&str, Document> = files
        .iter()
        .filter(|file| file.is_markdown())
        .map(|file| (file.path.as_str(), markdown::read(&file.text)))
        .collect();
    let mut findings = Vec::new();
    for (path, document) in &documents {
        for link in &document.links {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (target, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if target.is_empty() { (*path).to_owned() } else { beside(path, target) };
            if !exists(&target) {
                findings.push(format!("{path}: the link {link} leads to no file"));
                continue;
            }
            let known = documents.get(target.as_str());
            let heading = known.is_none_or(|document| document.anchors.iter().any(|a| a == anchor));
            if !anchor.is_empty() && !heading {
                findings.push(format!("{path}: the link {link} leads to no heading"));
            }
        }
    }
    findings
}

/// Files that documents name in backticks, and that the tree hasn't. The end of a path is enough.
pub fn check_names(files: &[File]) -> Vec<String> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| file.is_markdown()) {
        for name in markdown::read(&file.text).code {
            let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c));
            let named = [".rs", ".md", ".toml"].iter().any(|end| name.ends_with(end));
            let ends_so = |other: &File| {
                other.path.strip_suffix(&name).is_some_and(|p| p.is_empty() || p.ends_with('/'))
            };
            if plain && named && !files.iter().any(ends_so) {
                findings.push(format!("{}: there is no file {name}", file.path));
            }
        }
    }
    findings
}

/// Documents that no other document leads to: nobody would find them. The README is found anyway.
pub fn check_found(files: &[File]) -> Vec<String> {
    let documents = || files.iter().filter(|file| file.is_markdown());
    let mut found = BTreeSet::from(["README.md".to_owned()]);
    for file in documents() {
        for link in markdown::read(&file.text).links {
            let target = beside(&file.path, link.split('#').next().unwrap_or(&link));
            if target != file.path {
                found.insert(target);
            }
        }
    }
    let lost = documents().filter(|file| !found.contains(&file.path));
    lost.map(|file| format!("{}: no document has a link to it", file.path)).collect()
}

/// The path that a link means, from the root of the tree.
fn beside(path: &str, link: &str) -> String {
    let mut parts: Vec<&str> = path.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// Whether the tree has a file or a folder at this path.
pub fn in_tree(path: &str) -> bool {
    Path::new(root()).join(path).exists()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{none, tree};

    #[test]
    fn every_link_of_every_document_leads_somewhere() {
        let files = tree();
        let links = files.iter().filter(|f| f.is_markdown()).map(|f| markdown::read(&f.text).links);
        assert!(links.map(|links| links.len()).sum::<usize>() > 10, "too few links to be true");
        none(check(&files, &in_tree));
    }

    #[test]
    fn every_file_that_a_document_names_exists() {
        none(check_names(&tree()));
    }

    #[test]
    fn every_document_is_found_from_another() {
        none(check_found(&tree()));
    }

    #[test]
    fn a_document_that_only_links_to_itself_is_lost() {
        let files = [
            File::new("README.md", "[a](docs/a.md#x)"),
            File::new("docs/a.md", "[up](../README.md)"),
            File::new("docs/b.md", "[here](b.md)"),
        ];
        assert_eq!(check_found(&files), ["docs/b.md: no document has a link to it"]);
    }

    #[test]
    fn a_name_of_no_file_is_found() {
        let text = "`src/a.rs` `a.rs` `b/a.rs` `rc/a.rs` `x.rs::test` `*.rs`";
        let files = [File::new("docs/a.md", text), File::new("core/src/a.rs", "")];
        assert_eq!(
            check_names(&files),
            ["docs/a.md: there is no file b/a.rs", "docs/a.md: there is no file rc/a.rs"]
        );
    }

    #[test]
    fn a_dead_link_and_a_dead_anchor_are_found() {
        let files = [
            File::new("docs/a.md", "# Here\n[1](b.md) [2](../c.md#there) [3](#here) [4](#gone)"),
            File::new("c.md", "# There\n[5](docs/none.md) [6](https://example.invalid/x)"),
        ];
        let exists = |path: &str| files.iter().any(|file| file.path == path);
        assert_eq!(
            check(&files, &exists),
            [
                "c.md: the link docs/none.md leads to no file",
                "docs/a.md: the link b.md leads to no file",
                "docs/a.md: the link #gone leads to no heading",
            ]
        );
    }
}
