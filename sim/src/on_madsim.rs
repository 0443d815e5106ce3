//! Builds with madsim. It takes the place of the system's clock and entropy in the whole program, so it is in
//! no build that doesn't ask for it by `--cfg madsim`; and those that do have a folder of their own, so that
//! neither kind builds anything of the other anew.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A variable that is set in such builds, and for the programs that they build: whoever finds it and has no
/// madsim knows that the flag was lost.
pub const FOR_MADSIM: &str = "GRAPEVINE_FOR_MADSIM";

/// Flags of the compiler, as cargo takes them from the environment: one that is set makes it leave out those
/// of the others and of its files.
const FLAGS: [(&str, &str); 2] = [("CARGO_ENCODED_RUSTFLAGS", "\u{1f}"), ("RUSTFLAGS", " ")];

/// A call of cargo (`build`, `test`) for this package with madsim, in the profile of this very program. The
/// caller's own flags for the compiler stay, if they are in the environment; those in files of cargo's settings
/// are left out, for ours are in the environment.
pub fn cargo_for_madsim(call: &str) -> Command {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(PathBuf::from);
    let workspace = workspace.unwrap_or_default();
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let target = target.unwrap_or_else(|| workspace.join("target")).join("madsim");
    let own = FLAGS.iter().find_map(|(name, between)| {
        let flags = std::env::var(name).ok()?;
        Some(
            flags.split(between).filter(|flag| !flag.is_empty()).collect::<Vec<_>>().join("\u{1f}"),
        )
    });
    let mut flags =
        own.filter(|own| !own.is_empty()).map_or_else(String::new, |own| own + "\u{1f}");
    flags += "--cfg\u{1f}madsim";

    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args([call, "--locked", "-p", "grapevine-sim", "--no-default-features"])
        .arg("--manifest-path")
        .arg(workspace.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(target)
        .env("CARGO_ENCODED_RUSTFLAGS", flags)
        .env_remove("RUSTFLAGS")
        .env("CARGO_ENCODED_RUSTDOCFLAGS", "--cfg\u{1f}madsim")
        .env_remove("RUSTDOCFLAGS")
        .env(FOR_MADSIM, "1");
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    cargo
}
