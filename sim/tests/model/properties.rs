//! What must hold in every state, what in every last one, and what must happen at all: a search that
//! meets none of the last kind has looked at nothing.

use stateright::Property;

use crate::farm::{Farm, Outcome, State};
use crate::script::{Ask, Bounds, Crash};

/// What does not hold: one other server is enough for an acknowledgement, and there may be more.
pub(crate) const PLANTED: &str = "what is acknowledged is everywhere";

/// All properties of a model.
pub(crate) fn all(bounds: &Bounds) -> Vec<Property<Farm>> {
    let mut all = vec![
        Property::always("no engine and no answer is wrong (G3 to G7)", |farm: &Farm, state| {
            farm.breaks_once(0, state.fault.is_none())
        }),
        Property::always("no applied vector claims what is not here", |farm: &Farm, state| {
            farm.breaks_once(1, no_lies(farm, state))
        }),
        Property::always("every last state heals (G1, G7)", |farm: &Farm, state| {
            farm.breaks_once(2, heals(farm, state))
        }),
        Property::always("nothing that was promised is lost (G2, G6)", |farm: &Farm, state| {
            farm.breaks_once(3, keeps_promises(farm, state))
        }),
        Property::always("nothing comes from nowhere (G4, G6)", |farm: &Farm, state| {
            farm.breaks_once(4, from_somewhere(farm, state))
        }),
        Property::sometimes("a write is on some servers only", partly_spread),
        Property::sometimes("all is asked, and done", all_done),
    ];
    if bounds.crash != Crash::Never {
        all.push(Property::sometimes("a write dies with its server", a_write_is_lost));
    }
    if bounds.planted {
        all.push(Property::always(PLANTED, |farm: &Farm, state| {
            farm.breaks_once(5, done_means_everywhere(farm, state))
        }));
    }
    all
}

fn no_lies(farm: &Farm, state: &State) -> bool {
    let engines = || state.servers.iter().filter_map(|server| server.engine);
    !engines().any(|engine| state.wrote.iter().any(|&write| farm.engines.lies(engine, write)))
}

fn heals(farm: &Farm, state: &State) -> bool {
    !farm.at_end(state) || {
        let healed = farm.healed(state);
        let waits = |(op, outcome): (usize, &Outcome)| {
            *outcome == Outcome::Waits && !healed.answered.contains(&(op as u64))
        };
        healed.wrong.is_none() && !state.outcomes.iter().enumerate().any(waits)
    }
}

fn keeps_promises(farm: &Farm, state: &State) -> bool {
    !farm.at_end(state) || {
        let healed = farm.healed(state);
        let kept = |(op, outcome): (usize, &Outcome)| {
            let promised = matches!(outcome, Outcome::Kept | Outcome::Local);
            let shown = farm.bounds.script[op].ask.shown();
            !promised || !shown || healed.ended || healed.shows >> op & 1 == 1
        };
        state.outcomes.iter().enumerate().all(kept)
    }
}

fn from_somewhere(farm: &Farm, state: &State) -> bool {
    !farm.at_end(state) || {
        let healed = farm.healed(state);
        let asked = |(op, outcome): (usize, &Outcome)| {
            healed.shows >> op & 1 == 0
                || !matches!(outcome, Outcome::NotAsked | Outcome::Refused)
                || farm.bounds.script[op].ask == Ask::Create && healed.ended
        };
        state.outcomes.iter().enumerate().all(asked)
    }
}

fn done_means_everywhere(farm: &Farm, state: &State) -> bool {
    let mut engines = state.servers.iter().filter_map(|server| server.engine);
    !state.outcomes.contains(&Outcome::Kept)
        || engines.all(|engine| state.wrote.iter().all(|&write| !farm.engines.lacks(engine, write)))
}

fn partly_spread(farm: &Farm, state: &State) -> bool {
    !state.wrote.is_empty() && !state.network.is_empty() && {
        let mut engines = state.servers.iter().filter_map(|server| server.engine);
        engines.any(|engine| farm.engines.lacks(engine, state.wrote[0]))
    }
}

fn all_done(farm: &Farm, state: &State) -> bool {
    farm.at_end(state)
        && state.outcomes.iter().all(|outcome| matches!(outcome, Outcome::Kept | Outcome::Local))
}

fn a_write_is_lost(farm: &Farm, state: &State) -> bool {
    farm.at_end(state) && {
        let healed = farm.healed(state);
        let lost = |(op, outcome): (usize, &Outcome)| {
            *outcome == Outcome::Unsure
                && farm.bounds.script[op].ask.shown()
                && healed.shows >> op & 1 == 0
        };
        state.outcomes.iter().enumerate().any(lost)
    }
}
