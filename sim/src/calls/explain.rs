//! `explain`: what a name means that a run fails by.

use grapevine_sim::{guarantees, rare_page};

use super::say;

/// What a run can fail by that is no guarantee of the protocol: its name, and what it means.
const OTHERS: [(&str, &str); 2] = [
    (
        "panic",
        "An assertion did not hold, in an engine (`core/src/invariants.rs` and the assertions of the rules \
         themselves) or in the simulator: a bug, whatever caused it. The sentence is the place in the source, and what the panic says. `shrink` takes panics at two \
         places for two bugs.",
    ),
    (
        "undecided",
        "The run does not come to its end: more events in one simulated second than any farm can have, or \
         one event after which an engine wants more done than there can be to do. A loop, or a storm \
         that feeds itself. The bounds are in `sim/src/run.rs` and `sim/src/world.rs`. On real sockets also: \
         a guarantee that speaks of time (G1, G4, G5, G7) did not hold, and the machine was so slow that it may have \
         been that. The sentence says by how much; run it again.",
    ),
];

pub(crate) fn call(name: Option<&str>) -> Result<bool, String> {
    let Some(name) = name else { return list() };
    if name.eq_ignore_ascii_case("rare") {
        say(rare_page().trim_end())?;
        return Ok(true);
    }
    if let Some((name, means)) = OTHERS.iter().find(|(other, _)| name.eq_ignore_ascii_case(other)) {
        say(format_args!("{name}  {means}"))?;
        return Ok(true);
    }
    let all = guarantees();
    let wanted = all.iter().find(|about| about.name.eq_ignore_ascii_case(name));
    let about = wanted.ok_or_else(|| {
        format!("`{name}` is no guarantee; there are G1 to G10, panic, undecided, and rare")
    })?;
    say(format_args!("{}  {}\n", about.name, about.promise))?;
    say(format_args!(
        "Source:  {}\nRule:    {}\nChecked: {}",
        about.source, about.rule, about.file
    ))?;
    if let Some(what) = about.not_applied {
        say(format_args!("Not applied yet: {what}"))?;
    }
    Ok(true)
}

fn list() -> Result<bool, String> {
    for about in guarantees() {
        say(format_args!("{:<10} {}", about.name, about.promise))?;
    }
    for (name, means) in OTHERS {
        let first = means.split_inclusive(". ").next().unwrap_or(means);
        say(format_args!("{name:<10} {}", first.trim_end()))?;
    }
    say("rare       the names of all rare choices and rare paths")?;
    Ok(true)
}
