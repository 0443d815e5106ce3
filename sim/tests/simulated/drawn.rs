//! Faults drawn by seed, and the same trace for the same seed.

use std::process::Command;
use std::time::Duration;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use xxhash_rust::xxh3::xxh3_64;

use crate::farm::Simulated;
use crate::net::{SEED, SEEDS};
use crate::shoppers::Shoppers;

/// A farm of a drawn size under drawn faults, with customers. Returns the hash of all that they were
/// told, and of how many bytes went over every link.
fn run(seed: u64) -> u64 {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let size = rng.random_range(2..=5);
    let mut farm = Simulated::new(size, seed);
    let shoppers = Shoppers::open(&mut farm, rng.random_range(3..8), seed);
    let all: Vec<u16> = (1..=size).collect();
    let mut died = false;
    for _ in 0..rng.random_range(4..10) {
        let (one, other) = sides(&mut rng, &all);
        let dead: Vec<u16> =
            all.iter().copied().filter(|number| !farm.running().contains(number)).collect();
        match rng.random_range(0..7) {
            0 => farm.partition(&one, &other),
            1 => farm.cut_off(&one, &other),
            2 => farm.hold(&one, &other),
            3 | 4 => farm.release_all(&all),
            5 if dead.is_empty() && size > 2 => {
                farm.crash(one[0]);
                died = true;
            }
            _ => dead.iter().for_each(|&number| farm.start(number)),
        }
        farm.run_for(Duration::from_millis(rng.random_range(100..3000)));
    }
    farm.release_all(&all);
    for &number in &all {
        if !farm.running().contains(&number) {
            farm.start(number);
        }
    }
    farm.run_for(Duration::from_secs(8));
    shoppers.close(&mut farm);
    let log = shoppers.log.borrow();
    assert!(died || log.lost == 0, "seed {seed}: lost, and all servers lived");
    let mut trace = log.lines.clone();
    for number in all {
        let links = farm.server(number).links();
        trace += &format!("{number}: {} {}\n", links.bytes_sent, links.bytes_received);
    }
    xxh3_64(trace.as_bytes())
}

/// A server, or some, and the others.
fn sides(rng: &mut ChaCha8Rng, all: &[u16]) -> (Vec<u16>, Vec<u16>) {
    loop {
        let (one, other): (Vec<u16>, Vec<u16>) = all.iter().partition(|_| rng.random_bool(0.4));
        if !one.is_empty() && !other.is_empty() {
            return (one, other);
        }
    }
}

#[test]
fn whatever_happens_customers_are_shown_what_they_know() {
    let seeds = std::env::var(SEEDS).ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(4);
    for seed in 100..100 + seeds {
        println!("seed {seed}: {:016x}", run(seed));
    }
}

#[test]
fn one_seed_has_one_trace_in_two_processes() {
    // This very test, run by itself, says what the trace of a seed is.
    if let Some(seed) = std::env::var(SEED).ok().and_then(|seed| seed.parse().ok()) {
        println!("trace {:016x}", run(seed));
        return;
    }
    let traces = [1, 1, 2].map(|seed: u64| {
        let mut process = Command::new(std::env::current_exe().expect("this program"));
        process.args(["--exact", "drawn::one_seed_has_one_trace_in_two_processes"]);
        let output = process.arg("--nocapture").env(SEED, seed.to_string()).output();
        let output = output.expect("the program runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let trace = text
            .lines()
            .find_map(|line| line.split_once("trace ").map(|(_, hash)| hash.to_owned()));
        trace.unwrap_or_else(|| {
            panic!("no trace in {text}{}", String::from_utf8_lossy(&output.stderr))
        })
    });
    assert_eq!(traces[0], traces[1], "one seed");
    assert_ne!(traces[0], traces[2], "two seeds");
}
