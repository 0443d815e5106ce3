//! `GET /expirations`: sessions that ended by themselves, for applications that clean up after them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use grapevine_tokio::{Expiration, Expirations, Limit, Session};
use serde::Serialize;
use tokio::sync::watch;

use super::Shared;
use super::application::Application;
use super::json::Over;
use super::query::ExpirationsQuery;

/// What was told since the server started, as far as it is kept.
#[derive(Clone)]
pub(super) struct Told {
    kept: Arc<Mutex<Kept>>,
    /// How many were told; closed once the server has stopped.
    count: watch::Receiver<u64>,
}

/// The newest, numbered from 0 in the order in which they were told. Reading takes none away, so that
/// an answer which did not arrive can be asked for again.
struct Kept {
    sessions: VecDeque<Ended>,
    bytes: usize,
    allowed: usize,
    /// The number of the next one.
    next: u64,
}

#[derive(Clone)]
struct Ended {
    number: u64,
    session: Arc<Session>,
    limit: Limit,
}

/// A part of what was told.
struct Part {
    sessions: Vec<Ended>,
    /// How many of them are not kept any more.
    missed: u64,
    /// Where the next part begins.
    next: u64,
}

impl Ended {
    fn shown(&self) -> Over<'_> {
        Over::new(&self.session, self.limit)
    }
}

impl Kept {
    fn new(allowed: usize) -> Self {
        Self { sessions: VecDeque::new(), bytes: 0, allowed, next: 0 }
    }

    fn take(&mut self, expiration: Expiration) {
        match expiration {
            Expiration::Session { session, limit } => {
                self.bytes += session.footprint();
                self.sessions.push_back(Ended { number: self.next, session, limit });
                self.next += 1;
            }
            Expiration::Missed(missed) => self.next += missed,
            _ => {}
        }
        while self.bytes > self.allowed
            && let Some(oldest) = self.sessions.pop_front()
        {
            self.bytes -= oldest.session.footprint();
        }
    }

    fn part(&self, from: u64, most: usize) -> Part {
        let from = from.min(self.next);
        let first = self.sessions.partition_point(|ended| ended.number < from);
        let sessions: Vec<Ended> = self.sessions.range(first..).take(most).cloned().collect();
        let next = match sessions.last() {
            Some(last) if sessions.len() == most => last.number + 1,
            _ => self.next,
        };
        Part { missed: next - from - sessions.len() as u64, sessions, next }
    }
}

impl Told {
    /// Keeps what is told from now on, in so many bytes.
    pub(super) fn keep(mut expirations: Expirations, allowed: usize) -> Self {
        let kept = Arc::new(Mutex::new(Kept::new(allowed)));
        let (told, count) = watch::channel(0);
        let keeper = Arc::clone(&kept);
        tokio::spawn(async move {
            while let Some(expiration) = expirations.next().await {
                let mut kept = lock(&keeper);
                kept.take(expiration);
                told.send_replace(kept.next);
            }
        });
        Self { kept, count }
    }

    /// Waits until there is something from this number on, or the server stops.
    async fn comes(&self, from: u64, mut stopping: watch::Receiver<bool>) {
        let mut count = self.count.clone();
        tokio::select! {
            _ = count.wait_for(|&count| count > from) => {}
            _ = stopping.wait_for(|stop| *stop) => {}
        }
    }
}

/// It holds plain data: whoever panicked left it whole.
fn lock(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `GET /expirations`: the next part of them.
pub(super) async fn expirations(
    State(app): State<Shared>,
    _: Application,
    query: ExpirationsQuery,
) -> Response {
    let process = app.grapevine.server_id();
    // What an earlier process told is gone with it.
    let from = query.after.filter(|after| after.process == process).map_or(0, |after| after.number);
    if !query.wait.is_zero() {
        let comes = app.told.comes(from, app.stopping.clone());
        let _in_time = tokio::time::timeout(query.wait, comes).await;
    }
    let part = lock(&app.told.kept).part(from, usize::from(query.most));
    Json(Body {
        expirations: part.sessions.iter().map(Ended::shown).collect(),
        missed: part.missed,
        next: format!("{}-{}", process.to_bits(), part.next),
        id: process.to_string(),
        served_by: app.number(),
    })
    .into_response()
}

#[derive(Serialize)]
struct Body<'a> {
    expirations: Vec<Over<'a>>,
    missed: u64,
    next: String,
    id: String,
    served_by: u16,
}

#[cfg(test)]
mod tests {
    use grapevine_tokio::{Create, Grapevine};

    use super::*;

    async fn session() -> Arc<Session> {
        let server = Grapevine::builder(1).start().await.unwrap();
        server.create(Create::default()).await.unwrap().session
    }

    fn numbers(part: &Part) -> Vec<u64> {
        part.sessions.iter().map(|ended| ended.number).collect()
    }

    #[tokio::test]
    async fn parts_follow_each_other_and_say_what_is_not_kept_any_more() {
        let session = session().await;
        let mut kept = Kept::new(3 * session.footprint());
        let take = |kept: &mut Kept, count| {
            for _ in 0..count {
                let session = Arc::clone(&session);
                kept.take(Expiration::Session { session, limit: Limit::Idle });
            }
        };
        let none = kept.part(0, 2);
        assert_eq!((numbers(&none), none.missed, none.next), (vec![], 0, 0));
        take(&mut kept, 3);
        let first = kept.part(0, 2);
        assert_eq!((numbers(&first), first.missed, first.next), (vec![0, 1], 0, 2));
        take(&mut kept, 2);
        let again = kept.part(0, 2);
        assert_eq!((numbers(&again), again.missed, again.next), (vec![2, 3], 2, 4));
        let rest = kept.part(first.next, 2);
        assert_eq!((numbers(&rest), rest.missed, rest.next), (vec![2, 3], 0, 4));
        kept.take(Expiration::Missed(7));
        take(&mut kept, 1);
        let over_the_gap = kept.part(4, 9);
        assert_eq!(numbers(&over_the_gap), [4, 12]);
        assert_eq!((over_the_gap.missed, over_the_gap.next), (7, 13));
        let beyond = kept.part(1000, 9);
        assert_eq!((numbers(&beyond), beyond.missed, beyond.next), (vec![], 0, 13));
        assert_eq!(kept.bytes, 3 * session.footprint());
    }

    #[tokio::test]
    async fn one_that_is_larger_than_all_that_is_kept_is_counted() {
        let mut kept = Kept::new(10);
        kept.take(Expiration::Session { session: session().await, limit: Limit::Absolute });
        let part = kept.part(0, 9);
        assert_eq!((numbers(&part), part.missed, part.next, kept.bytes), (vec![], 1, 1, 0));
    }
}
