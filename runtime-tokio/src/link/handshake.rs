//! The handshake: both sides say who they are and show that they know the farm key, without
//! sending it.
//!
//! ```text
//! publisher → subscriber   hello
//! subscriber → publisher   1, hello, proof          or   2, refusal
//! publisher → subscriber   proof
//! subscriber → publisher   3                        or   2, refusal
//!
//! hello    magic (8), wire version (2), fingerprint of the farm's settings (16),
//!          server (8), instance (8), nonce (32)
//! proof    HMAC-SHA-256 with the farm key over the side's name and both hellos (32)
//! refusal  code (1), server that it is about (8), length (2), text
//! ```
//! All integers are little-endian. Magic and version stay where they are in every version. The
//! nonces are new for each connection, so a proof is worth nothing on another one. Who may join
//! under which number is judged after the proof only. Afterwards frames go one way, from
//! publisher to subscriber. What the subscriber sends are signs of life, and it may send one more
//! refusal before it closes:
//!
//! ```text
//! subscriber → publisher   4, number (8)            now and then   2, refusal
//! ```

use std::io;
use std::time::Duration;

use grapevine_core::{ServerId, wire};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::metrics::Reason;
use crate::net::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use crate::net::time;

pub(crate) const MAGIC: [u8; 8] = *b"grapevin";
const HEAD_BYTES: usize = MAGIC.len() + 2;
const HELLO_BYTES: usize = HEAD_BYTES + 16 + 8 + 8 + 32;
const PROOF_BYTES: usize = 32;
const MAX_TEXT: usize = 400;

const HELLO: u8 = 1;
const REFUSAL: u8 = 2;
const WELCOME: u8 = 3;
const PULSE: u8 = 4;

/// What a refusal's code stands for. Codes are never reused.
const CODES: [(u8, Reason); 10] = [
    (1, Reason::WrongVersion),
    (2, Reason::WrongSettings),
    (3, Reason::WrongKey),
    (4, Reason::OwnNumber),
    (5, Reason::NumberInUse),
    (6, Reason::OlderBoot),
    (7, Reason::TooManyNumbers),
    (8, Reason::CutOff),
    (9, Reason::Undecodable),
    (10, Reason::Replaced),
];

/// Who this process is, as it says in every handshake.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) server: ServerId,
    /// Tells two processes apart that have the same number and started in the same millisecond.
    pub(crate) instance: u64,
    pub(crate) fingerprint: [u8; 16],
    pub(crate) key: [u8; 32],
}

/// What one side says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    pub(crate) version: u16,
    pub(crate) fingerprint: [u8; 16],
    pub(crate) server: ServerId,
    pub(crate) instance: u64,
    pub(crate) nonce: [u8; 32],
}

/// Says why a connection isn't wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) reason: Reason,
    /// The server that is in the way, where there is one.
    pub(crate) about: ServerId,
    pub(crate) text: String,
}

/// How a handshake failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// This side doesn't want the other; the other was told, if there is a code for it.
    Refused(Refusal),
    /// The other side doesn't want this one.
    ByPeer(Refusal),
    /// The connection ended or broke.
    Io(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Refusal {
    pub(crate) const fn new(reason: Reason, text: String) -> Self {
        Self { reason, about: ServerId::ZERO, text }
    }

    fn encode(&self) -> Option<Vec<u8>> {
        let &(code, _) = CODES.iter().find(|(_, reason)| *reason == self.reason)?;
        let text = &self.text.as_bytes()[..self.text.len().min(MAX_TEXT)];
        let mut bytes = vec![REFUSAL, code];
        bytes.extend(self.about.to_bits().to_le_bytes());
        bytes.extend((text.len() as u16).to_le_bytes());
        bytes.extend(text);
        Some(bytes)
    }

    /// Reads what follows the kind. The text is the peer's: it is cut and cleaned for logs.
    async fn read(from: &mut (impl AsyncRead + Unpin)) -> Result<Self, Failure> {
        let code = from.read_u8().await?;
        let about = ServerId::from_bits(from.read_u64_le().await?);
        let length = usize::from(from.read_u16_le().await?);
        if length > MAX_TEXT {
            return Err(Failure::Refused(garbage()));
        }
        let mut text = vec![0; length];
        from.read_exact(&mut text).await?;
        let text = String::from_utf8_lossy(&text).replace(char::is_control, " ");
        let reason = CODES.iter().find(|(known, _)| *known == code);
        let reason = reason.map_or(Reason::RefusedByPeer, |&(_, reason)| reason);
        Ok(Self { reason, about, text })
    }
}

impl Hello {
    fn encode(&self) -> [u8; HELLO_BYTES] {
        let mut bytes = [0; HELLO_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..10].copy_from_slice(&self.version.to_le_bytes());
        bytes[10..26].copy_from_slice(&self.fingerprint);
        bytes[26..34].copy_from_slice(&self.server.to_bits().to_le_bytes());
        bytes[34..42].copy_from_slice(&self.instance.to_le_bytes());
        bytes[42..].copy_from_slice(&self.nonce);
        bytes
    }

    async fn read(from: &mut (impl AsyncRead + Unpin), own: &Identity) -> Result<Self, Failure> {
        let mut magic = [0; MAGIC.len()];
        from.read_exact(&mut magic).await?;
        if magic != MAGIC {
            return Err(Failure::Refused(garbage()));
        }
        let version = from.read_u16_le().await?;
        if version != wire::WIRE_VERSION {
            let text = format!(
                "protocol version {version} is not spoken here; this server speaks version {}",
                wire::WIRE_VERSION
            );
            return Err(Failure::Refused(Refusal::new(Reason::WrongVersion, text)));
        }
        let mut fingerprint = [0; 16];
        from.read_exact(&mut fingerprint).await?;
        let server = ServerId::from_bits(from.read_u64_le().await?);
        let instance = from.read_u64_le().await?;
        let mut nonce = [0; 32];
        from.read_exact(&mut nonce).await?;
        if fingerprint != own.fingerprint {
            let text = format!(
                "server {} has other farm settings than server {}; the [farm] settings and the \
                 farm's size must be the same on all servers",
                server.number(),
                own.server.number()
            );
            return Err(Failure::Refused(Refusal::new(Reason::WrongSettings, text)));
        }
        Ok(Self { version, fingerprint, server, instance, nonce })
    }
}

impl Identity {
    fn hello(&self, nonce: [u8; 32]) -> Hello {
        Hello {
            version: wire::WIRE_VERSION,
            fingerprint: self.fingerprint,
            server: self.server,
            instance: self.instance,
            nonce,
        }
    }

    /// Whether the other side is this very process.
    pub(crate) fn is(&self, hello: &Hello) -> bool {
        (self.server, self.instance) == (hello.server, hello.instance)
    }

    fn proof(&self, side: &[u8], publisher: &Hello, subscriber: &Hello) -> Hmac<Sha256> {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.key) else {
            unreachable!("HMAC takes keys of any length")
        };
        mac.update(side);
        mac.update(&publisher.encode());
        mac.update(&subscriber.encode());
        mac
    }
}

fn garbage() -> Refusal {
    Refusal::new(Reason::Garbage, "what came is not how a Grapevine server begins".into())
}

fn wrong_key(server: ServerId) -> Refusal {
    let text = format!("server {} does not know this farm's key", server.number());
    Refusal::new(Reason::WrongKey, text)
}

const PUBLISHER: &[u8] = b"grapevine publisher 1";
const SUBSCRIBER: &[u8] = b"grapevine subscriber 1";

/// The publisher's half, on a connection that it dialled. `wanted` looks at the subscriber's hello,
/// which was proved, and may end the handshake without a word to the other side.
pub(crate) async fn open<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    own: &Identity,
    nonce: [u8; 32],
    wanted: impl FnOnce(&Hello) -> Result<(), Refusal>,
) -> Result<Hello, Failure> {
    let ours = own.hello(nonce);
    stream.write_all(&ours.encode()).await?;
    expect(stream, HELLO).await?;
    let theirs = Hello::read(stream, own).await?;
    let mut proof = [0; PROOF_BYTES];
    stream.read_exact(&mut proof).await?;
    let genuine = own.proof(SUBSCRIBER, &ours, &theirs).verify_slice(&proof).is_ok();
    if genuine {
        wanted(&theirs).map_err(Failure::Refused)?;
    }
    let proof: [u8; PROOF_BYTES] =
        own.proof(PUBLISHER, &ours, &theirs).finalize().into_bytes().into();
    stream.write_all(&proof).await?;
    if !genuine {
        // The proof was sent all the same: from it the other side sees what is wrong.
        return Err(Failure::Refused(wrong_key(theirs.server)));
    }
    expect(stream, WELCOME).await?;
    Ok(theirs)
}

/// The subscriber's half, on a connection that it accepted. `judge` decides whether the publisher,
/// whose hello was proved, may join; the publisher is told.
pub(crate) async fn accept<S: AsyncRead + AsyncWrite + Unpin, T>(
    stream: &mut S,
    own: &Identity,
    nonce: [u8; 32],
    judge: impl FnOnce(&Hello) -> Result<T, Refusal>,
) -> Result<(Hello, T), Failure> {
    let result = try_accept(stream, own, nonce, judge).await;
    if let Err(Failure::Refused(refusal)) = &result {
        refuse(stream, refusal).await;
    }
    result
}

async fn try_accept<S: AsyncRead + AsyncWrite + Unpin, T>(
    stream: &mut S,
    own: &Identity,
    nonce: [u8; 32],
    judge: impl FnOnce(&Hello) -> Result<T, Refusal>,
) -> Result<(Hello, T), Failure> {
    let theirs = Hello::read(stream, own).await?;
    let ours = own.hello(nonce);
    let proof: [u8; PROOF_BYTES] =
        own.proof(SUBSCRIBER, &theirs, &ours).finalize().into_bytes().into();
    let answer = [&[HELLO][..], &ours.encode(), &proof].concat();
    stream.write_all(&answer).await?;
    if own.is(&theirs) {
        let text = "this server dialled itself".into();
        return Err(Failure::Refused(Refusal::new(Reason::Itself, text)));
    }
    let mut proof = [0; PROOF_BYTES];
    stream.read_exact(&mut proof).await?;
    if own.proof(PUBLISHER, &theirs, &ours).verify_slice(&proof).is_err() {
        return Err(Failure::Refused(wrong_key(theirs.server)));
    }
    let judged = judge(&theirs).map_err(Failure::Refused)?;
    stream.write_all(&[WELCOME]).await?;
    Ok((theirs, judged))
}

/// Says why, as well as it can, and closes this side's half.
pub(crate) async fn refuse(stream: &mut (impl AsyncWrite + Unpin), refusal: &Refusal) {
    let Some(bytes) = refusal.encode() else { return };
    // If the other side is gone already, there is nobody to tell.
    if stream.write_all(&bytes).await.is_ok() {
        let _gone = stream.shutdown().await;
    }
}

/// A sign of life, from the subscriber.
pub(crate) async fn pulse(to: &mut (impl AsyncWrite + Unpin), number: u64) -> io::Result<()> {
    let mut bytes = [PULSE; 1 + size_of::<u64>()];
    bytes[1..].copy_from_slice(&number.to_le_bytes());
    to.write_all(&bytes).await
}

/// Hears, on an open link, what its subscriber says, and returns when and why the link is at its end: the
/// subscriber closes, perhaps with a word why; or it gives no sign of life for so long that the link must
/// lead nowhere.
pub(crate) async fn hear(
    from: &mut (impl AsyncRead + Unpin),
    silence: Duration,
    mut pulse: impl FnMut(u64),
) -> Failure {
    loop {
        match time::timeout(silence, next_pulse(from)).await {
            Ok(Ok(number)) => pulse(number),
            Ok(Err(failure)) => return failure,
            Err(_) => {
                let text = format!("it gave no sign of life for {silence:?}");
                return Failure::Refused(Refusal::new(Reason::Silent, text));
            }
        }
    }
}

async fn next_pulse(from: &mut (impl AsyncRead + Unpin)) -> Result<u64, Failure> {
    expect(from, PULSE).await?;
    Ok(from.read_u64_le().await?)
}

/// Reads the kind of the next message. A refusal instead of what was expected is read whole.
async fn expect(from: &mut (impl AsyncRead + Unpin), kind: u8) -> Result<(), Failure> {
    match from.read_u8().await? {
        read if read == kind => Ok(()),
        REFUSAL => Err(Failure::ByPeer(Refusal::read(from).await?)),
        _ => Err(Failure::Refused(garbage())),
    }
}

#[cfg(test)]
#[path = "handshake_tests.rs"]
mod tests;
