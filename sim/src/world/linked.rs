//! The connections that a process was told of.

use grapevine_core::ServerId;

/// The processes that a server was told it has a connection to. Every message that it sends asks, so they lie by
/// number: mostly one of each.
#[derive(Debug, Default)]
pub(super) struct Linked(Vec<Vec<ServerId>>);

impl Linked {
    fn of_number(&mut self, peer: ServerId) -> &mut Vec<ServerId> {
        let number = usize::from(peer.number());
        if self.0.len() <= number {
            self.0.resize_with(number + 1, Vec::new);
        }
        &mut self.0[number]
    }

    /// Whether there is one to this process, as far as the server was told.
    pub(super) fn leads_to(&self, peer: ServerId) -> bool {
        self.0.get(usize::from(peer.number())).is_some_and(|peers| peers.contains(&peer))
    }

    /// One came up, or broke.
    pub(super) fn note(&mut self, peer: ServerId, up: bool) {
        let peers = self.of_number(peer);
        peers.retain(|&other| other != peer);
        if up {
            peers.push(peer);
        }
    }

    /// A new process has none.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use grapevine_core::Timestamp;

    use super::*;

    #[test]
    fn a_connection_leads_to_the_process_that_it_came_up_to_until_it_breaks() {
        let process = |number, boot| ServerId::new(number, Timestamp::from_millis(boot));
        let mut linked = Linked::default();
        assert!(!linked.leads_to(process(3, 1)));
        linked.note(process(3, 1), true);
        linked.note(process(3, 2), true);
        linked.note(process(1, 1), true);
        linked.note(process(1, 1), true);
        assert!(
            [process(3, 1), process(3, 2), process(1, 1)].map(|p| linked.leads_to(p)) == [true; 3]
        );
        assert!(!linked.leads_to(process(3, 3)) && !linked.leads_to(process(9, 1)));
        linked.note(process(3, 1), false);
        linked.note(process(1, 1), false);
        assert!(!linked.leads_to(process(3, 1)) && !linked.leads_to(process(1, 1)));
        assert!(linked.leads_to(process(3, 2)), "its successor's stays");
        linked.clear();
        assert!(!linked.leads_to(process(3, 2)));
    }
}
