//! Every dependency stands once, with the reason we have it; every package keeps the same lints.

use toml::{Table, Value};

use crate::File;

/// Sections that list dependencies.
const SECTIONS: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];

/// Features that only one package may turn on: what ships must not have them.
const RESERVED: [(&str, &str, &str); 1] = [("grapevine-core", "rare", "sim/Cargo.toml")];

/// Dependencies that only packages of one folder may have: nothing that ships is simulated.
const SIMULATED: [(&str, &str); 2] = [("turmoil", "sim/"), ("grapevine-tokio-turmoil", "sim/")];

/// What is wrong with the manifests. `root` is the workspace's; `members` those of its packages.
pub fn check(root: &File, members: &[&File]) -> Vec<String> {
    let mut findings = without_reason(root);
    for member in members {
        let manifest = match member.text.parse::<Table>() {
            Ok(manifest) => manifest,
            Err(error) => {
                findings.push(format!("{}: {error}", member.path));
                continue;
            }
        };
        if !is_true(manifest.get("lints").and_then(|lints| lints.get("workspace"))) {
            findings
                .push(format!("{}: the package doesn't keep the workspace's lints", member.path));
        }
        for section in SECTIONS {
            let listed = manifest.get(section).and_then(Value::as_table);
            for (name, dependency) in listed.into_iter().flatten() {
                let path = &member.path;
                if !is_true(dependency.get("workspace")) {
                    findings.push(format!("{path}: `{name}` must stand in the root's list"));
                }
                if SIMULATED.iter().any(|&(only, folder)| only == name && !path.starts_with(folder))
                {
                    findings.push(format!("{path}: `{name}` must not be in what ships"));
                }
                for feature in reserved(name, dependency, path) {
                    findings
                        .push(format!("{path}: `{name}` must not have the feature `{feature}`"));
                }
            }
        }
    }
    findings
}

/// The features of a dependency that this package may not turn on.
fn reserved<'a>(
    name: &'a str,
    dependency: &'a Value,
    path: &'a str,
) -> impl Iterator<Item = &'static str> + 'a {
    let listed = dependency.get("features").and_then(Value::as_array).into_iter().flatten();
    let on: Vec<&str> = listed.filter_map(Value::as_str).collect();
    RESERVED.into_iter().filter_map(move |(package, feature, allowed)| {
        (package == name && allowed != path && on.contains(&feature)).then_some(feature)
    })
}

fn is_true(value: Option<&Value>) -> bool {
    value.and_then(Value::as_bool) == Some(true)
}

/// Dependencies of the root's list with no comment above them. Neighbours may share one; a heading
/// (`# ---`) is none; our own packages need none.
fn without_reason(root: &File) -> Vec<String> {
    let mut findings = Vec::new();
    let (mut inside, mut reason) = (false, false);
    for (number, line) in root.text.lines().enumerate() {
        if line.starts_with('[') {
            inside = line == "[workspace.dependencies]";
            reason = false;
        } else if line.trim().is_empty() || line.starts_with("# ---") {
            reason = false;
        } else if line.starts_with('#') {
            reason = true;
        } else if inside && !reason && !line.starts_with("grapevine-") {
            let name = line.split([' ', '=']).next().unwrap_or(line);
            findings.push(format!("{}:{}: `{name}` has no reason", root.path, number + 1));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{file, none, tree};

    /// The paths of the workspace's packages.
    fn members(root: &File) -> Vec<String> {
        let manifest = root.text.parse::<Table>().unwrap();
        let listed = manifest["workspace"]["members"].as_array().unwrap();
        listed.iter().map(|member| format!("{}/Cargo.toml", member.as_str().unwrap())).collect()
    }

    #[test]
    fn every_dependency_has_a_reason_and_every_package_the_lints() {
        let files = tree();
        let root = file(&files, "Cargo.toml");
        let paths = members(root);
        assert!(paths.len() >= 5, "{paths:?}");
        let manifests: Vec<&File> = paths.iter().map(|path| file(&files, path)).collect();
        none(check(root, &manifests));
    }

    #[test]
    fn a_dependency_without_a_reason_or_outside_the_list_and_missing_lints_are_found() {
        let root = "[workspace.dependencies]\n# --- heading\na = \"1\"\n# Why b and c.\nb = \"1\"\n\
                    c = \"1\"\n\nd = { version = \"1\" }\ngrapevine-core = { path = \"core\" }\n";
        let bad = "[dependencies]\nb.workspace = true\ne = \"1\"\nturmoil.workspace = true\n";
        let good = "[dev-dependencies]\nb = { workspace = true }\n[lints]\nworkspace = true\n";
        let rare = "grapevine-core = { workspace = true, features = [\"rare\"] }\n";
        let rare = format!("[dependencies]\n{rare}[lints]\nworkspace = true\n");
        let [root, bad, good, ships, sim] = [
            ("Cargo.toml", root),
            ("x/Cargo.toml", bad),
            ("y/Cargo.toml", good),
            ("node/Cargo.toml", &rare),
            ("sim/Cargo.toml", &rare),
        ]
        .map(|(path, text)| File::new(path, text));
        assert_eq!(
            check(&root, &[&bad, &good, &ships, &sim]),
            [
                "Cargo.toml:3: `a` has no reason",
                "Cargo.toml:8: `d` has no reason",
                "x/Cargo.toml: the package doesn't keep the workspace's lints",
                "x/Cargo.toml: `e` must stand in the root's list",
                "x/Cargo.toml: `turmoil` must not be in what ships",
                "node/Cargo.toml: `grapevine-core` must not have the feature `rare`",
            ]
        );
    }
}
