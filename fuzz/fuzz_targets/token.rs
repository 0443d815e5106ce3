//! Under cargo-fuzz: the libFuzzer target. Built plainly: runs the files named on the command line,
//! such as a crash that the fuzzer found.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| grapevine_fuzz::token(data));

#[cfg(not(fuzzing))]
fn main() -> std::io::Result<()> {
    for file in std::env::args_os().skip(1) {
        grapevine_fuzz::token(&std::fs::read(file)?);
    }
    Ok(())
}
