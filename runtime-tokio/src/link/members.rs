//! Who is dialled: a fixed list of addresses, and what DNS names say, asked again and again.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::publisher::{NOT_ENCRYPTED, Publisher, Target};
use super::{Links, is_allowed};
use crate::metrics::Reason;
use crate::net::task::JoinSet;
use crate::net::{lookup_host, select, time};

/// How often names are resolved again.
const RESOLVE_EVERY: Duration = Duration::from_secs(2);

/// An address must be missing from this many answers in a row before it is not dialled any more:
/// name servers often give only some of many addresses.
const MISSING: u32 = 3;

/// Addresses that one name may have; more are not dialled.
const MAX_ADDRESSES: usize = 256;

/// Whom this server dials.
#[derive(Clone, Debug, Default)]
pub(crate) struct Configured {
    /// `host:port`: one server each.
    pub(crate) peers: Vec<String>,
    /// `name:port`: a server at every address of the name.
    pub(crate) names: Vec<String>,
}

/// Runs one publisher for each peer until it is aborted.
pub(crate) async fn run(configured: Configured, links: Arc<Links>) {
    let mut members = Members { links, publishers: JoinSet::new(), resolved: BTreeMap::new() };
    for peer in configured.peers {
        let target = peer.parse().map_or(Target::Name(peer), Target::Address);
        members.publish_to(target);
        members.links.dialled.lock().arrived();
    }
    let mut first = true;
    loop {
        let mut answered = true;
        for name in &configured.names {
            answered &= members.resolve(name).await;
            if first {
                members.links.dialled.lock().arrived();
            }
        }
        if answered {
            members.drop_missing();
        }
        members.links.changed.notify_one();
        first = false;
        members.watch(!configured.names.is_empty()).await;
    }
}

struct Members {
    links: Arc<Links>,
    publishers: JoinSet<()>,
    resolved: BTreeMap<SocketAddr, Resolved>,
}

/// An address that came from a name.
struct Resolved {
    id: u64,
    unwanted: Arc<AtomicBool>,
    missing: u32,
}

impl Members {
    fn publish_to(&mut self, target: Target) -> (u64, Arc<AtomicBool>) {
        let id = self.links.dialled.lock().add(target.to_string());
        let unwanted = Arc::new(AtomicBool::new(false));
        let publisher = Publisher::new(Arc::clone(&self.links), target, id, Arc::clone(&unwanted));
        self.publishers.spawn(publisher.run());
        (id, unwanted)
    }

    /// Returns whether there was an answer: a name server that is away says nothing about members.
    async fn resolve(&mut self, name: &str) -> bool {
        match lookup_host(name).await {
            Ok(addresses) => {
                self.update(name, addresses.take(MAX_ADDRESSES));
                true
            }
            Err(error) => {
                self.links.report(Reason::NameFailed, name, &error.to_string());
                false
            }
        }
    }

    /// Takes in an answer: new addresses are dialled, the others count as missing once more until
    /// one of the names gives them again.
    fn update(&mut self, name: &str, addresses: impl Iterator<Item = SocketAddr>) {
        for address in addresses {
            if !is_allowed(address) {
                let text = format!("{address} is not a loopback address; {NOT_ENCRYPTED}");
                self.links.report(Reason::NotLoopback, name, &text);
            } else if let Some(known) = self.resolved.get_mut(&address) {
                known.missing = 0;
            } else {
                let (id, unwanted) = self.publish_to(Target::Address(address));
                self.resolved.insert(address, Resolved { id, unwanted, missing: 0 });
            }
        }
    }

    /// Stops dialling addresses that no name has given for some time. A link that works stays: a
    /// name that leaves DNS is not a change of configuration.
    fn drop_missing(&mut self) {
        let dialled = self.links.dialled.lock();
        self.resolved.retain(|_, known| {
            known.missing += 1;
            let keep = known.missing <= MISSING || dialled.is_up(known.id);
            if !keep {
                known.unwanted.store(true, Ordering::Relaxed);
            }
            keep
        });
    }

    /// Waits until the names have to be resolved again. A publisher that fails takes all with it,
    /// so that a peer is never left without one unseen.
    async fn watch(&mut self, names: bool) {
        let wait = self.links.random.jitter(RESOLVE_EVERY);
        let mut wait = std::pin::pin!(time::sleep(wait));
        loop {
            select! { biased;
                Some(ended) = self.publishers.join_next() => {
                    if let Err(error) = ended && error.is_panic() {
                        std::panic::resume_unwind(error.into_panic());
                    }
                }
                () = &mut wait, if names => return,
                else => std::future::pending().await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::tests::links;

    fn at(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    fn members() -> Members {
        Members { links: links(), publishers: JoinSet::new(), resolved: BTreeMap::new() }
    }

    #[tokio::test]
    async fn addresses_come_with_a_name_and_go_when_they_were_missing_for_some_time() {
        let mut members = members();
        members.update("farm", [at(1), at(2)].into_iter());
        for round in 1..=MISSING {
            members.drop_missing();
            assert_eq!(members.resolved.len(), 2, "round {round}");
            members.update("farm", [at(2)].into_iter());
        }
        let gone = Arc::clone(&members.resolved[&at(1)].unwanted);
        members.drop_missing();
        assert!(members.resolved.keys().eq([&at(2)]));
        assert!(gone.load(Ordering::Relaxed));
        members.update("farm", [at(1)].into_iter());
        assert_eq!(members.resolved.len(), 2);
    }

    #[tokio::test]
    async fn an_address_beyond_this_machine_is_not_dialled() {
        let mut members = members();
        members.update("farm", [SocketAddr::from(([192, 0, 2, 1], 1)), at(1)].into_iter());
        assert!(members.resolved.keys().eq([&at(1)]));
        assert_eq!(members.links.status().count(Reason::NotLoopback), 1);
    }
}
