//! The reference model: every write that any server made, who had seen what when it was made, and
//! what a copy that shows some of the writes must look like.
//!
//! It knows nothing of merging. It keeps the list of all writes, and works out what a set of them
//! amounts to by the meaning of registers, counters and replacements, in one pass. For the many
//! answers of a run, views are kept that take in only what is new; a test holds them against it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use grapevine_core::command::Write;
use grapevine_core::{
    Address, Attribute, Change, Fixed, Key, Life, Principal, Replaces, ServerId, Session,
    SessionId, Shown, Stamp, Timestamp, Value, Vector, Version,
};

mod view;

use view::View;

use crate::named::Named;

/// What names a session in the model.
pub(crate) type Name = (Address, Stamp);

/// The name of a session.
pub(crate) const fn name(id: &SessionId) -> Name {
    (id.address, id.created)
}

/// What a write did to one attribute.
#[derive(Clone, Debug)]
enum Effect {
    Set(Key, Value),
    Remove(Key),
    /// An add, to the counter of this epoch that started at this base.
    Add {
        key: Key,
        epoch: Version,
        base: i64,
        amount: i64,
    },
}

#[derive(Clone, Debug)]
struct Wrote {
    version: Version,
    /// Whether it replaced everything before it.
    replaces: bool,
    ends: bool,
    effects: Vec<Effect>,
}

/// All that is known of one session.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) id: SessionId,
    /// What never changes of it, as it was made.
    pub(crate) fixed: Arc<Fixed>,
    pub(crate) idle_timeout: std::time::Duration,
    /// When no server keeps it any more, but for a margin: its own deadline, or that of the session that
    /// it took the place of.
    pub(crate) deadline: Timestamp,
    pub(crate) principal: Option<Principal>,
    /// The session that it took the place of.
    pub(crate) replaces: Option<Replaces>,
    /// All writes to it, each writer's by stamp.
    by_writer: BTreeMap<ServerId, Vec<Wrote>>,
    /// What each server has added to each counter so far.
    added: BTreeMap<(ServerId, Key, Version), i64>,
    views: RefCell<Vec<View>>,
    /// Until when it lives itself; [`Known::deadline`] is that of the one it replaces too.
    pub(crate) over: Timestamp,
    /// When it was made, by the world's clock.
    pub(crate) made: Timestamp,
    /// When each process last served it to a customer, by the world's clock.
    used: BTreeMap<ServerId, Timestamp>,
    /// Whether a customer asked for its end.
    pub(crate) end_asked: bool,
    /// Whether any server ended it.
    pub(crate) ended: bool,
}

/// What a reader must find.
pub(crate) type Contents = BTreeMap<Key, Content>;

/// What a reader must find under one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    Bytes(Value),
    Count(i64),
}

/// A revocation: whose sessions, as of which version, and until when anybody keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Revocation {
    pub(crate) principal: Principal,
    pub(crate) version: Version,
    pub(crate) until: Timestamp,
}

impl Revocation {
    /// What a record says; `None` if this is no record of a revocation.
    pub(crate) fn of(record: &Session) -> Option<Self> {
        let principal = record.fixed.principal.clone().filter(|_| record.is_revocation())?;
        let version = Version::new(record.id.created, record.id.address.origin);
        Some(Self { principal, version, until: record.fixed.deadline })
    }

    /// Whether it ends this session, wherever both are known: one of its principal that was made by who had
    /// not heard of it, and before its own time was over. Afterwards nobody can know of it any more.
    pub(crate) fn ends(&self, id: &SessionId, fixed: &Fixed) -> bool {
        // Last what takes longest: principals are texts.
        fixed.revocation < Some(self.version)
            && id.created.time() < self.until
            && fixed.principal.as_ref() == Some(&self.principal)
    }
}

/// The model of the whole farm.
#[derive(Debug, Default)]
pub(crate) struct Model {
    sessions: Named<Known>,
    /// All revocations, by the names of their records.
    revocations: Named<Revocation>,
    /// The same, each principal's as they were written.
    by_principal: BTreeMap<Principal, Vec<Revocation>>,
    /// The sessions that a revocation was the first to end, by the name of its record.
    ended_first: Named<Vec<Name>>,
    /// How many writes there were.
    pub(crate) writes: u64,
}

impl Model {
    pub(crate) fn get(&self, id: &SessionId) -> Option<&Known> {
        self.sessions.get(&name(id))
    }

    pub(crate) fn get_mut(&mut self, id: &SessionId) -> Option<&mut Known> {
        self.sessions.get_mut(&name(id))
    }

    /// The revocation that lies under this name.
    pub(crate) fn revocation(&self, id: &SessionId) -> Option<&Revocation> {
        self.revocations.get(&name(id))
    }

    /// Whether a revocation ends this session whose record nobody need have any more by this time: who had not
    /// heard of it before has missed it, and what that one made since may live here and be over there.
    pub(crate) fn missed_revocation(&self, id: &SessionId, now: Timestamp) -> bool {
        let missed = |revocation: &Revocation| revocation.until <= now;
        self.get(id).is_some_and(|known| revokes(&self.by_principal, known, missed))
    }

    fn revoked(&mut self, record: &SessionId, revocation: Revocation) {
        let first = self.ended_first.or_insert_with(name(record), Vec::new);
        for known in self.sessions.values_mut() {
            if known.ends_with(&revocation) {
                first.extend((!known.ended).then_some(name(&known.id)));
                (known.ended, known.end_asked) = (true, true);
            }
        }
        if !self.revocations.contains(&name(record)) {
            let of = self.by_principal.entry(revocation.principal.clone()).or_default();
            of.push(revocation.clone());
            self.revocations.insert(name(record), revocation);
        }
    }

    /// The sessions that nobody had ended before this revocation did.
    pub(crate) fn ended_first_by(&self, record: &SessionId) -> impl Iterator<Item = &Known> {
        let first = self.ended_first.get(&name(record)).into_iter().flatten();
        first.filter_map(|session| self.sessions.get(session))
    }

    /// Whether one of these writes ended a session for good, or is the record of a revocation that did and
    /// is kept until after this time.
    pub(crate) fn is_ended_by(
        &self,
        known: &Known,
        soon: Timestamp,
        writes: impl Fn(Version) -> bool,
    ) -> bool {
        let kept = |revocation: &Revocation| revocation.until > soon && writes(revocation.version);
        // Nobody need look for what ended one that nothing ended.
        known.ended
            && (known.writes().any(|wrote| wrote.ends && writes(wrote.version))
                || revokes(&self.by_principal, known, kept))
    }

    /// Notes a write that a server made. Returns whether it ended the session for the first time.
    pub(crate) fn wrote(&mut self, by: ServerId, write: &Write, now: Timestamp) -> bool {
        let delta = write.session();
        let version = Version::new(delta.seen.get(by), by);
        self.writes += 1;
        if let Some(revocation) = Revocation::of(delta) {
            self.revoked(&delta.id, revocation);
            return false;
        }
        if let Some(replaces) = &delta.fixed.replaces
            && let Some(old) = self.sessions.get_mut(&name(&replaces.id))
        {
            (old.ended, old.end_asked) = (true, true);
        }
        let revocations = &self.by_principal;
        let known = self.sessions.or_insert_with(name(&delta.id), || {
            let mut known = Known::new(delta, by, now);
            // Made by a server that had not heard of it.
            known.ended = revokes(revocations, &known, |_| true);
            known.end_asked = known.ended;
            known
        });
        let added = &mut known.added;
        let effects = delta
            .attributes
            .iter()
            .filter_map(|(key, attribute)| effect(key, attribute, version, added));
        let wrote = Wrote {
            version,
            replaces: delta.floor == version,
            ends: delta.life == Life::Deleted,
            effects: effects.collect(),
        };
        let first = wrote.ends && !known.ended;
        known.ended |= wrote.ends;
        known.add(wrote);
        first
    }

    /// All sessions.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Known> {
        self.sessions.values()
    }
}

/// Whether one of these revocations, such as `which` says, ends a session. The latest are tried first, for mostly
/// they do.
fn revokes(
    revocations: &BTreeMap<Principal, Vec<Revocation>>,
    known: &Known,
    which: impl Fn(&Revocation) -> bool,
) -> bool {
    let of = known.principal.as_ref().and_then(|whose| revocations.get(whose));
    let mut latest = of.into_iter().flatten().rev();
    latest.any(|revocation| known.ends_with(revocation) && which(revocation))
}

/// What a delta's attribute says that this write did.
fn effect(
    key: &Key,
    attribute: &Attribute,
    by: Version,
    added: &mut BTreeMap<(ServerId, Key, Version), i64>,
) -> Option<Effect> {
    match attribute {
        Attribute::Register { version, value } if *version == by => {
            Some(Effect::Set(key.clone(), value.clone()))
        }
        Attribute::Removed { version } if *version == by => Some(Effect::Remove(key.clone())),
        Attribute::Counter(counter) => {
            let (epoch, base) = (counter.epoch, counter.base);
            if epoch == by && counter.subtotals.is_empty() {
                // A rotation starts a counter at the old one's value.
                return Some(Effect::Add { key: key.clone(), epoch, base, amount: 0 });
            }
            let total = counter.subtotals.get(&by.server).filter(|own| own.stamp == by.stamp)?;
            let before = added.insert((by.server, key.clone(), counter.epoch), total.sum);
            let amount = total.sum - before.unwrap_or(0);
            Some(Effect::Add { key: key.clone(), epoch, base, amount })
        }
        _ => None,
    }
}

impl Known {
    fn new(delta: &Session, by: ServerId, now: Timestamp) -> Self {
        Self {
            id: delta.id,
            fixed: Arc::clone(&delta.fixed),
            idle_timeout: delta.fixed.idle_timeout,
            deadline: delta.fixed.replaces.map_or(delta.fixed.deadline, |replaces| {
                replaces.deadline.max(delta.fixed.deadline)
            }),
            principal: delta.fixed.principal.clone(),
            replaces: delta.fixed.replaces,
            by_writer: BTreeMap::new(),
            added: BTreeMap::new(),
            views: RefCell::default(),
            over: delta.fixed.deadline,
            made: now,
            used: [(by, now)].into(),
            end_asked: false,
            ended: false,
        }
    }

    /// Notes that a process served it to a customer at this time or later.
    pub(crate) fn served(&mut self, by: ServerId, at: Timestamp) {
        let used = self.used.entry(by).or_insert(at);
        *used = at.max(*used);
    }

    /// When it was last served by one of these processes.
    pub(crate) fn used(&self, by: impl Fn(ServerId) -> bool) -> Option<Timestamp> {
        self.used.iter().filter(|&(&process, _)| by(process)).map(|(_, &at)| at).max()
    }

    /// Whether a revocation ends it, wherever both are known.
    pub(crate) fn ends_with(&self, revocation: &Revocation) -> bool {
        revocation.ends(&self.id, &self.fixed)
    }

    /// Whether this write did what a change says. A counter's base is not the customer's to say.
    pub(crate) fn did(&self, version: Version, change: &Change) -> bool {
        let effects = self.wrote(version).map_or(&[][..], |wrote| &wrote.effects);
        effects.iter().any(|effect| match (effect, change) {
            (Effect::Set(key, value), Change::Set(k, v)) => key == k && value == v,
            (Effect::Remove(key), Change::Remove(k)) => key == k,
            (Effect::Add { key, amount, .. }, Change::Add(k, a)) => key == k && amount == a,
            _ => false,
        })
    }

    /// Whether this write replaced everything.
    pub(crate) fn replaced(&self, version: Version) -> bool {
        self.wrote(version).is_some_and(|wrote| wrote.replaces)
    }

    fn wrote(&self, version: Version) -> Option<&Wrote> {
        let all = self.by_writer.get(&version.server)?;
        all.iter().rev().find(|wrote| wrote.version == version)
    }

    /// Whether it has a principal.
    pub(crate) fn is_named(&self) -> bool {
        self.principal.is_some()
    }

    fn writes(&self) -> impl Iterator<Item = &Wrote> {
        self.by_writer.values().flatten()
    }

    fn add(&mut self, wrote: Wrote) {
        let Version { stamp, server } = wrote.version;
        // What has been worked out for those who have seen it without knowing it.
        self.views.get_mut().retain(|view| view.seen.get(server) < stamp);
        let all = self.by_writer.entry(server).or_default();
        let place = all.partition_point(|before| before.version.stamp <= stamp);
        all.insert(place, wrote);
    }

    /// Nothing but a name, for tests.
    #[cfg(test)]
    fn unwritten() -> Self {
        let address = Address { origin: ServerId::from_bits(1), slot: 0 };
        let secret = grapevine_core::Secret::from_bytes([0; 16]);
        let id = SessionId { address, created: Stamp::from_bits(1), secret };
        let by = id.address.origin;
        Self::new(&Session::new(id, Fixed::default()), by, Timestamp::ZERO)
    }

    /// What a copy that has seen this much must show: `None` if it must be over.
    pub(crate) fn contents(&self, seen: &Vector) -> Option<Contents> {
        let visible = || {
            let seen = |wrote: &&Wrote| wrote.version.stamp <= seen.get(wrote.version.server);
            self.writes().filter(seen)
        };
        if visible().any(|wrote| wrote.ends) {
            return None;
        }
        let replaced = visible().filter(|wrote| wrote.replaces).map(|wrote| wrote.version).max();
        let floor = replaced.unwrap_or(Version::ZERO);
        // For each key the last word: the version, and whether a counter or a register has it.
        let mut last: BTreeMap<&Key, (Version, bool)> = BTreeMap::new();
        for wrote in visible() {
            for effect in &wrote.effects {
                let (key, word) = match effect {
                    Effect::Set(key, _) | Effect::Remove(key) => (key, (wrote.version, false)),
                    Effect::Add { key, epoch, .. } => (key, (*epoch, true)),
                };
                if word.0 >= floor {
                    let entry = last.entry(key).or_insert(word);
                    *entry = (*entry).max(word);
                }
            }
        }
        let mut contents = Contents::new();
        for (key, (version, counts)) in last {
            let mut sum = None;
            for wrote in visible() {
                for effect in &wrote.effects {
                    match effect {
                        Effect::Set(k, value)
                            if k == key && !counts && wrote.version == version =>
                        {
                            contents.insert(key.clone(), Content::Bytes(value.clone()));
                        }
                        Effect::Add { key: k, epoch, base, amount }
                            if k == key && counts && *epoch == version =>
                        {
                            sum = Some(sum.unwrap_or(*base) + amount);
                        }
                        _ => {}
                    }
                }
            }
            if let Some(sum) = sum {
                contents.insert(key.clone(), Content::Count(sum));
            }
        }
        Some(contents)
    }

    /// A vector that has seen all writes to it.
    pub(crate) fn everything(&self) -> Vector {
        self.writes().map(|wrote| (wrote.version.server, wrote.version.stamp)).collect()
    }
}

/// What a copy shows, in the model's terms.
pub(crate) fn shown(session: &Session) -> Contents {
    let content = |shown| match shown {
        Shown::Bytes(bytes) => Content::Bytes(Value::new(bytes)),
        Shown::Count(count) => Content::Count(count),
    };
    session.iter().map(|(key, shown)| (key.clone(), content(shown))).collect()
}
