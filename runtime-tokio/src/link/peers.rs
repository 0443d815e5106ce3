//! Who may feed this server: for each number, the newest process known and its connection. Pure
//! rules; time is handed in.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use grapevine_core::{Farm, InTheWay, ServerId, may_start};
use parking_lot::Mutex;

use super::handshake::{Hello, Refusal};
use crate::metrics::{Incoming, Reason};
use crate::net::sync::Notify;
use crate::net::time::Instant;

/// The receiving halves of all links.
#[derive(Debug)]
pub(crate) struct Peers {
    own: (ServerId, u64),
    size: usize,
    /// Silent for longer: not a living server in the way of a newer one.
    fresh: Duration,
    /// Gone for longer: not in the way of another number.
    forget: Duration,
    numbers: BTreeMap<u16, Known>,
}

#[derive(Debug)]
struct Known {
    server: ServerId,
    instance: u64,
    link: Option<Arc<Inbound>>,
    /// When it was last connected or heard from.
    last: Instant,
    cut_until: Option<Instant>,
}

/// One connection that feeds this server.
#[derive(Debug)]
pub(crate) struct Inbound {
    pub(crate) server: ServerId,
    pub(crate) address: SocketAddr,
    life: Mutex<Life>,
    ended: Mutex<Option<Refusal>>,
    end: Notify,
}

/// What is known of when the process at the other end lived, by this server's time.
#[derive(Debug)]
struct Life {
    /// When the handshake proved that it did: pulses are counted from here.
    since: Instant,
    /// The last pulse's number: its time since then, in microseconds.
    sent: u64,
    /// The number of the newest pulse that was echoed; 0 if none was.
    echoed: u64,
}

impl Inbound {
    pub(super) fn new(server: ServerId, address: SocketAddr, now: Instant) -> Self {
        let life = Mutex::new(Life { since: now, sent: 0, echoed: 0 });
        Self { server, address, life, ended: Mutex::new(None), end: Notify::new() }
    }

    /// The number of a pulse that is sent now.
    pub(super) fn pulse(&self, now: Instant) -> u64 {
        let life = &mut *self.life.lock();
        let time = now.saturating_duration_since(life.since).as_micros();
        life.sent = u64::try_from(time).unwrap_or(u64::MAX).max(life.sent + 1);
        life.sent
    }

    /// The peer had this pulse. One that was not sent yet says nothing.
    pub(super) fn echoed(&self, number: u64) {
        let life = &mut *self.life.lock();
        if number <= life.sent {
            life.echoed = life.echoed.max(number);
        }
    }

    /// When it lived, at least. Not when something came: that may have been under way for long.
    fn lived(&self) -> Instant {
        let life = self.life.lock();
        life.since + Duration::from_micros(life.echoed)
    }

    /// Waits until the connection has to end, and says why.
    pub(crate) async fn ended(&self) -> Refusal {
        loop {
            if let Some(refusal) = self.ended.lock().clone() {
                return refusal;
            }
            self.end.notified().await;
        }
    }

    fn finish(&self, refusal: Refusal) {
        self.ended.lock().get_or_insert(refusal);
        self.end.notify_one();
    }
}

impl Peers {
    pub(crate) fn new(own: (ServerId, u64), farm: &Farm) -> Self {
        Self {
            own,
            size: farm.size.into(),
            fresh: farm.down_after,
            forget: farm.give_up_after,
            numbers: BTreeMap::new(),
        }
    }

    /// Decides about a peer that proved that it is of this farm. A restarted server gets in as soon
    /// as its predecessor's connection has closed, or echoed no pulse for `down_after` (a half-open
    /// connection); until then its number is in use. The newest process of a number wins.
    pub(crate) fn admit(
        &mut self,
        hello: &Hello,
        address: SocketAddr,
        now: Instant,
    ) -> Result<Arc<Inbound>, Refusal> {
        let theirs = (hello.server, hello.instance);
        let number = hello.server.number();
        if number == self.own.0.number() {
            return Err(self.own_number(hello.server, address));
        }
        self.make_room(number, now)?;
        let known = self.numbers.entry(number).or_insert(Known {
            server: hello.server,
            instance: hello.instance,
            link: None,
            last: now,
            cut_until: None,
        });
        known.judge(theirs, address, self.fresh, now)?;
        let link = Arc::new(Inbound::new(hello.server, address, now));
        if let Some(old) = known.link.replace(Arc::clone(&link)) {
            let text = format!("a newer connection of server {number} came from {address}");
            old.finish(Refusal { reason: Reason::Replaced, about: hello.server, text });
        }
        (known.server, known.instance) = theirs;
        known.last = now;
        Ok(link)
    }

    /// Whether a process that answers at a dialled address may be taken for its number: not while
    /// another process of the number lives. Otherwise a stranger that only listens could push a
    /// living server out.
    pub(crate) fn expects(
        &self,
        hello: &Hello,
        address: &impl fmt::Display,
        now: Instant,
    ) -> Result<(), Refusal> {
        let known = self.numbers.get(&hello.server.number());
        known.map_or(Ok(()), |known| known.judge_life(hello.server, address, self.fresh, now))
    }

    /// The connection is over.
    pub(crate) fn release(&mut self, link: &Arc<Inbound>, now: Instant) {
        if let Some(known) = self.numbers.get_mut(&link.server.number())
            && known.link.as_ref().is_some_and(|held| Arc::ptr_eq(held, link))
        {
            known.link = None;
            known.last = now;
        }
    }

    /// Ends the connection of a server that misbehaves, and refuses new ones for a while.
    pub(crate) fn cut(&mut self, server: ServerId, why: &str, now: Instant) {
        let Some(known) = self.numbers.get_mut(&server.number()) else { return };
        if known.server != server {
            return;
        }
        known.cut_until = Some(now + self.fresh);
        if let Some(link) = known.link.take() {
            link.finish(Refusal::new(Reason::CutOff, format!("misbehaving: {why}")));
        }
    }

    /// The links as they are shown.
    pub(crate) fn list(&self) -> Vec<Incoming> {
        let incoming = |known: &Known| Incoming {
            server: known.server,
            address: known.link.as_ref().map(|link| link.address),
        };
        self.numbers.values().map(incoming).collect()
    }

    fn own_number(&self, theirs: ServerId, address: SocketAddr) -> Refusal {
        let text = format!(
            "server number {} is used by two servers: this one (boot {}) and {address} (boot {})",
            theirs.number(),
            self.own.0.boot().as_millis(),
            theirs.boot().as_millis(),
        );
        Refusal { reason: Reason::OwnNumber, about: self.own.0, text }
    }

    /// Numbers come from configuration, so a farm never has more of them than servers. One that was
    /// mistyped and put right gives its place back after a while.
    fn make_room(&mut self, number: u16, now: Instant) -> Result<(), Refusal> {
        if self.numbers.contains_key(&number) || self.numbers.len() + 1 < self.size {
            return Ok(());
        }
        let (forget, gone) = (self.forget, |known: &Known| now.duration_since(known.last));
        let unused = self.numbers.iter().filter(|(_, known)| known.link.is_none());
        let longest = unused.max_by_key(|(_, known)| gone(known));
        match longest.map(|(&n, known)| (n, gone(known))) {
            Some((old, silence)) if silence > forget => {
                self.numbers.remove(&old);
                Ok(())
            }
            _ => {
                let numbers: Vec<String> = self.numbers.keys().map(u16::to_string).collect();
                let text = format!(
                    "server number {number} is one too many: the farm has {} servers, and numbers \
                     {} and {} (this server) are known",
                    self.size,
                    numbers.join(", "),
                    self.own.0.number(),
                );
                Err(Refusal::new(Reason::TooManyNumbers, text))
            }
        }
    }
}

impl Known {
    fn judge(
        &self,
        theirs: (ServerId, u64),
        address: SocketAddr,
        fresh: Duration,
        now: Instant,
    ) -> Result<(), Refusal> {
        let number = theirs.0.number();
        if self.cut_until.is_some_and(|until| now < until) && theirs.0 == self.server {
            let text = format!("server {number} was cut off for misbehaving");
            return Err(Refusal::new(Reason::CutOff, text));
        }
        let ours = (self.server, self.instance);
        if theirs == ours {
            // The same process comes again: its old connection is dead, or soon will be.
            return Ok(());
        }
        if let Err(InTheWay::Later(_)) = may_start(theirs.0, Some(self.server), false) {
            let text = format!(
                "server number {number} was taken over by a newer process: boot {} at {address} \
                 came after boot {}",
                self.server.boot().as_millis(),
                theirs.0.boot().as_millis()
            );
            return Err(Refusal { reason: Reason::OlderBoot, about: self.server, text });
        }
        self.judge_life(theirs.0, &address, fresh, now)
    }

    /// No other process of the number may be alive.
    fn judge_life(
        &self,
        theirs: ServerId,
        address: &impl fmt::Display,
        fresh: Duration,
        now: Instant,
    ) -> Result<(), Refusal> {
        match &self.link {
            Some(link)
                if theirs != self.server && now.saturating_duration_since(link.lived()) < fresh =>
            {
                let text = format!(
                    "server number {} is in use by a live server: boot {} at {}, and now boot {} \
                     at {address}",
                    theirs.number(),
                    self.server.boot().as_millis(),
                    link.address,
                    theirs.boot().as_millis()
                );
                Err(Refusal { reason: Reason::NumberInUse, about: self.server, text })
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use grapevine_core::Timestamp;

    fn hello(number: u16, boot: u64) -> Hello {
        let server = ServerId::new(number, Timestamp::from_millis(boot));
        Hello { version: 1, fingerprint: [0; 16], server, instance: boot * 10, nonce: [0; 32] }
    }

    fn peers() -> (Peers, Instant, SocketAddr) {
        let own = hello(1, 50);
        let peers = Peers::new((own.server, own.instance), &Farm::default());
        (peers, Instant::now(), SocketAddr::from(([127, 0, 0, 1], 9)))
    }

    fn why(result: Result<Arc<Inbound>, Refusal>) -> Reason {
        result.expect_err("was admitted").reason
    }

    #[test]
    fn a_restarted_server_gets_in_at_once_when_the_old_connection_has_closed() {
        let (mut peers, now, at) = peers();
        let old = peers.admit(&hello(2, 100), at, now).unwrap();
        assert_eq!(why(peers.admit(&hello(2, 200), at, now)), Reason::NumberInUse);
        peers.release(&old, now);
        peers.admit(&hello(2, 200), at, now).unwrap();
        let refusal = peers.admit(&hello(2, 100), at, now).unwrap_err();
        assert_eq!((refusal.reason, refusal.about), (Reason::OlderBoot, hello(2, 200).server));
    }

    #[test]
    fn a_second_process_that_only_listens_does_not_push_the_living_one_out() {
        let (mut peers, now, at) = peers();
        peers.expects(&hello(2, 200), &at, now).unwrap();
        let old = peers.admit(&hello(2, 100), at, now).unwrap();
        peers.expects(&hello(2, 100), &at, now).unwrap();
        let refusal = peers.expects(&hello(2, 200), &at, now).unwrap_err();
        assert_eq!((refusal.reason, refusal.about), (Reason::NumberInUse, hello(2, 100).server));
        peers.release(&old, now);
        peers.expects(&hello(2, 200), &at, now).unwrap();
    }

    #[tokio::test]
    async fn a_half_open_connection_keeps_a_restarted_server_out_for_down_after_only() {
        let (mut peers, now, at) = peers();
        let old = peers.admit(&hello(2, 100), at, now).unwrap();
        let down_after = Farm::default().down_after;
        old.echoed(old.pulse(now + down_after));
        let soon = now + down_after + down_after / 2;
        assert_eq!(why(peers.admit(&hello(2, 200), at, soon)), Reason::NumberInUse);
        let new = peers.admit(&hello(2, 200), at, now + down_after * 2).unwrap();
        assert_eq!(old.ended().await.reason, Reason::Replaced);
        // The end of the old one does not take the new one's place away.
        peers.release(&old, now);
        assert!(peers.list()[0].address.is_some());
        peers.release(&new, now);
        assert!(peers.list()[0].address.is_none());
    }

    #[test]
    fn a_dead_process_whose_words_still_arrive_keeps_nobody_out() {
        let (mut peers, now, at) = peers();
        let old = peers.admit(&hello(2, 100), at, now).unwrap();
        let down_after = Farm::default().down_after;
        let had = old.pulse(now + down_after / 4);
        // It had the one pulse and died; a cut held back what it said, and the others never came to it.
        let later = old.pulse(now + down_after);
        old.echoed(had);
        old.echoed(later + 1);
        let at_last = now + down_after / 4 + down_after;
        let soon = at_last - Duration::from_millis(1);
        assert_eq!(why(peers.admit(&hello(2, 200), at, soon)), Reason::NumberInUse);
        peers.admit(&hello(2, 200), at, at_last).unwrap();
    }

    #[tokio::test]
    async fn a_server_that_connects_again_replaces_its_own_connection() {
        let (mut peers, now, at) = peers();
        let first = peers.admit(&hello(2, 100), at, now).unwrap();
        peers.admit(&hello(2, 100), at, now).unwrap();
        assert_eq!(first.ended().await.reason, Reason::Replaced);
    }

    #[test]
    fn this_servers_own_number_is_refused_with_both_boots_named() {
        let (mut peers, now, at) = peers();
        let refusal = peers.admit(&hello(1, 60), at, now).unwrap_err();
        assert_eq!(refusal.reason, Reason::OwnNumber);
        assert_eq!(
            refusal.text,
            "server number 1 is used by two servers: this one (boot 50) and 127.0.0.1:9 (boot 60)"
        );
    }

    #[test]
    fn a_number_too_many_is_refused_until_another_was_gone_for_long() {
        let (mut peers, now, at) = peers();
        let mistyped = peers.admit(&hello(8, 1), at, now).unwrap();
        peers.admit(&hello(2, 1), at, now).unwrap();
        assert_eq!(why(peers.admit(&hello(3, 1), at, now)), Reason::TooManyNumbers);
        peers.release(&mistyped, now);
        let later = now + Farm::default().give_up_after + Duration::from_secs(1);
        assert_eq!(why(peers.admit(&hello(3, 1), at, now)), Reason::TooManyNumbers);
        peers.admit(&hello(3, 1), at, later).unwrap();
        assert_eq!(why(peers.admit(&hello(8, 2), at, later)), Reason::TooManyNumbers);
    }

    #[test]
    fn a_server_cut_off_for_misbehaving_may_come_back_after_a_while_and_its_successor_at_once() {
        let (mut peers, now, at) = peers();
        peers.admit(&hello(2, 100), at, now).unwrap();
        peers.cut(hello(2, 100).server, "it lied", now);
        assert_eq!(why(peers.admit(&hello(2, 100), at, now)), Reason::CutOff);
        peers.admit(&hello(2, 200), at, now).unwrap();
        peers.cut(hello(2, 200).server, "it lied", now);
        peers.admit(&hello(2, 200), at, now + Farm::default().down_after).unwrap();
    }
}
