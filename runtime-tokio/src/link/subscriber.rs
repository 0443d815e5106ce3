//! The subscribers: accept, shake hands, decode, and feed the driver (R112b2, R59). Whatever is
//! wrong with a peer closes its connection only, and is counted under its name.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use grapevine_core::{Command, Farm, wire};

use super::frame::FrameReader;
use super::handshake::{self, Failure, Hello, Refusal};
use super::peers::Inbound;
use super::{Input, Links, pulse};
use crate::metrics::{Reason, add};
use crate::net::io::{AsyncRead, AsyncReadExt};
use crate::net::sync::{OwnedSemaphorePermit, Semaphore};
use crate::net::task::JoinSet;
use crate::net::time::{self, Instant};
use crate::net::{TcpListener, TcpStream, select};

/// The slowest that a frame may come, in bytes per second, beyond half of the time in which nothing at all
/// need come. Bytes alone are no sign of life: a length that was damaged under way would have a subscriber
/// take a minute's heartbeats for the rest of one frame.
const SLOWEST: f64 = 262_144.0;

/// Commands handed to the driver at once, so that it can go on with others in between.
const AT_ONCE: usize = 64;

/// How long and how much a refused peer may still send, so that it gets to read why: closing with
/// unread bytes would take the words back.
const LINGER: Duration = Duration::from_millis(200);
const LINGER_BYTES: usize = 16 << 10;

/// Accepts peers until it is aborted.
pub(crate) async fn listen(listener: Arc<TcpListener>, links: Arc<Links>) {
    let handshakes = Arc::new(Semaphore::new(links.limits.handshakes));
    let mut subscribers = JoinSet::new();
    loop {
        let accepted = select! { biased;
            Some(ended) = subscribers.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "a subscriber failed");
                }
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, address)) => match Arc::clone(&handshakes).try_acquire_owned() {
                Ok(permit) => {
                    subscribers.spawn(subscribe(stream, address, Arc::clone(&links), permit));
                }
                Err(_) => {
                    let text = format!(
                        "{} connections are in their handshakes already",
                        links.limits.handshakes
                    );
                    links.report(Reason::TooManyHandshakes, &address.to_string(), &text);
                }
            },
            Err(error) => {
                // Most likely out of file descriptors: others may give some back.
                tracing::warn!(%error, "can't accept connections");
                time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// A peer's place among the numbers, given back when the connection ends in whatever way.
struct Seat {
    links: Arc<Links>,
    inbound: Arc<Inbound>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.links.peers.lock().release(&self.inbound, Instant::now());
    }
}

async fn subscribe(
    mut stream: TcpStream,
    address: SocketAddr,
    links: Arc<Links>,
    permit: OwnedSemaphorePermit,
) {
    let judge = |hello: &Hello| {
        let inbound = links.peers.lock().admit(hello, address, Instant::now())?;
        Ok(Seat { links: Arc::clone(&links), inbound })
    };
    let limit = links.limits.handshake;
    // Words that nobody reads are lost anyway, so this need not wait for a slow peer either.
    let _unread = stream.set_nodelay(true);
    let accepting = handshake::accept(&mut stream, &links.identity, links.random.nonce(), judge);
    let failure = match time::timeout(limit, accepting).await {
        Ok(Ok((hello, seat))) => {
            drop(permit);
            links.redial.notify_waiters();
            return feed(stream, address, &links, &hello, &seat).await;
        }
        Ok(Err(failure)) => failure,
        Err(_) => {
            let text = format!("the handshake was not done after {limit:?}");
            Failure::Refused(Refusal::new(Reason::HandshakeTimeout, text))
        }
    };
    let peer = address.to_string();
    match failure {
        Failure::Refused(refusal) => {
            links.report(refusal.reason, &peer, &refusal.text);
            linger(&mut stream).await;
        }
        Failure::ByPeer(refusal) => links.report(Reason::RefusedByPeer, &peer, &refusal.text),
        Failure::Io(error) => {
            let text = format!("it closed the connection during the handshake: {error}");
            links.report(Reason::HandshakeClosed, &peer, &text);
        }
    }
}

/// Feeds the driver until the connection ends, and says why it did.
async fn feed(stream: TcpStream, address: SocketAddr, links: &Links, hello: &Hello, seat: &Seat) {
    let (mut reader, mut writer) = stream.into_split();
    tracing::debug!(server = hello.server.number(), %address, "a peer connected");
    let every = links.limits.pulse_every(&links.farm);
    let end = select! { biased;
        refusal = seat.inbound.ended() => Some(refusal),
        end = take_all(&mut reader, links, &seat.inbound) => end,
        // Also while the driver takes nothing: a slow server is no dead one.
        () = pulse::send(&mut writer, &seat.inbound, every) => None,
    };
    let Some(refusal) = end else { return };
    let peer = Peer(hello.server.number(), address).to_string();
    links.report(refusal.reason, &peer, &refusal.text);
    if refusal.reason != Reason::ClosedByPeer {
        let saying = handshake::refuse(&mut writer, &refusal);
        if time::timeout(LINGER, saying).await.is_ok() {
            linger(&mut reader).await;
        }
    }
}

/// How a peer is called in logs.
struct Peer(u16, SocketAddr);

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "server {} at {}", self.0, self.1)
    }
}

/// Takes frames until something is wrong. `None`: the driver is gone, and so is this server.
async fn take_all(
    reader: &mut (impl AsyncRead + Unpin),
    links: &Links,
    inbound: &Inbound,
) -> Option<Refusal> {
    let mut frames = FrameReader::new(links.farm.frame_bytes);
    let silence = links.limits.silence;
    let traffic = &links.metrics.traffic;
    let mut begun = None;
    loop {
        let Taken { commands, whole, wrong } = decode(&mut frames, links, inbound);
        if !commands.is_empty() {
            add(&traffic.frames_received, commands.len() as u64);
            let input = Input::Commands { from: inbound.server, commands };
            // A full channel holds this peer back: TCP tells it to wait, its queue overflows.
            links.inputs.send(input).await.ok()?;
        }
        if wrong.is_some() {
            return wrong;
        }
        if whole {
            begun = None;
            continue;
        }
        let (now, patience) = (Instant::now(), patience(&frames, silence));
        if !frames.inside_frame() {
            begun = None;
        } else if now.duration_since(*begun.get_or_insert(now)) > patience {
            return Some(too_slow(&frames, patience));
        }
        match time::timeout(silence, frames.fill(reader)).await {
            Ok(Ok(0)) if frames.inside_frame() => {
                let text = "it closed the connection inside a frame".into();
                return Some(Refusal::new(Reason::HalfFrame, text));
            }
            Ok(Ok(0)) => {
                let text = "it closed the connection".into();
                return Some(Refusal::new(Reason::ClosedByPeer, text));
            }
            Ok(Ok(read)) => add(&traffic.bytes_received, read as u64),
            Ok(Err(error)) => {
                let reason = if frames.inside_frame() { Reason::HalfFrame } else { Reason::Broken };
                return Some(Refusal::new(reason, error.to_string()));
            }
            Err(_) => return Some(silent(frames.inside_frame(), silence)),
        }
    }
}

/// What was in the buffer.
#[derive(Default)]
struct Taken {
    commands: Vec<Command>,
    /// Whether any frame was there whole.
    whole: bool,
    /// What is wrong after them, if anything is.
    wrong: Option<Refusal>,
}

/// What a frame says.
enum Said {
    Command(Command),
    Echo(u64),
}

fn decode(frames: &mut FrameReader, links: &Links, inbound: &Inbound) -> Taken {
    let mut taken = Taken::default();
    while taken.commands.len() < AT_ONCE {
        match frames.next() {
            Ok(Some(body)) => {
                match open(body, &links.farm) {
                    Ok(Said::Command(command)) => taken.commands.push(command),
                    Ok(Said::Echo(number)) => inbound.echoed(number),
                    Err(error) => {
                        let text = format!("a frame of {} bytes: {error}", body.len());
                        taken.wrong = Some(Refusal::new(Reason::Undecodable, text));
                        break;
                    }
                }
                taken.whole = true;
            }
            Ok(None) => break,
            Err((reason, length)) => {
                let text = format!(
                    "a frame of {length} bytes was announced; 1 to {} are allowed",
                    links.farm.frame_bytes
                );
                taken.wrong = Some(Refusal::new(reason, text));
                break;
            }
        }
    }
    taken
}

fn open(body: &[u8], farm: &Farm) -> Result<Said, wire::WireError> {
    let body = wire::open(body)?;
    match pulse::echoed(body) {
        Some(number) => Ok(Said::Echo(number)),
        None => wire::decode(body, farm).map(Said::Command),
    }
}

/// How long the rest of a frame may take.
fn patience(frames: &FrameReader, silence: Duration) -> Duration {
    silence / 2 + Duration::from_secs_f64(frames.announced() as f64 / SLOWEST)
}

fn too_slow(frames: &FrameReader, limit: Duration) -> Refusal {
    let bytes = frames.announced();
    Refusal::new(Reason::Silent, format!("it did not send a frame of {bytes} bytes in {limit:?}"))
}

fn silent(inside_frame: bool, limit: Duration) -> Refusal {
    let what = if inside_frame { "the rest of a frame" } else { "anything" };
    Refusal::new(Reason::Silent, format!("it did not send {what} for {limit:?}"))
}

/// Reads on for a moment, into nothing.
async fn linger(from: &mut (impl AsyncRead + Unpin)) {
    let reading = async {
        let mut waste = [0; 1024];
        let mut left = LINGER_BYTES;
        while left > 0 {
            match from.read(&mut waste).await {
                Ok(0) | Err(_) => break,
                Ok(read) => left = left.saturating_sub(read),
            }
        }
    };
    let _late = time::timeout(LINGER, reading).await;
}

#[cfg(test)]
mod tests {
    use grapevine_core::{ServerId, Timestamp};

    use super::*;
    use crate::link::tests::links;
    use crate::net::io::{AsyncWriteExt, duplex};

    #[tokio::test(start_paused = true)]
    async fn a_frame_that_never_comes_to_its_end_is_not_waited_for() {
        let links = links();
        let (mut peer, mut reader) = duplex(1 << 10);
        // A damaged length: heartbeats come all the time, and are taken for the rest of one frame.
        let dribble = async {
            peer.write_all(&(1_u32 << 20).to_le_bytes()).await.unwrap();
            for _ in 0..200 {
                time::sleep(Duration::from_millis(200)).await;
                if peer.write_all(&[0; 100]).await.is_err() {
                    break;
                }
            }
        };
        let started = Instant::now();
        let address = SocketAddr::from(([127, 0, 0, 1], 9));
        let inbound = Inbound::new(ServerId::new(2, Timestamp::from_millis(1)), address, started);
        let taking = take_all(&mut reader, &links, &inbound);
        let refusal = select! { biased;
            refusal = taking => refusal.expect("the driver is not asked"),
            () = dribble => panic!("it still waits"),
        };
        assert_eq!(refusal.reason, Reason::Silent, "{}", refusal.text);
        // Half of ten seconds, and four for a mebibyte.
        assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    }
}
