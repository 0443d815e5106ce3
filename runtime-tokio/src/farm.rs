//! The handle that applications hold.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use grapevine_core::{
    Acks, Address, Change, Create, Farm, Key, Listed, Locally, Principal, ReadPolicy, Report,
    Request, RequestError, Response, Rotation, ServerId, Session, Status, Token, TokenKey, Value,
};

use crate::builder::Builder;
use crate::clock::Clock;
use crate::digest::{Digest, digest};
use crate::driver::{Ask, Shown};
use crate::edit::Edit;
use crate::error::{Error, StopReason};
use crate::expirations::{Expirations, Told};
use crate::link::Links;
use crate::metrics::LinkStatus;
use crate::net::sync::{mpsc, oneshot};
use crate::net::task::AbortHandle;

/// The longest time that [`Grapevine::verify`] may take.
pub const LONGEST_VERIFY: Duration = Request::LONGEST_VERIFY;

/// A running server of the farm, as the application holds it. Cheap to clone.
///
/// Dropping the last handle stops the server at once, as a crash would; [`Grapevine::leave`] stops
/// it in order.
#[derive(Clone)]
pub struct Grapevine(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) links: Arc<Links>,
    pub(crate) shown: Arc<Shown>,
    pub(crate) told: Told,
    pub(crate) clock: Arc<Clock>,
    pub(crate) tokens: TokenKey,
    pub(crate) asks: mpsc::Sender<Ask>,
    pub(crate) address: SocketAddr,
    pub(crate) driver: AbortHandle,
}

impl Drop for Inner {
    fn drop(&mut self) {
        // The driver owns everything else that runs.
        self.driver.abort();
    }
}

impl std::fmt::Debug for Grapevine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Grapevine({} at {})", self.server_id(), self.local_addr())
    }
}

/// A session as it is served to a customer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// What the customer must carry from now on.
    pub token: String,
    /// The state.
    pub session: Arc<Session>,
    /// Nobody could tell in time whether this is current. Only with [`ReadPolicy::BestEffort`].
    pub stale: bool,
    /// Writes that the customer depends on are lost; this is what is left.
    pub lost: bool,
    /// This server hears from fewer than a majority of the farm: elsewhere the session may have been
    /// changed, or ended, without its knowledge.
    pub isolated: bool,
}

impl Grapevine {
    /// A server with this number, to be configured and started. The number must be another one on
    /// each server of the farm, and the same one after a restart.
    pub fn builder(number: u16) -> Builder {
        Builder::new(number)
    }

    pub(crate) fn new(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }

    /// Makes a new session (R57a, R74).
    ///
    /// # Errors
    /// [`Error::Request`] with a limit: nothing changed. [`Error::NotReplicated`]: the session
    /// exists and spreads.
    pub async fn create(&self, new: Create) -> Result<Served, Error> {
        self.session(Request::Create(new)).await
    }

    /// Reads a session; [`ReadPolicy::Fresh`].
    ///
    /// In the common case, when this server has all that the customer depends on, no message is
    /// sent and no other task is asked.
    ///
    /// # Errors
    /// [`Error::Token`] without asking anybody; [`Error::Request`] when the session is over, lost,
    /// or could not be determined in time. Nothing changed.
    pub async fn read(&self, token: &str) -> Result<Served, Error> {
        self.read_with(token, ReadPolicy::Fresh).await
    }

    /// Reads a session, and says what to do when the farm can't tell in time whether the copy here
    /// is current.
    ///
    /// # Errors
    /// As [`Grapevine::read`].
    pub async fn read_with(&self, token: &str, policy: ReadPolicy) -> Result<Served, Error> {
        let parsed = Token::decode(token, &self.0.tokens)?;
        match self.read_here(&parsed) {
            Some(served) if served.token == parsed => Ok(Served {
                token: token.to_owned(),
                session: served.session,
                stale: served.stale,
                lost: served.lost,
                isolated: served.isolated,
            }),
            Some(served) => Ok(self.served(served)),
            None => self.session(Request::Read { token: parsed, policy }).await,
        }
    }

    /// Changes a session; [`Acks::Farm`]. The closure sees the session as it is here, and what it
    /// does to it goes to the farm as one update (R57e, R61).
    ///
    /// # Errors
    /// As [`Grapevine::read`], and [`Error::Key`] or [`Error::Request`] for a change that can't be
    /// made. Nothing changed.
    pub async fn update(&self, token: &str, edit: impl FnOnce(&mut Edit)) -> Result<Served, Error> {
        self.update_with(token, Acks::Farm, edit).await
    }

    /// Changes a session, and waits for so many other servers to have the update.
    ///
    /// # Errors
    /// As [`Grapevine::update`], and [`Error::NotReplicated`]: **the change was made**, but not
    /// enough servers confirmed it in time.
    pub async fn update_with(
        &self,
        token: &str,
        acks: Acks,
        edit: impl FnOnce(&mut Edit),
    ) -> Result<Served, Error> {
        let before = self.read(token).await?;
        let mut editing = Edit::new(Arc::clone(&before.session));
        edit(&mut editing);
        let changes = editing.into_changes()?;
        if changes.is_empty() {
            return Ok(before);
        }
        // The token of that read no longer asks for what is lost, so the change can't tell of it.
        match self.change(&before.token, changes, acks).await {
            Ok(served) => Ok(Served { lost: served.lost || before.lost, ..served }),
            Err(Error::NotReplicated { acked, wanted, token, lost }) => {
                Err(Error::NotReplicated { acked, wanted, token, lost: lost || before.lost })
            }
            Err(error) => Err(error),
        }
    }

    /// Makes changes to a session, in order, all or none, without reading it first.
    ///
    /// # Errors
    /// As [`Grapevine::update_with`].
    pub async fn change(
        &self,
        token: &str,
        changes: Vec<Change>,
        acks: Acks,
    ) -> Result<Served, Error> {
        let token = Token::decode(token, &self.0.tokens)?;
        self.session(Request::Update { token, changes, acks }).await
    }

    /// Replaces all attributes of a session ("delete and add", R62).
    ///
    /// # Errors
    /// As [`Grapevine::update_with`].
    pub async fn replace(
        &self,
        token: &str,
        attributes: Vec<(Key, Value)>,
        acks: Acks,
    ) -> Result<Served, Error> {
        let token = Token::decode(token, &self.0.tokens)?;
        self.session(Request::Replace { token, attributes, acks }).await
    }

    /// Ends a session, everywhere and for ever.
    ///
    /// # Errors
    /// As [`Grapevine::read`], and [`Error::NotReplicated`]: the session **is** over.
    pub async fn delete(&self, token: &str, acks: Acks) -> Result<(), Error> {
        let token = Token::decode(token, &self.0.tokens)?;
        self.ask(Request::Delete { token, acks }).await.map(drop)
    }

    /// Gives a session a new ID, with its contents, and ends the old one, everywhere: at log-in and
    /// at every other change of privilege, so that an ID planted or seen before is worth nothing.
    /// [`Rotation::default`] has no grace, and waits for one other server at least, so that one crash
    /// can't bring the old ID back; a farm of one server waits for nobody.
    ///
    /// # Errors
    /// As [`Grapevine::read`]; [`Error::Request`] with `Rotated` if it has a new ID already (the
    /// response to that rotation has the token), or with a limit: nothing changed.
    /// [`Error::NotReplicated`]: the session **has** its new ID, and the error has the token.
    pub async fn rotate(&self, token: &str, rotation: Rotation) -> Result<Served, Error> {
        let token = Token::decode(token, &self.0.tokens)?;
        self.session(Request::Rotate { token, rotation }).await
    }

    /// Ends all sessions of a principal ("sign out everywhere"): those that the farm has, and those
    /// of servers that are cut off, when they are back. Sessions that are made from now on where
    /// this is known live. Returns how many sessions ended at this server. With [`Acks::Farm`] it
    /// waits for one other server at least, so that one crash can't undo it; a farm of one server
    /// waits for nobody.
    ///
    /// # Errors
    /// [`Error::Request`] with a limit (the principal is too long, or no slot is free): nothing
    /// changed. [`Error::NotReplicated`]: the sessions **are** over.
    pub async fn revoke(&self, principal: &Principal, acks: Acks) -> Result<u64, Error> {
        let principal = principal.clone();
        match self.ask(Request::Revoke { principal, acks }).await? {
            Response::Revoked { sessions, .. } => Ok(sessions),
            other => unreachable!("a revocation was answered with {other:?}"),
        }
    }

    /// Lists the sessions of a principal that this server has and could serve, as far as it knows:
    /// at most `most` ([`MAX_LISTED`](crate::MAX_LISTED) at once), from after where the page before
    /// ended.
    ///
    /// # Errors
    /// [`Error::Request`] with a limit if the principal is too long; [`Error::Stopped`].
    pub async fn sessions_of(
        &self,
        principal: &Principal,
        after: Option<Address>,
        most: u16,
    ) -> Result<Listed, Error> {
        let principal = principal.clone();
        match self.ask(Request::Sessions { principal, after, most }).await? {
            Response::Sessions(listed) => Ok(listed),
            other => unreachable!("a list was answered with {other:?}"),
        }
    }

    /// A token in two parts, for applications whose session cookie can hold only an ID: see
    /// [`Token::split`]. The first part stays the same as long as the session lives and is a token by
    /// itself; the second, the context, is to be carried beside it and may be empty.
    ///
    /// # Errors
    /// [`Error::Token`] without asking anybody. Nothing changed.
    pub fn split_token(&self, token: &str) -> Result<(String, String), Error> {
        Ok(Token::decode(token, &self.0.tokens)?.split(&self.0.tokens))
    }

    /// The token of two parts, as every call takes it: see [`Token::join`]. With an empty second
    /// part, reads promise nothing of what the customer saw before.
    ///
    /// # Errors
    /// [`Error::Token`] without asking anybody, also for a context of another session. Nothing
    /// changed.
    pub fn join_token(&self, id: &str, context: &str) -> Result<String, Error> {
        Ok(Token::join(id, context, &self.0.tokens)?.encode(&self.0.tokens))
    }

    /// What this server knows of itself and the others.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn status(&self) -> Result<Status, Error> {
        let (reply, answer) = oneshot::channel();
        self.0.asks.send(Ask::Status(reply)).await.map_err(|_| Error::Stopped)?;
        answer.await.map_err(|_| Error::Stopped)
    }

    /// The links to the other servers, and what they counted.
    pub fn links(&self) -> LinkStatus {
        self.0.links.status()
    }

    /// A hash over all live sessions' contents: equal on all servers at rest. It reads every
    /// session; don't call it for every request.
    pub fn digest(&self) -> Digest {
        digest(&self.0.shown.array, self.0.clock.now())
    }

    /// Every live and complete session of this server, in the order of their addresses. For tools
    /// and tests: it reads them all.
    pub fn sessions(&self) -> Vec<Arc<Session>> {
        let now = self.0.clock.now();
        let mut sessions = Vec::new();
        self.0.shown.array.for_each(|(session, _)| {
            if crate::digest::is_live(session, now) {
                sessions.push(Arc::clone(session));
            }
        });
        sessions
    }

    /// Compares all copies with those of every other server, and mends what differs. `within` is how
    /// long it may take, at most [`LONGEST_VERIFY`]; what was not compared by then is named in
    /// the report. Sessions that were written to within the last moments, or are close to their end,
    /// are left out. It goes through 256 sessions, or 256 KiB of them, per question and answer, one server
    /// after another, and only one verification at a time.
    ///
    /// # Errors
    /// [`RequestError::Unavailable`] with [`Unavailable::Verifying`] if one is under way already, or
    /// with [`Unavailable::Leaving`]; [`Error::Stopped`].
    ///
    /// [`Unavailable::Verifying`]: grapevine_core::Unavailable::Verifying
    /// [`Unavailable::Leaving`]: grapevine_core::Unavailable::Leaving
    pub async fn verify(&self, within: Duration) -> Result<Report, Error> {
        match self.ask(Request::Verify { within }).await? {
            Response::Verified(report) => Ok(report),
            other => unreachable!("a verification was answered with {other:?}"),
        }
    }

    /// Leaves the farm in order: takes no more requests, waits (at most `leave_timeout`) until the
    /// others have everything that was written here, sends what still waits, closes all links and
    /// stops. Returns whether the others have everything.
    ///
    /// # Errors
    /// [`Error::Request`] if it is leaving already; [`Error::Stopped`].
    pub async fn leave(&self) -> Result<bool, Error> {
        let response = self.ask(Request::Leave).await?;
        let (reply, closed) = oneshot::channel();
        if self.0.asks.send(Ask::Close(reply)).await.is_ok() {
            // If the driver stops for another reason meanwhile, it has left all the same.
            let _stopped = closed.await;
        }
        Ok(matches!(response, Response::Left { complete: true }))
    }

    /// Waits until the server has stopped, and says why. Stops that the program asked for by
    /// dropping the last handle are not seen by anybody.
    pub async fn stopped(&self) -> StopReason {
        let mut stop = self.0.links.stop.subscribe();
        let stopped = stop.wait_for(Option::is_some).await;
        // The sender lives as long as this handle.
        stopped.ok().and_then(|reason| reason.clone()).unwrap_or(StopReason::Failed)
    }

    /// The sessions that expire from now on, by their idle limit or their deadline, and of which this
    /// server is the one to tell: for an application to clean up what it keeps elsewhere for them.
    ///
    /// In normal operation each session that expires is told of by one server of the farm, once; so
    /// listen on every server. It is its origin, or if that process is gone, the live server with the
    /// lowest number. When servers die or can't hear each other, several may tell of one session, each at
    /// most once; or none, if the one that was to tell died. What must never be missed should be found
    /// by a clean-up of its own now and then. A session that is deleted, rotated or revoked is not told
    /// of: who did it knows.
    ///
    /// Up to 4096 wait for a listener that is slow; it is told how many it missed.
    pub fn expirations(&self) -> Expirations {
        self.0.told.listen()
    }

    /// Whether this server hears from fewer than a majority of the farm now. It costs no message and
    /// asks no other task.
    pub fn is_isolated(&self) -> bool {
        self.0.clock.now() > self.0.shown.view.load().hears_majority_until
    }

    /// This process: its number and when it started.
    pub fn server_id(&self) -> ServerId {
        self.0.links.identity.server
    }

    /// Where it listens for the other servers; useful when it was told to listen on port 0.
    pub fn local_addr(&self) -> SocketAddr {
        self.0.address
    }

    /// What the farm agrees on.
    pub fn farm(&self) -> &Farm {
        &self.0.links.farm
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.0
    }

    /// The fast path: a slot read, and the engine's rule for serving it.
    fn read_here(&self, token: &Token) -> Option<grapevine_core::Served> {
        match self.0.shown.serve(token, self.0.clock.now()) {
            Locally::Serve(served) => Some(served),
            Locally::Ask => None,
        }
    }

    async fn session(&self, request: Request) -> Result<Served, Error> {
        match self.ask(request).await? {
            Response::Session(served) => Ok(self.served(served)),
            other => unreachable!("a request for a session was answered with {other:?}"),
        }
    }

    async fn ask(&self, request: Request) -> Result<Response, Error> {
        let (reply, outcome) = oneshot::channel();
        let ask = Ask::Request { request, reply };
        self.0.asks.send(ask).await.map_err(|_| Error::Stopped)?;
        outcome.await.map_err(|_| Error::Stopped)?.map_err(|error| match error {
            RequestError::NotReplicated { acked, wanted, token, lost } => {
                let token = token.map(|token| token.encode(&self.0.tokens));
                Error::NotReplicated { acked, wanted, token, lost }
            }
            other => Error::Request(other),
        })
    }

    fn served(&self, served: grapevine_core::Served) -> Served {
        Served {
            token: served.token.encode(&self.0.tokens),
            session: served.session,
            stale: served.stale,
            lost: served.lost,
            isolated: served.isolated,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn when_the_driver_is_gone_every_request_ends_with_an_error_and_nothing_is_served() {
        let server = Grapevine::builder(1).start().await.unwrap();
        let token = server.create(Create::default()).await.unwrap().token;
        server.read(&token).await.unwrap();
        server.inner().driver.abort();
        assert_eq!(server.stopped().await, StopReason::Failed);
        assert_eq!(server.read(&token).await, Err(Error::Stopped));
        assert_eq!(server.update(&token, |s| _ = s.add("n", 1)).await, Err(Error::Stopped));
        assert_eq!(server.leave().await, Err(Error::Stopped));
        assert!(server.status().await.is_err());
    }
}
