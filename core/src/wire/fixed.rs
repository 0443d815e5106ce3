//! Numbers of eight bytes, little-endian, written and read at once.
//!
//! postcard knows varints and single bytes, and one kind of value that it copies as eight bytes in
//! one go: a float. So the bits travel in the clothes of one. No arithmetic is ever done with it,
//! and moving a float keeps its bits; the tests hold that against numbers that are no floats. Byte
//! by byte, as `postcard::fixint` does it, the same bytes took most of the time of a heartbeat's
//! encoding and decoding. Many of them in a row, a vector's or a list's of servers, are one run of bytes, whose
//! length in bytes stands before it.

use alloc::vec::Vec;
use core::fmt;

use serde::de::{Deserializer, Error, Visitor};
use serde::ser::Serializer;

/// Writes eight bytes.
#[inline]
pub(crate) fn serialize<S: Serializer>(bits: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(f64::from_bits(*bits))
}

/// Reads eight bytes.
#[inline]
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    struct Bits;

    impl Visitor<'_> for Bits {
        type Value = u64;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("eight bytes")
        }

        #[inline]
        fn visit_f64<E: Error>(self, value: f64) -> Result<u64, E> {
            Ok(value.to_bits())
        }
    }

    deserializer.deserialize_f64(Bits)
}

/// Sixteen bytes, as they are.
pub(crate) mod sixteen {
    use serde::de::{Deserialize, Deserializer};
    use serde::ser::{Serialize, Serializer};

    #[derive(serde::Serialize, serde::Deserialize)]
    struct Half(#[serde(with = "super")] u64);

    /// Writes them.
    #[inline]
    pub(crate) fn serialize<S: Serializer>(
        bytes: &[u8; 16],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let bits = u128::from_le_bytes(*bytes);
        [Half(bits as u64), Half((bits >> 64) as u64)].serialize(serializer)
    }

    /// Reads them.
    #[inline]
    pub(crate) fn deserialize<'de, D>(deserializer: D) -> Result<[u8; 16], D::Error>
    where
        D: Deserializer<'de>,
    {
        let [low, high] = <[Half; 2]>::deserialize(deserializer)?;
        Ok((u128::from(high.0) << 64 | u128::from(low.0)).to_le_bytes())
    }
}

/// So many parts of a run are written without memory of their own.
const SHORT: usize = 16;

/// Writes a run of parts of so many bytes: how many bytes it has, then all of them at once.
pub(crate) fn write_run<S: Serializer, const PART: usize>(
    parts: impl ExactSizeIterator<Item = [u8; PART]>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let length = parts.len();
    if length <= SHORT {
        let mut bytes = [[0; PART]; SHORT];
        bytes.iter_mut().zip(parts).for_each(|(bytes, part)| *bytes = part);
        return serializer.serialize_bytes(bytes[..length].as_flattened());
    }
    let bytes: Vec<[u8; PART]> = parts.collect();
    serializer.serialize_bytes(bytes.as_flattened())
}

/// Reads a run that is made of parts of so many bytes, and hands it over as it came.
///
/// # Errors
/// If a part is cut off.
pub(crate) fn read_run<'de, D, T, const PART: usize>(
    deserializer: D,
    read: fn(&[[u8; PART]]) -> T,
) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
{
    struct Run<T, const PART: usize>(fn(&[[u8; PART]]) -> T);

    impl<T, const PART: usize> Visitor<'_> for Run<T, PART> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a multiple of {PART} bytes")
        }

        fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<T, E> {
            match bytes.as_chunks() {
                (parts, []) => Ok((self.0)(parts)),
                _ => Err(E::invalid_length(bytes.len(), &self)),
            }
        }
    }

    deserializer.deserialize_bytes(Run(read))
}

/// Lists of servers, as a run.
pub(crate) mod servers {
    use alloc::vec::Vec;

    use serde::de::Deserializer;
    use serde::ser::Serializer;

    use crate::id::ServerId;

    /// Writes them.
    pub(crate) fn serialize<S: Serializer>(
        servers: &[ServerId],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        super::write_run(servers.iter().map(|server| server.to_bits().to_le_bytes()), serializer)
    }

    /// Reads them.
    pub(crate) fn deserialize<'de, D>(deserializer: D) -> Result<Vec<ServerId>, D::Error>
    where
        D: Deserializer<'de>,
    {
        super::read_run(deserializer, |words| {
            let mut servers = Vec::new();
            read(words, &mut servers);
            servers
        })
    }

    /// Reads the servers of such a run in the memory of others.
    #[inline]
    pub(crate) fn read(words: &[[u8; 8]], into: &mut Vec<ServerId>) {
        let servers = words.iter().map(|&word| ServerId::from_bits(u64::from_le_bytes(word)));
        // Mostly there are as many.
        if into.len() == words.len() {
            into.iter_mut().zip(servers).for_each(|(server, read)| *server = read);
        } else {
            into.clear();
            into.extend(servers);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::id::Secret;

    use crate::stamp::Stamp;

    #[test]
    fn every_number_is_eight_bytes_little_endian_also_one_that_is_no_float() {
        let quiet = f64::NAN.to_bits();
        let signalling = 0x7ff0_0000_0000_0001;
        let patterns =
            [0, 1, u64::MAX, quiet, signalling, signalling | 1 << 63, 0x0102_0304_0506_0708];
        let single = (0..64).map(|bit| 1 << bit);
        let holes = (0..64).map(|bit| !(1 << bit));
        for bits in patterns.into_iter().chain(single).chain(holes) {
            let stamp = Stamp::from_bits(bits);
            let bytes = postcard::to_allocvec(&stamp).expect("encodes");
            assert_eq!(bytes, bits.to_le_bytes());
            assert_eq!(postcard::from_bytes::<Stamp>(&bytes), Ok(stamp));
            let mut sixteen = [7; 16];
            sixteen[5..13].copy_from_slice(&bits.to_le_bytes());
            let secret = Secret::from_bytes(sixteen);
            let bytes = postcard::to_allocvec(&secret).expect("encodes");
            assert_eq!(bytes, sixteen);
            assert_eq!(postcard::from_bytes::<Secret>(&bytes), Ok(secret));
        }
    }
}
