//! Frames: a length (four bytes, little-endian, from 1 to the farm's `frame_bytes`), then as many
//! bytes: one encoded command and its checksum.

use std::io;

use bytes::Bytes;
use grapevine_core::{Command, wire};

use super::queue::Chunk;
use crate::metrics::Reason;
use crate::net::io::{AsyncRead, AsyncReadExt};

/// Bytes of a frame's length.
pub(crate) const LENGTH: usize = 4;

/// What one read asks for: large enough for many commands, small enough to be reused for ever.
const READ: usize = 64 << 10;

/// The frames of one drain of the engine, encoded one after the other.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    encoded: Vec<u8>,
    frames: usize,
}

impl Frames {
    /// Where one chunk should end, so that queues stay cuttable and writes good.
    const FULL: usize = READ;

    /// Appends a command's frame. If it is larger than `limit`, nothing is appended and its size is
    /// returned.
    pub(crate) fn append(&mut self, command: &Command, limit: u32) -> Result<(), usize> {
        let start = self.encoded.len();
        self.encoded.extend([0; LENGTH]);
        wire::encode(command, &mut self.encoded);
        wire::seal_from(&mut self.encoded, start + LENGTH);
        let bytes = self.encoded.len() - start - LENGTH;
        match u32::try_from(bytes) {
            Ok(length) if length <= limit => {
                self.encoded[start..start + LENGTH].copy_from_slice(&length.to_le_bytes());
                self.frames += 1;
                Ok(())
            }
            _ => {
                self.encoded.truncate(start);
                Err(bytes)
            }
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.encoded.len() >= Self::FULL
    }

    /// What was appended since the last call, as bytes of its own: a queue that holds it holds
    /// nothing else alive.
    pub(crate) fn take(&mut self) -> Option<Chunk> {
        if self.frames == 0 {
            return None;
        }
        let chunk = Chunk { bytes: Bytes::copy_from_slice(&self.encoded), frames: self.frames };
        self.encoded.clear();
        // One large command must not keep its memory for ever.
        self.encoded.shrink_to(4 * READ);
        self.frames = 0;
        Some(chunk)
    }
}

/// Reads frames from a connection into one buffer that is used again and again.
#[derive(Debug)]
pub(crate) struct FrameReader {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    limit: usize,
}

impl FrameReader {
    /// A reader that takes frames of at most `limit` bytes.
    pub(crate) fn new(limit: u32) -> Self {
        Self { buffer: vec![0; READ], start: 0, end: 0, limit: limit as usize }
    }

    /// The next whole frame that is in the buffer, without its length.
    ///
    /// # Errors
    /// The reason and the length, when the length is not allowed. It is looked at as soon as it is
    /// here, before any memory is taken for the frame.
    pub(crate) fn next(&mut self) -> Result<Option<&[u8]>, (Reason, usize)> {
        let Some(length) = self.length()? else { return Ok(None) };
        if self.end - self.start < LENGTH + length {
            return Ok(None);
        }
        let body = self.start + LENGTH;
        self.start = body + length;
        Ok(Some(&self.buffer[body..body + length]))
    }

    /// Reads more bytes; zero is the end. Nothing is lost if the future is dropped.
    pub(crate) async fn fill(&mut self, from: &mut (impl AsyncRead + Unpin)) -> io::Result<usize> {
        self.make_room();
        let read = from.read(&mut self.buffer[self.end..]).await?;
        self.end += read;
        Ok(read)
    }

    /// Whether a part of a frame has come.
    pub(crate) const fn inside_frame(&self) -> bool {
        self.start < self.end
    }

    /// The bytes of the frame of which a part has come, if its length is here and allowed.
    pub(crate) fn announced(&self) -> usize {
        self.length().ok().flatten().unwrap_or_default()
    }

    fn length(&self) -> Result<Option<usize>, (Reason, usize)> {
        let Some(prefix) = self.buffer[self.start..self.end].first_chunk::<LENGTH>() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes(*prefix) as usize;
        match length {
            0 => Err((Reason::EmptyFrame, length)),
            _ if length > self.limit => Err((Reason::OversizedFrame, length)),
            _ => Ok(Some(length)),
        }
    }

    fn make_room(&mut self) {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.end == 0 && self.buffer.len() > 4 * READ {
            self.buffer.truncate(READ);
            self.buffer.shrink_to_fit();
        }
        if self.end == self.buffer.len() {
            // Grows with what has come, not with what was announced.
            let most = self.limit + LENGTH;
            let grown = (self.buffer.len() * 2).min(most.max(READ));
            self.buffer.resize(grown.max(self.end + 1), 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use grapevine_core::Stamp;

    fn frame(body: &[u8]) -> Vec<u8> {
        [&(body.len() as u32).to_le_bytes(), body].concat()
    }

    async fn bodies(bytes: &[u8], limit: u32) -> Result<(Vec<Vec<u8>>, bool), (Reason, usize)> {
        let mut reader = FrameReader::new(limit);
        let mut source = bytes;
        let mut bodies = Vec::new();
        loop {
            while let Some(body) = reader.next()? {
                bodies.push(body.to_vec());
            }
            if reader.fill(&mut source).await.unwrap() == 0 {
                return Ok((bodies, reader.inside_frame()));
            }
        }
    }

    #[tokio::test]
    async fn frames_of_all_sizes_come_out_as_they_went_in() {
        let sizes = [1, 3, 70_000, 5, 65_532, 65_536, 300_000, 2];
        let sent: Vec<Vec<u8>> = sizes.iter().map(|&n| vec![n as u8; n]).collect();
        let bytes: Vec<u8> = sent.iter().flat_map(|body| frame(body)).collect();
        assert_eq!(bodies(&bytes, 1 << 20).await, Ok((sent, false)));
    }

    #[tokio::test]
    async fn a_length_that_is_not_allowed_is_an_error_before_anything_of_the_frame_has_come() {
        assert_eq!(bodies(&101u32.to_le_bytes(), 100).await, Err((Reason::OversizedFrame, 101)));
        assert_eq!(bodies(&0u32.to_le_bytes(), 100).await, Err((Reason::EmptyFrame, 0)));
        assert_eq!(bodies(&[frame(&[7; 100]), frame(&[])].concat(), 100).await.unwrap_err().1, 0);
    }

    #[tokio::test]
    async fn half_a_frame_is_seen_as_one() {
        for cut in 1..12 {
            let whole = frame(&[9; 8]);
            assert_eq!(bodies(&whole[..cut], 100).await, Ok((vec![], true)), "{cut} bytes");
        }
    }

    #[tokio::test]
    async fn an_announced_length_takes_no_memory_before_the_bytes_come() {
        let mut reader = FrameReader::new(256 << 20);
        let mut source = &[&(200u32 << 20).to_le_bytes()[..], &[0; 1_000]].concat()[..];
        while reader.fill(&mut source).await.unwrap() > 0 {
            assert_eq!(reader.next(), Ok(None));
        }
        assert!(reader.buffer.capacity() <= 2 * READ, "{}", reader.buffer.capacity());
    }

    #[test]
    fn commands_of_one_drain_share_one_chunk_and_too_large_ones_are_left_out() {
        let mut frames = Frames::default();
        let ack = Command::Ack { applied: Stamp::from_bits(5) };
        frames.append(&ack, 100).unwrap();
        assert!(frames.append(&ack, 3).is_err());
        frames.append(&Command::HeartbeatRequest, 100).unwrap();
        let chunk = frames.take().unwrap();
        let around = LENGTH + wire::SEAL_BYTES;
        assert_eq!((chunk.frames, chunk.bytes.len()), (2, around + 9 + around + 1));
        assert!(frames.take().is_none());
    }
}
