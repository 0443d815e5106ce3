//! Rules that the whole tree keeps. Each rule is a function from texts to findings, with two tests:
//! the tree has no findings, and a small bad sample has.

pub mod commands;
pub mod dependencies;
pub mod lengths;
pub mod links;
pub mod names;
pub mod requirements;

mod markdown;
mod tokens;

use std::fs;
use std::path::Path;

/// One text file of the tree.
#[derive(Clone, Debug)]
pub struct File {
    /// Its path from the root of the tree, with `/`.
    pub path: String,
    /// What it says.
    pub text: String,
}

impl File {
    /// A file that needs not exist.
    pub fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    fn is_markdown(&self) -> bool {
        self.path.ends_with(".md")
    }
}

/// All text files of the tree, in path order.
///
/// # Panics
/// If a folder or a file of the tree can't be read.
pub fn tree() -> Vec<File> {
    let mut files = Vec::new();
    collect(root(), "", &mut files);
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

/// The root of the tree.
fn root() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package)
}

/// Folders of what was built, found or drawn, not written.
const NOT_WRITTEN: [&str; 5] = [".git", "target", "corpus", "artifacts", "proptest-regressions"];

fn collect(folder: &Path, prefix: &str, files: &mut Vec<File>) {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{prefix}: {error}"));
    for entry in entries {
        let entry = entry.unwrap_or_else(|error| panic!("{prefix}: {error}"));
        let name = entry.file_name().to_string_lossy().into_owned();
        if NOT_WRITTEN.contains(&name.as_str()) {
            continue;
        }
        let path = format!("{prefix}{name}");
        if entry.path().is_dir() {
            collect(&entry.path(), &format!("{path}/"), files);
        } else if let Ok(text) = fs::read_to_string(entry.path()) {
            files.push(File { path, text });
        }
    }
}

/// The file at this path.
///
/// # Panics
/// If there is none.
pub fn file<'a>(files: &'a [File], path: &str) -> &'a File {
    let found = files.iter().find(|file| file.path == path);
    found.unwrap_or_else(|| panic!("the tree has no file {path}"))
}

/// Fails with all findings, one a line.
#[cfg(test)]
fn none(findings: Vec<String>) {
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_all_there() {
        let files = tree();
        for path in ["README.md", "Cargo.toml", ".ci/run", "core/src/lib.rs", "docs/protocol.md"] {
            assert!(file(&files, path).text.len() > 100, "{path} is too short to be true");
        }
        assert!(!files.iter().any(|file| file.path.contains("target/")));
    }
}
