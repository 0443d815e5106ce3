//! What can be said to a request now: serve it, refuse it, or ask others (section 5 of the protocol
//! page).

use alloc::sync::Arc;

use super::{Lookup, Said};
use crate::engine::Engine;
use crate::error::{NotFound, RequestError, Unavailable};
use crate::facts::Place;
use crate::id::ServerId;
use crate::protocol::serve::{Grounds, Standing, standing};
use crate::rare::Mark;
use crate::session::Session;
use crate::stamp::Stamp;
use crate::token::Token;

/// What can be said to a request about a session now.
pub(super) enum Verdict {
    Serve(Arc<Session>, Grounds),
    Fail(RequestError),
    /// Others must be asked, or have not answered yet.
    Ask,
}

impl Engine {
    pub(super) fn judge(&self, token: &Token, lookup: Option<&Lookup>) -> Verdict {
        let fail = |why| Verdict::Fail(RequestError::NotFound(why));
        let unavailable = |why| Verdict::Fail(RequestError::Unavailable(why));
        if self.members.self_skewed() {
            return unavailable(Unavailable::Skewed);
        }
        if let Some(why) = self.refuses_as_isolated() {
            return unavailable(why);
        }
        if self.now >= token.deadline {
            // Clocks may differ a little; one that stepped far ahead says nothing of deadlines.
            let over = self.trusted_now() + self.config.farm.max_drift >= token.deadline;
            return if over { fail(NotFound::Deadline) } else { unavailable(Unavailable::Skewed) };
        }
        let newest = token.context.newest().stamp.max(token.id.created);
        if newest.time() > self.now + self.config.farm.max_drift {
            self.rare.mark(Mark::TokenFromTheFuture);
            return unavailable(Unavailable::FromTheFuture);
        }
        let copy = match self.facts.find(&token.id) {
            Place::Unknown => return fail(NotFound::Unknown),
            Place::Superseded(_) => return fail(NotFound::Ended),
            Place::Lacking => return self.judge_missing(token, lookup),
            Place::Here(copy) => copy,
        };
        match standing(copy, self.now) {
            Standing::Ended(why) => fail(why),
            Standing::Partial => self.judge_missing(token, lookup),
            Standing::Idle => {
                let certain = self.idle_is_certain(copy);
                // An answer to what was asked before, as to a server that was paused meanwhile, says nothing.
                let asked = lookup.is_some_and(|lookup| lookup.since >= copy.idle_deadline());
                let confirmed = !certain && asked && self.all_answered(lookup, |_| true);
                self.rare.mark_if(confirmed, Mark::ExpiryConfirmedByAll);
                if certain || confirmed {
                    return fail(NotFound::Idle);
                }
                self.rare.mark(Mark::ExpiryAsked);
                Verdict::Ask
            }
            Standing::Ready | Standing::Retired => self.judge_ready(copy, token, lookup),
        }
    }

    fn judge_ready(&self, copy: &Arc<Session>, token: &Token, lookup: Option<&Lookup>) -> Verdict {
        let confirmed = !self.members.joining()
            || lookup.is_some_and(|lookup| self.said(lookup).any(|(_, said)| !said.joining))
            || self.all_answered(lookup, |_| true);
        if !confirmed {
            return Verdict::Ask;
        }
        let missing = || self.missing(copy, token, lookup);
        if missing().next().is_none() {
            let grounds = Grounds { context: token.context.clone(), ..Grounds::default() };
            return Verdict::Serve(Arc::clone(copy), grounds);
        }
        if self.is_lost(missing(), lookup) {
            let (context, lost) = (token.context.clone(), missing().collect());
            let grounds = Grounds { context, lost, stale: false };
            return Verdict::Serve(Arc::clone(copy), grounds);
        }
        Verdict::Ask
    }

    /// What neither this server nor those that answered cover, of the context and of what the copy has
    /// seen. Mostly nothing, and asked at each answer to whoever waits: so it is made into no vector.
    fn missing<'a>(
        &'a self,
        copy: &'a Session,
        token: &'a Token,
        lookup: Option<&'a Lookup>,
    ) -> impl Iterator<Item = (ServerId, Stamp)> + 'a {
        let (context, seen) = (&token.context, &copy.seen);
        let known = move |server, stamp| {
            lookup.is_some_and(|lookup| lookup.joined.covers_entry(server, stamp))
                || self.is_of_long_ago(stamp)
        };
        let not_here = self.applied.beyond(context).map(|entry| (true, entry));
        let not_here = not_here.chain(self.applied.beyond(seen).map(|entry| (false, entry)));
        not_here.filter_map(move |(of_context, (server, stamp))| {
            // Of a writer that both name, the later write.
            let named_later = || match of_context {
                true => seen.get(server) > stamp,
                false => context.get(server) >= stamp,
            };
            // Older than the session: about one that it came after, whose copies are dropped.
            let matters = || stamp > token.id.created || !self.is_forgotten(server);
            let missing = !known(server, stamp) && matters() && !named_later();
            missing.then_some((server, stamp))
        })
    }

    fn judge_missing(&self, token: &Token, lookup: Option<&Lookup>) -> Verdict {
        let partial = matches!(self.facts.find(&token.id), Place::Here(_));
        let mut named =
            token.context.iter().map(|(server, _)| server).chain([token.id.address.origin]);
        // Where a number left, nobody answers for it; but a process that came after may be there.
        let unheard = named.any(|server| self.members.is_unheard(server));
        let nobody = !partial && !unheard && self.all_answered(lookup, |said| said.lacks);
        let created = (token.id.address.origin, token.id.created);
        let gone = self.is_lost([created].into_iter(), lookup);
        self.rare.mark_if(nobody, Mark::LostAsAllLackIt);
        self.rare.mark_if(gone && !nobody, Mark::LostWithItsOrigin);
        if nobody || gone { Verdict::Fail(RequestError::Lost) } else { Verdict::Ask }
    }

    /// Whether what a server said is of now: it was said no longer ago than a request waits for an answer.
    /// A crowd can keep a look-up alive for much longer than that, and who has answered it may have died
    /// since, or come to have what it lacked. While a look-up lasts, all are asked again and again.
    pub(super) fn still_counts(&self, said: &Said) -> bool {
        self.steady.since(said.at) <= self.config.local.query_timeout
    }

    /// What servers have said lately.
    fn said<'a>(&'a self, lookup: &'a Lookup) -> impl Iterator<Item = (ServerId, &'a Said)> {
        let said = lookup.said.iter().map(|(&server, said)| (server, said));
        said.filter(|(_, said)| self.still_counts(said))
    }

    /// Whether every other configured number answered, each in this way.
    fn all_answered(&self, lookup: Option<&Lookup>, way: impl Fn(&Said) -> bool) -> bool {
        let said = lookup.into_iter().flat_map(|lookup| self.said(lookup));
        let current = said.filter(|&(server, _)| self.members.counts(server));
        let (mut answered, mut fits) = (0, true);
        for (_, said) in current {
            answered += 1;
            fits &= way(said);
        }
        fits && answered >= self.members.expected()
    }

    /// Whether what is missing lies beyond closed entries; or was written by servers that are gone or
    /// given up, and a majority of the configured farm, with every server that lives, answered
    /// without it.
    fn is_lost(
        &self,
        missing: impl Iterator<Item = (ServerId, Stamp)>,
        lookup: Option<&Lookup>,
    ) -> bool {
        // A number has one process: where another one has answered, an older one is gone, and a newer one
        // was before it, by a clock that has gone back since. Who has answered itself is there, though only
        // others may hear from it, and has written since.
        let replaced = |lookup: &Lookup, writer: ServerId| {
            let mut said = lookup.said.keys().filter(|server| server.number() == writer.number());
            writer.number() == self.config.server.number()
                || said.next().is_some() && !lookup.said.contains_key(&writer)
        };
        let gone = |lookup, server| {
            self.members.given_up(server, self.steady, &self.config)
                || server != self.config.server
                    && !self.members.counts(server)
                    && replaced(lookup, server)
        };
        let mut answered = None;
        let mut lost = |lookup, writer| {
            gone(lookup, writer)
                && *answered.get_or_insert_with(|| self.all_that_live_answered(lookup))
        };
        { missing }.all(|(writer, stamp)| {
            self.beyond_closed(writer, stamp) || lookup.is_some_and(|lookup| lost(lookup, writer))
        })
    }

    /// Whether a majority of the configured farm, with every server that lives, answered lately.
    fn all_that_live_answered(&self, lookup: &Lookup) -> bool {
        let answered = self.said(lookup).filter(|&(server, _)| self.members.counts(server)).count();
        let answers = |server| lookup.said.get(&server).is_some_and(|said| self.still_counts(said));
        // Also those that only others hear from.
        let mut alive = self.members.alive().chain(lookup.asked_on.iter().copied());
        answered + 1 >= usize::from(self.config.farm.majority()) && alive.all(answers)
    }
}
