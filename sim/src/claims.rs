//! What the whole state of a world must be: no applied vector lies, and servers that could talk are
//! the same.

use grapevine_core::{Address, Engine, Life, ServerId, Session, Stamp, Timestamp, Version};

use crate::world::World;

impl World {
    /// Checks the one invariant that all rests on: an applied vector never lies. What a running
    /// server wrote to a session, `server` has, if its applied entry for that writer says so.
    ///
    /// # Panics
    /// If it lies.
    pub fn check_claims(&self, server: usize) {
        if let Err(lie) = self.no_false_claim_about(server, &self.own_writes()) {
            panic!("{lie}");
        }
    }

    /// That no running server's applied vector lies: how many writes were looked at of which one says that they are
    /// there; or else the lie. The copies of each server are searched for its own writes once, not once for each of
    /// the others.
    pub(crate) fn no_false_claim(&self) -> Result<u64, String> {
        let own = self.own_writes();
        (0..self.size()).map(|server| self.no_false_claim_about(server, &own)).sum()
    }

    /// For each server, what it holds of its own writes: the copies with its stamp of them. None
    /// for a server that doesn't run; and none where all that run show the same writes, as most
    /// copies do: there nobody lacks any.
    fn own_writes<'a>(&'a self) -> Vec<Vec<(Stamp, &'a Session)>> {
        let mut own = vec![Vec::new(); self.size()];
        let running = (0..self.size()).filter_map(|server| Some((server, self.running(server)?)));
        let by_address = |(server, engine): (usize, &'a Engine)| {
            let mut copies: Vec<&Session> = Vec::with_capacity(held(engine));
            engine.copies().for_each(|copy| copies.push(copy));
            (server, engine.server(), copies)
        };
        let all: Vec<_> = running.map(by_address).collect();
        // What is left of them.
        let mut rest: Vec<(usize, ServerId, &[&Session])> =
            all.iter().map(|(server, id, copies)| (*server, *id, &copies[..])).collect();
        loop {
            if are_alike(&rest) {
                rest.iter_mut().for_each(|(.., copies)| *copies = &copies[1..]);
                continue;
            }
            let next = rest.iter().filter_map(|(.., copies)| copies.first());
            let Some(address) = next.map(|copy| copy.id.address).min() else { return own };
            for (server, id, copies) in &mut rest {
                let Some((copy, others)) = copies.split_first() else { continue };
                if copy.id.address == address {
                    *copies = others;
                    let wrote = copy.seen.get(*id);
                    own[*server].extend((wrote != Stamp::ZERO).then_some((wrote, *copy)));
                }
            }
        }
    }

    fn no_false_claim_about(
        &self,
        server: usize,
        own: &[Vec<(Stamp, &Session)>],
    ) -> Result<u64, String> {
        let Some(engine) = self.running(server) else { return Ok(0) };
        let mut compared = 0;
        let applied = engine.applied();
        for other in (0..self.size()).filter(|&other| other != server) {
            let Some(writer) = self.running(other) else { continue };
            let id = writer.server();
            let claimed = applied.get(id);
            for &(wrote, copy) in own[other].iter().filter(|&&(wrote, _)| wrote <= claimed) {
                let damaged = self.damaged().contains(&(copy.id.address, copy.id.created));
                if damaged || copy.fixed.deadline <= self.now() {
                    continue;
                }
                compared += 1;
                let has = engine.copy(copy.id.address);
                let fine = has.is_some_and(|has| has.id > copy.id || has.seen.get(id) >= wrote);
                if !fine && !knows_revocation(engine, copy, Version::new(wrote, id), self.now()) {
                    return Err(format!(
                        "{} says it has everything of {id} up to {claimed}, but lacks its write \
                         {wrote} to {}: {has:?}",
                        engine.server(),
                        copy.id
                    ));
                }
            }
        }
        Ok(compared)
    }

    /// How the servers that run differ: a line for every difference, none if all hold identical
    /// sessions (G1).
    pub fn differences(&self) -> Vec<String> {
        let running: Vec<usize> = (0..self.size()).filter(|&server| self.is_up(server)).collect();
        self.differences_among(&running).into_iter().map(|(_, difference)| difference).collect()
    }

    /// The same, among some of the servers, and where.
    pub(crate) fn differences_among(&self, servers: &[usize]) -> Vec<(Address, String)> {
        let Some((&first, others)) = servers.split_first() else { return Vec::new() };
        let expected = self.copies(first);
        let mut differences = Vec::new();
        for &other in others {
            let actual = self.copies(other);
            for (address, copy) in &expected {
                match actual.get(address) {
                    None => differences.push((*address, format!("{other} lacks {}", copy.id))),
                    Some(theirs) if theirs != copy => {
                        let both = format!("{first}: {copy:?}\n{other}: {theirs:?}");
                        differences.push((*address, both));
                    }
                    Some(_) => {}
                }
            }
            let extra = actual.iter().filter(|(address, _)| !expected.contains_key(address));
            let lacks = |copy: &Session| format!("{first} lacks {}", copy.id);
            differences.extend(extra.map(|(&address, copy)| (address, lacks(copy))));
        }
        differences
    }
}

/// How many copies a server has.
pub(crate) fn held(engine: &Engine) -> usize {
    engine.usages().map(|(_, used)| used.sessions() as usize).sum()
}

/// Whether the first copies of all servers are of one session, at least by address, and show the same writes.
fn are_alike(servers: &[(usize, ServerId, &[&Session])]) -> bool {
    let mut firsts = servers.iter().map(|(.., copies)| copies.first());
    let Some(Some(first)) = firsts.next() else { return false };
    let same = |copy: &&Session| copy.id.address == first.id.address && copy.seen == first.seen;
    firsts.all(|copy| copy.is_some_and(same))
}

/// Whether this is no write to the session but a revocation that ends it, known here: a session that
/// came to the revoker later shows that old write all the same. Whoever has the revocation has it all. One that
/// nobody need have any more is known to all.
fn knows_revocation(engine: &Engine, copy: &Session, write: Version, now: Timestamp) -> bool {
    let is_it = |record: &Session| {
        let made = Version::new(record.id.created, record.id.address.origin);
        record.is_revocation() && made == write && record.fixed.principal == copy.fixed.principal
    };
    let over = write.stamp.time() + engine.config().farm.max_lifetime <= now;
    copy.life == Life::Deleted && (over || engine.copies().any(|record| is_it(record)))
}
