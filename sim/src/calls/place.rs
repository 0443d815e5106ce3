//! Where runs are: `--on`.

use grapevine_sim::On;

/// Where runs can be. `None`: on madsim, in a program of its own.
#[derive(Clone, Copy)]
pub(super) struct Place(pub(super) Option<On>);

pub(super) fn parse_on(name: &str) -> Result<Place, String> {
    let here = On::ALL.iter().map(|&on| (on.name(), Place(Some(on))));
    let beyond =
        (!here.clone().any(|(name, _)| name == "madsim")).then_some(("madsim", Place(None)));
    let all: Vec<(&str, Place)> = here.chain(beyond).collect();
    let named = all.iter().find(|(known, _)| *known == name).map(|&(_, place)| place);
    let names: Vec<&str> = all.iter().map(|&(known, _)| known).collect();
    named.ok_or_else(|| format!("there are: {}", names.join(", ")))
}

/// The same option in a call that is told: none for the queue.
pub(super) fn option(on: On) -> String {
    if on == On::Queue { String::new() } else { format!(" --on {}", on.name()) }
}
