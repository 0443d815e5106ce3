//! What the publishers of a server know together: which server answered at which address, and
//! whether somebody else holds this server's number.

use std::collections::BTreeMap;
use std::sync::Arc;

use grapevine_core::ServerId;

use super::members::Configured;
use super::queue::Queue;
use crate::metrics::{LinkState, Outgoing};
use crate::net::time::Instant;

/// The sending halves of all links.
#[derive(Debug, Default)]
pub(crate) struct Dialled {
    next: u64,
    addresses: BTreeMap<u64, Entry>,
    /// Server → the address under which it is linked.
    linked: BTreeMap<ServerId, u64>,
    /// Configured peers that were not added yet, and names not resolved for the first time.
    expected: usize,
    established: bool,
}

#[derive(Debug)]
struct Entry {
    address: String,
    server: Option<ServerId>,
    state: LinkState,
    problem: Option<String>,
    queue: Option<Arc<Queue>>,
    tried: bool,
    contested: Option<Instant>,
}

impl Dialled {
    /// Nothing is settled before all of these were added, and the names resolved.
    pub(crate) fn expect(&mut self, configured: &Configured) {
        self.expected = configured.peers.len() + configured.names.len();
    }

    /// A configured peer was added; or a name was resolved, or could not be.
    pub(crate) fn arrived(&mut self) {
        self.expected = self.expected.saturating_sub(1);
    }

    /// A new address; its number here is returned.
    pub(crate) fn add(&mut self, address: String) -> u64 {
        let id = self.next;
        self.next += 1;
        let entry = Entry {
            address,
            server: None,
            state: LinkState::Dialling,
            problem: None,
            queue: None,
            tried: false,
            contested: None,
        };
        self.addresses.insert(id, entry);
        id
    }

    /// The address is not dialled any more.
    pub(crate) fn remove(&mut self, id: u64) {
        self.release(id);
        self.addresses.remove(&id);
    }

    /// Takes the server for this address. `false` if it is linked under another one.
    pub(crate) fn reserve(&mut self, id: u64, server: ServerId) -> bool {
        *self.linked.entry(server).or_insert(id) == id
    }

    /// Gives the server back.
    pub(crate) fn release(&mut self, id: u64) {
        self.linked.retain(|_, holder| *holder != id);
        if let Some(entry) = self.addresses.get_mut(&id) {
            entry.queue = None;
            entry.state = LinkState::Dialling;
        }
    }

    /// Commands go through from now on: somebody of the farm takes this process for its number. What
    /// others said before, and may go on saying, is no reason to doubt it, nor to wait with the start.
    pub(crate) fn up(&mut self, id: u64, server: ServerId, queue: Arc<Queue>) {
        self.established = true;
        self.addresses.values_mut().for_each(|entry| entry.contested = None);
        if let Some(entry) = self.addresses.get_mut(&id) {
            entry.server = Some(server);
            entry.queue = Some(queue);
            entry.state = LinkState::Up;
            entry.problem = None;
            entry.tried = true;
        }
    }

    /// A try ended, or a link. Returns whether the problem is another one than before.
    pub(crate) fn failed(&mut self, id: u64, state: LinkState, problem: &str) -> bool {
        let Some(entry) = self.addresses.get_mut(&id) else { return false };
        entry.tried = true;
        entry.state = state;
        let news = entry.problem.as_deref() != Some(problem);
        if news {
            entry.problem = Some(problem.to_owned());
        }
        news
    }

    /// A server says that this server's number is in use. Returns since when it says so, unless
    /// this process is already taken for its number elsewhere.
    pub(crate) fn contested(&mut self, id: u64, now: Instant) -> Option<Instant> {
        if self.established {
            return None;
        }
        self.addresses.get_mut(&id).map(|entry| *entry.contested.get_or_insert(now))
    }

    /// A try ended in another way than by a contest.
    pub(crate) fn uncontested(&mut self, id: u64) {
        if let Some(entry) = self.addresses.get_mut(&id) {
            entry.contested = None;
        }
    }

    /// Whether every address was tried once, and nobody says that the number is in use.
    pub(crate) fn settled(&self) -> bool {
        self.expected == 0
            && self.addresses.values().all(|entry| entry.tried && entry.contested.is_none())
    }

    /// Whether somebody says that the number is in use.
    pub(crate) fn is_contested(&self) -> bool {
        self.addresses.values().any(|entry| entry.contested.is_some())
    }

    /// Whether commands go through to this address.
    pub(crate) fn is_up(&self, id: u64) -> bool {
        self.addresses.get(&id).is_some_and(|entry| entry.state == LinkState::Up)
    }

    /// The links as they are shown.
    pub(crate) fn list(&self) -> Vec<Outgoing> {
        let outgoing = |entry: &Entry| {
            let (queued_frames, queued_bytes) =
                entry.queue.as_ref().map_or((0, 0), |queue| queue.waiting());
            Outgoing {
                address: entry.address.clone(),
                server: entry.server,
                state: entry.state,
                problem: entry.problem.clone(),
                queued_frames,
                queued_bytes,
            }
        };
        self.addresses.values().map(outgoing).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use grapevine_core::Timestamp;

    fn server(number: u16) -> ServerId {
        ServerId::new(number, Timestamp::from_millis(1))
    }

    #[test]
    fn a_server_is_linked_under_one_address_only() {
        let mut dialled = Dialled::default();
        let (a, b) = (dialled.add("a".into()), dialled.add("b".into()));
        assert!(dialled.reserve(a, server(2)));
        assert!(!dialled.reserve(b, server(2)));
        assert!(dialled.reserve(b, server(3)));
        dialled.release(a);
        dialled.release(b);
        assert!(dialled.reserve(b, server(2)), "the first address gave it back");
    }

    #[test]
    fn a_start_is_settled_when_every_configured_peer_was_tried_once() {
        let mut dialled = Dialled::default();
        let peers = vec!["a:1".into()];
        dialled.expect(&Configured { peers, names: vec!["farm:1".into()] });
        let a = dialled.add("a:1".into());
        dialled.arrived();
        assert!(dialled.failed(a, LinkState::Dialling, "refused"));
        assert!(!dialled.failed(a, LinkState::Dialling, "refused"), "said already");
        assert!(!dialled.settled(), "the name was not resolved yet");
        dialled.arrived();
        assert!(dialled.settled());
        let b = dialled.add("b:1".into());
        assert!(!dialled.settled());
        dialled.failed(b, LinkState::Dialling, "refused");
        let now = Instant::now();
        assert_eq!(dialled.contested(b, now), Some(now));
        assert!(dialled.is_contested() && !dialled.settled());
        dialled.uncontested(b);
        assert!(dialled.settled());
    }

    #[test]
    fn a_server_that_is_taken_for_its_number_by_somebody_does_not_doubt_it() {
        let mut dialled = Dialled::default();
        let (a, b) = (dialled.add("a".into()), dialled.add("b".into()));
        dialled.up(a, server(2), Arc::new(Queue::new(1, 1)));
        assert_eq!(dialled.contested(b, Instant::now()), None);
    }

    #[test]
    fn a_start_does_not_wait_for_who_contests_a_number_that_somebody_takes_for_this_servers() {
        let mut dialled = Dialled::default();
        let (a, b) = (dialled.add("a".into()), dialled.add("b".into()));
        dialled.failed(a, LinkState::Dialling, "in use");
        assert!(dialled.contested(a, Instant::now()).is_some());
        dialled.up(b, server(2), Arc::new(Queue::new(1, 1)));
        assert!(!dialled.is_contested() && dialled.settled());
    }
}
