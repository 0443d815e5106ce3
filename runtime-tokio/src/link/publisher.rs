//! The publisher of one peer: dials, shakes hands, and sends what is in the queue (R112b1). When
//! the link ends it dials again, ever more slowly; what waited is dropped, for repair mends it.

use std::fmt;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use grapevine_core::ServerId;

use super::handshake::{self, Failure, Hello, Refusal};
use super::queue::Queue;
use super::{Input, Links, is_allowed, pulse};
use crate::error::StopReason;
use crate::metrics::{LinkState, Reason, add};
use crate::net::io::{AsyncReadExt, AsyncWriteExt};
use crate::net::sync::watch;
use crate::net::time::{self, Instant};
use crate::net::{OwnedReadHalf, OwnedWriteHalf, TcpStream, lookup_host, select};
use crate::random::Backoff;

/// An address that led to this server itself, or to one that is linked already, is looked at again
/// after this: names can come to mean something else.
const PARKED: Duration = Duration::from_secs(10);

/// A link that stood this long was good: the next dialling starts quickly again.
const STOOD: Duration = Duration::from_secs(1);

/// How long a link that is closed in order waits for the peer to have taken everything.
const FAREWELL: Duration = Duration::from_secs(1);

/// Where a publisher dials.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Target {
    Address(SocketAddr),
    /// `name:port`, resolved again at every try.
    Name(String),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

/// The task of one target.
pub(crate) struct Publisher {
    links: Arc<Links>,
    target: Target,
    id: u64,
    unwanted: Arc<AtomicBool>,
}

/// How a try or a link ended.
enum End {
    /// The queue was closed and everything in it was sent: the server leaves.
    Flushed,
    Trouble(Trouble),
}

struct Trouble {
    reason: Reason,
    text: String,
    /// What the peer said, if it refused this server.
    refusal: Option<Refusal>,
}

impl Trouble {
    fn new(reason: Reason, text: String) -> Self {
        Self { reason, text, refusal: None }
    }

    fn of(failure: Failure) -> Self {
        match failure {
            Failure::Refused(refusal) => Self::new(refusal.reason, refusal.text),
            Failure::ByPeer(refusal) => {
                let text = format!("it refuses this server: {}", refusal.text);
                Self { reason: Reason::RefusedByPeer, text, refusal: Some(refusal) }
            }
            Failure::Io(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                Self::new(Reason::ClosedByPeer, "it closed the connection".into())
            }
            Failure::Io(error) => Self::new(Reason::Broken, error.to_string()),
        }
    }
}

impl Publisher {
    /// A publisher that ends after the link that it has, once `unwanted` is set.
    pub(crate) fn new(
        links: Arc<Links>,
        target: Target,
        id: u64,
        unwanted: Arc<AtomicBool>,
    ) -> Self {
        Self { links, target, id, unwanted }
    }

    /// Runs until the server leaves, or the target isn't wanted any more.
    pub(crate) async fn run(self) {
        let mut backoff = Backoff::new();
        while !self.unwanted.load(Ordering::Relaxed) {
            let started = Instant::now();
            let End::Trouble(trouble) = self.attempt().await else { break };
            if started.elapsed() >= STOOD {
                backoff.reset();
            }
            self.note(&trouble);
            let wait = match trouble.reason {
                Reason::Itself | Reason::Duplicate => PARKED,
                _ => backoff.next(&self.links.random),
            };
            select! { biased;
                // Without waiting, this server could not answer what a starting one asks, in time.
                () = self.links.redial.notified(), if wait != PARKED => {}
                () = time::sleep(wait) => {}
            }
        }
        self.links.dialled.lock().remove(self.id);
    }

    /// One try, and the link if it comes to one.
    async fn attempt(&self) -> End {
        match self.connect().await {
            Ok((stream, server)) => {
                let end = self.carry(stream, server).await;
                self.links.dialled.lock().release(self.id);
                end
            }
            Err(trouble) => {
                self.links.dialled.lock().release(self.id);
                End::Trouble(trouble)
            }
        }
    }

    /// Dials and shakes hands. The server that answered is reserved for this publisher.
    async fn connect(&self) -> Result<(TcpStream, ServerId), Trouble> {
        let limit = self.links.limits.handshake;
        let late = |what: &str| {
            let text = format!("{what} took longer than {limit:?}");
            Trouble::new(Reason::DialTimeout, text)
        };
        let mut stream = match time::timeout(limit, self.dial()).await {
            Ok(stream) => stream?,
            Err(_) => return Err(late("dialling")),
        };
        let nonce = self.links.random.nonce();
        let identity = &self.links.identity;
        let opening = handshake::open(&mut stream, identity, nonce, |hello| self.wanted(hello));
        match time::timeout(limit, opening).await {
            Ok(Ok(hello)) => Ok((stream, hello.server)),
            Ok(Err(failure)) => Err(Trouble::of(failure)),
            Err(_) => Err(late("the handshake")),
        }
    }

    async fn dial(&self) -> Result<TcpStream, Trouble> {
        let addresses = match &self.target {
            Target::Address(address) => vec![*address],
            Target::Name(name) => match lookup_host(name).await {
                Ok(addresses) => addresses.collect(),
                Err(error) => return Err(Trouble::new(Reason::NameFailed, error.to_string())),
            },
        };
        let mut trouble = Trouble::new(Reason::NameFailed, "the name has no address".into());
        for address in addresses {
            if !is_allowed(address) {
                let text = format!("{address} is not a loopback address; {NOT_ENCRYPTED}");
                trouble = Trouble::new(Reason::NotLoopback, text);
                continue;
            }
            match connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => {
                    trouble = Trouble::new(Reason::DialFailed, format!("{address}: {error}"));
                }
            }
        }
        Err(trouble)
    }

    /// Looks at who answered before this server says more than its name.
    fn wanted(&self, hello: &Hello) -> Result<(), Refusal> {
        if self.links.identity.is(hello) {
            let text = "the address is this server's own".into();
            return Err(Refusal::new(Reason::Itself, text));
        }
        self.links.peers.lock().expects(hello, &self.target, Instant::now())?;
        if !self.links.dialled.lock().reserve(self.id, hello.server) {
            let text = format!("server {} is linked already", hello.server.number());
            return Err(Refusal::new(Reason::Duplicate, text));
        }
        Ok(())
    }

    /// Sends what is in the queue until the link ends.
    async fn carry(&self, stream: TcpStream, server: ServerId) -> End {
        let limits = &self.links.limits;
        let queue = Arc::new(Queue::new(limits.queue_frames, limits.queue_bytes));
        let up = Input::Up { server, queue: Arc::clone(&queue) };
        if self.links.inputs.send(up).await.is_err() {
            return End::Flushed;
        }
        self.links.dialled.lock().up(self.id, server, Arc::clone(&queue));
        self.links.changed.notify_one();
        tracing::info!(server = server.number(), address = %self.target, "linked");
        let (mut reader, mut writer) = stream.into_split();
        let end = {
            let (newest, pulses) = watch::channel(0);
            let note = |number| _ = newest.send_replace(number);
            let hearing = pin!(handshake::hear(&mut reader, limits.silence, note));
            // A peer that closes is noticed at once, also while there is nothing to send.
            select! { biased;
                failure = hearing => End::Trouble(Trouble::of(failure)),
                end = self.pump(&queue, &mut writer, pulses) => end,
            }
        };
        queue.close();
        if matches!(end, End::Flushed) {
            farewell(&mut reader, &mut writer).await;
        }
        // If the driver is gone, nobody needs to know.
        let _gone = self.links.inputs.send(Input::Down { server }).await;
        end
    }

    /// Sends what is in the queue, and echoes the peer's newest pulse in between.
    async fn pump(
        &self,
        queue: &Queue,
        writer: &mut OwnedWriteHalf,
        mut pulses: watch::Receiver<u64>,
    ) -> End {
        let (mut chunks, mut joined) = (Vec::new(), Vec::new());
        let traffic = &self.links.metrics.traffic;
        loop {
            let more = select! { biased;
                Ok(()) = pulses.changed() => {
                    let echo = pulse::echo(*pulses.borrow_and_update());
                    if let Err(trouble) = self.write(writer, &echo).await {
                        return End::Trouble(trouble);
                    }
                    continue;
                }
                more = queue.pop(&mut chunks) => more,
            };
            if !more {
                return End::Flushed;
            }
            let frames: usize = chunks.iter().map(|chunk| chunk.frames).sum();
            let bytes: &[u8] = if let [only] = &chunks[..] {
                &only.bytes
            } else {
                joined.clear();
                chunks.iter().for_each(|chunk| joined.extend_from_slice(&chunk.bytes));
                &joined
            };
            if let Err(trouble) = self.write(writer, bytes).await {
                return End::Trouble(trouble);
            }
            add(&traffic.frames_sent, frames as u64);
            add(&traffic.writes, 1);
            chunks.clear();
        }
    }

    async fn write(&self, writer: &mut OwnedWriteHalf, bytes: &[u8]) -> Result<(), Trouble> {
        let stall = self.links.limits.stall;
        match time::timeout(stall, writer.write_all(bytes)).await {
            Ok(Ok(())) => {
                add(&self.links.metrics.traffic.bytes_sent, bytes.len() as u64);
                Ok(())
            }
            Ok(Err(error)) => Err(Trouble::of(Failure::Io(error))),
            Err(_) => {
                let text = format!("it took nothing for {stall:?}");
                Err(Trouble::new(Reason::WriteStalled, text))
            }
        }
    }

    /// Counts and shows how it ended, and draws the conclusions if the number is not ours.
    fn note(&self, trouble: &Trouble) {
        let state = match trouble.reason {
            Reason::Itself => LinkState::Itself,
            Reason::Duplicate => LinkState::Duplicate,
            _ => LinkState::Dialling,
        };
        let news = self.links.dialled.lock().failed(self.id, state, &trouble.text);
        if news {
            self.links.report(trouble.reason, &self.target.to_string(), &trouble.text);
        } else {
            // Said once is enough; a peer that is down for days must not fill the log.
            self.links.metrics.count(trouble.reason);
        }
        self.judge_number(trouble.refusal.as_ref());
        self.links.changed.notify_one();
    }

    /// A server whose number belongs to another live process stops: at once if it was taken over by
    /// a newer one; a new one when, for longer than a dead process's connection counts, a peer goes
    /// on saying that the number is in use.
    fn judge_number(&self, refusal: Option<&Refusal>) {
        let own = self.links.identity.server;
        match refusal {
            Some(Refusal { reason: Reason::OlderBoot, about, text }) => {
                self.links.stop_with(StopReason::Superseded { newer: *about, text: text.clone() });
            }
            Some(Refusal { reason: Reason::NumberInUse | Reason::OwnNumber, about, text })
                if *about < own =>
            {
                let patience = self.links.farm.in_use_for();
                let since = self.links.dialled.lock().contested(self.id, Instant::now());
                if since.is_some_and(|since| since.elapsed() > patience) {
                    let (number, holder) = (own.number(), *about);
                    let text = format!("{} says: {text}", self.target);
                    self.links.stop_with(StopReason::NumberInUse { number, holder, text });
                }
            }
            _ => self.links.dialled.lock().uncontested(self.id),
        }
    }
}

async fn connect(address: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    // Where nobody listens on a port from which the system also takes the ports of clients, a
    // socket can come to connect to itself. That must not keep the port from who will listen on it.
    if stream.local_addr()? == stream.peer_addr()? {
        return Err(std::io::ErrorKind::ConnectionRefused.into());
    }
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Why only loopback addresses are taken.
pub(crate) const NOT_ENCRYPTED: &str =
    "farm links are not encrypted yet, so they must stay on this machine";

/// Closes so that everything written arrives: the peer closes when it has read to the end. Its pulses
/// until then are read too: what is left unread when a socket is dropped takes back what it has sent.
async fn farewell(reader: &mut OwnedReadHalf, writer: &mut OwnedWriteHalf) {
    let ended = async {
        let mut waste = [0; 1024];
        while reader.read(&mut waste).await.is_ok_and(|read| read > 0) {}
    };
    if writer.shutdown().await.is_ok() {
        let _late = time::timeout(FAREWELL, ended).await;
    }
}
