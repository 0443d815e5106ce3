//! Bytes and commands: the only place that knows how a command looks on the wire.
//!
//! One command is one [postcard](https://docs.rs/postcard) message: its number in
//! [`crate::Command`], then its fields in order. Stamps, servers and times are eight bytes,
//! little-endian; other integers are varints; vectors and lists of servers are runs of bytes. Framing (length, batches of frames) is the
//! transport's. Decoding is total: any bytes give a command or an error, never a panic, and never
//! more memory than a small multiple of the bytes.

use alloc::vec::Vec;

use postcard::ser_flavors::Flavor;
use serde::Serialize;

use crate::command::{Command, Found, Heartbeat, Mend};
use crate::config::Farm;
use crate::session::Session;

pub(crate) mod by_hand;
pub(crate) mod fixed;
mod heartbeat;
pub(crate) mod shared;

/// The version of the wire format; servers with different versions refuse each other.
pub const WIRE_VERSION: u16 = 10;

/// The longest principal, in bytes.
pub const MAX_PRINCIPAL_BYTES: usize = 256;

/// Why bytes are no command. The message is dropped whole and counted; nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// More bytes than a frame may have.
    #[error("a frame of {bytes} bytes; {allowed} are allowed")]
    TooLong {
        /// How many there are.
        bytes: usize,
        /// The farm's `frame_bytes`.
        allowed: u32,
    },
    /// The frame's checksum is wrong: it was damaged on its way.
    #[error("the frame was damaged on its way: its checksum is wrong")]
    Checksum,
    /// Not the encoding of any command.
    #[error("the bytes are not the encoding of a command")]
    Malformed,
    /// A command, but more bytes follow.
    #[error("{0} bytes follow the command")]
    Trailing(usize),
    /// A vector with more servers than a farm remembers.
    #[error("a vector of {servers} servers; {allowed} are allowed")]
    Vector {
        /// How many it has.
        servers: usize,
        /// The farm's `known_servers`.
        allowed: u32,
    },
    /// A principal that is too long.
    #[error("a principal of {bytes} bytes; {allowed} are allowed", allowed = MAX_PRINCIPAL_BYTES)]
    Principal {
        /// Its length.
        bytes: usize,
    },
    /// A session that no correct server has: an attribute below the floor, or a tombstone with
    /// contents.
    #[error("a session with contents that its floor or its end forbids")]
    Session,
}

/// Bytes that a [`seal`] adds to a frame.
pub const SEAL_BYTES: usize = 8;

/// Appends a checksum of all that is in `frame`. It finds accidents, not attacks: what the links'
/// encryption authenticates needs none.
pub fn seal(frame: &mut Vec<u8>) {
    seal_from(frame, 0);
}

/// The same for what is in `frames` from `start` on, where others stand before it.
pub fn seal_from(frames: &mut Vec<u8>, start: usize) {
    let checksum = xxhash_rust::xxh3::xxh3_64(&frames[start..]);
    frames.extend(checksum.to_le_bytes());
}

/// The bytes that were sealed.
///
/// # Errors
/// [`WireError::Checksum`], if any bit is not as it was sealed.
pub fn open(frame: &[u8]) -> Result<&[u8], WireError> {
    let (bytes, checksum) = frame.split_last_chunk::<SEAL_BYTES>().ok_or(WireError::Checksum)?;
    let fits = xxhash_rust::xxh3::xxh3_64(bytes).to_le_bytes() == *checksum;
    if fits { Ok(bytes) } else { Err(WireError::Checksum) }
}

/// Appends the encoding of `command` to `out`.
pub fn encode(command: &Command, out: &mut Vec<u8>) {
    match command {
        Command::Heartbeat(heartbeat) => heartbeat::write(heartbeat, out),
        command => append(command, out),
    }
}

/// Appends the encoding of a command, or of any part of one.
fn append<T: Serialize>(value: &T, out: &mut Vec<u8>) {
    if let Err(error) = postcard::serialize_with_flavor(value, Appending(out)) {
        // Memory is the only thing that encoding into a growing buffer can run out of.
        unreachable!("something that can't be encoded: {error}");
    }
}

/// Encodes to the end of a buffer.
struct Appending<'a>(&'a mut Vec<u8>);

impl Flavor for Appending<'_> {
    type Output = ();

    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        // Most numbers are one byte, for which a call that copies any number of them is long.
        match bytes {
            &[byte] => self.0.push(byte),
            bytes => self.0.extend_from_slice(bytes),
        }
        Ok(())
    }

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// The command that `bytes` encode.
///
/// # Errors
/// [`WireError`], when they encode none, or one over the farm's limits.
pub fn decode(bytes: &[u8], farm: &Farm) -> Result<Command, WireError> {
    if bytes.len() > farm.frame_bytes as usize {
        return Err(WireError::TooLong { bytes: bytes.len(), allowed: farm.frame_bytes });
    }
    let mut heartbeat = Heartbeat::default();
    if heartbeat::read(bytes, &mut heartbeat) {
        check_heartbeat(&heartbeat, farm)?;
        return Ok(Command::Heartbeat(heartbeat));
    }
    let (command, rest) =
        postcard::take_from_bytes::<Command>(bytes).map_err(|_| WireError::Malformed)?;
    if !rest.is_empty() {
        return Err(WireError::Trailing(rest.len()));
    }
    check(&command, farm)?;
    Ok(command)
}

/// The same as [`decode`], into a command that means nothing any more: if both are heartbeats, as mostly, the memory
/// of its lists is used again.
///
/// # Errors
/// The same; then what is in `into` means nothing.
pub fn decode_into(bytes: &[u8], farm: &Farm, into: &mut Command) -> Result<(), WireError> {
    if let Command::Heartbeat(heartbeat) = into
        && bytes.len() <= farm.frame_bytes as usize
        && heartbeat::read(bytes, heartbeat)
    {
        return check_heartbeat(heartbeat, farm);
    }
    *into = decode(bytes, farm)?;
    Ok(())
}

fn check_servers(servers: usize, farm: &Farm) -> Result<(), WireError> {
    let allowed = farm.known_servers;
    if servers > allowed as usize { Err(WireError::Vector { servers, allowed }) } else { Ok(()) }
}

fn check_heartbeat(heartbeat: &Heartbeat, farm: &Farm) -> Result<(), WireError> {
    let Heartbeat { applied, members, left, closed, linked, .. } = heartbeat;
    let numbers = [applied.len(), members.len(), left.len(), closed.len(), linked.len()];
    numbers.into_iter().try_for_each(|servers| check_servers(servers, farm))
}

/// What the types don't say: numbers of servers, lengths of names.
fn check(command: &Command, farm: &Farm) -> Result<(), WireError> {
    let vector = |servers| check_servers(servers, farm);
    let session = |session: &Session| {
        vector(session.seen.len())?;
        let bytes = session.fixed.principal.as_ref().map_or(0, |p| p.as_str().len());
        if bytes > MAX_PRINCIPAL_BYTES {
            return Err(WireError::Principal { bytes });
        }
        if session.is_well_formed() { Ok(()) } else { Err(WireError::Session) }
    };
    match command {
        Command::Batch(batch) => batch.writes.iter().try_for_each(|w| session(w.session())),
        Command::Query(query) => {
            vector(query.context.len())?;
            vector(query.reaches.as_ref().map_or(0, Vec::len))
        }
        Command::Offer(offer) => {
            vector(offer.applied.len())?;
            vector(offer.asks.len())
        }
        Command::Answer(answer) => {
            vector(answer.applied.len())?;
            vector(answer.asks.len())?;
            match &answer.found {
                Found::Whole(whole) | Found::Joining(Some(whole)) => session(whole),
                _ => Ok(()),
            }
        }
        Command::Heartbeat(heartbeat) => check_heartbeat(heartbeat, farm),
        Command::Leave { members, linked, .. } => {
            vector(members.len())?;
            vector(linked.len())
        }
        Command::Pull(pull) => {
            vector(pull.base.len())?;
            vector(pull.cursor.as_ref().map_or(0, |cursor| cursor.start.len()))
        }
        Command::Delta(delta) => {
            vector(delta.complete.len())?;
            vector(delta.next.as_ref().map_or(0, |cursor| cursor.start.len()))?;
            delta.sessions.iter().try_for_each(|s| session(s))
        }
        Command::Verify(verify) => {
            vector(verify.terms.base.len())?;
            vector(verify.terms.closed.len())
        }
        Command::Mend(Mend { sessions, .. }) | Command::Mended { sessions, .. } => {
            sessions.iter().try_for_each(|s| session(s))
        }
        Command::Fetch(_)
        | Command::Verified(_)
        | Command::HeartbeatRequest
        | Command::Starting
        | Command::Known { .. }
        | Command::Ack { .. } => Ok(()),
    }
}
