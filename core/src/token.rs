//! Tokens: what a customer carries. Session ID, absolute deadline, context and a keyed MAC, as
//! base64url.
//!
//! ```text
//! byte 0      format version
//! 1..9        origin          9..13  slot         13..21  create stamp     21..37  secret
//! 37..43      deadline, ms    then per context entry: server (8), stamp (8)
//! last 16     HMAC-SHA-256 of all before, cut to 128 bits
//! ```
//! All integers little-endian. Without context a token is 79 characters long, with one entry 100.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::id::{Address, Secret, ServerId, SessionId};
use crate::stamp::{Stamp, Timestamp};
use crate::vector::Vector;

const FORMAT: u8 = 1;
/// The first byte of a context that travels beside its ID; its MAC covers the ID's text too.
const CONTEXT_FORMAT: u8 = 2;
const FIXED_BYTES: usize = 43;
const ENTRY_BYTES: usize = 16;
const MAC_BYTES: usize = 16;

/// What a customer carries from request to request, and hands to any server (R75).
///
/// ```
/// # use grapevine_core::*;
/// # let id = SessionId {
/// #     address: Address { origin: ServerId::new(1, Timestamp::from_millis(5)), slot: 0 },
/// #     created: Stamp::from_bits(9),
/// #     secret: Secret::from_bytes([7; 16]),
/// # };
/// let key = TokenKey::new(&[1; 32]);
/// let token = Token { id, deadline: Timestamp::from_millis(99), context: Vector::default() };
/// let text = token.encode(&key);
/// assert_eq!(Token::decode(&text, &key), Ok(token));
/// assert!(Token::decode(&text, &TokenKey::new(&[2; 32])).is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub struct Token {
    /// The session.
    pub id: SessionId,
    /// Its absolute deadline: after it, no server needs to be asked.
    pub deadline: Timestamp,
    /// What the customer's next read must cover (Terry et al., 1994).
    pub context: Vector,
}

/// The farm's key for tokens. `Debug` does not show it.
#[derive(Clone)]
pub struct TokenKey(Hmac<Sha256>);

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(token key)")
    }
}

impl TokenKey {
    /// The key for tokens of a farm with this farm key. Another key is derived from it, so that a
    /// token tells nothing about other uses of the farm key.
    pub fn new(farm_key: &[u8; 32]) -> Self {
        let mut derive = keyed(farm_key);
        derive.update(b"grapevine token key 1");
        let derived: [u8; 32] = derive.finalize().into_bytes().into();
        Self(keyed(&derived))
    }

    /// The MAC of a context beside this ID. It begins as no token's does, so neither can stand for the
    /// other.
    fn context_mac(&self, id: &str, context: &[u8]) -> [u8; MAC_BYTES] {
        let mut bytes = Vec::from([CONTEXT_FORMAT]);
        bytes.extend((id.len() as u64).to_le_bytes());
        bytes.extend(id.as_bytes());
        bytes.extend(context);
        self.mac(&bytes)
    }

    fn mac(&self, bytes: &[u8]) -> [u8; MAC_BYTES] {
        let mut mac = self.0.clone();
        mac.update(bytes);
        let whole: [u8; 32] = mac.finalize().into_bytes().into();
        let mut cut = [0; MAC_BYTES];
        cut.copy_from_slice(&whole[..MAC_BYTES]);
        cut
    }
}

fn keyed(key: &[u8; 32]) -> Hmac<Sha256> {
    match Hmac::<Sha256>::new_from_slice(key) {
        Ok(mac) => mac,
        Err(_) => unreachable!("HMAC takes keys of any length"),
    }
}

/// Why a text is no token of this farm. No server needs to be asked; nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// Longer than any token.
    #[error("the token is {0} characters long; at most {max} are allowed", max = Token::MAX_CHARS)]
    TooLong(usize),
    /// Not base64url, or too short, or not a whole number of entries, or another format version.
    #[error("the token is not of a form that this farm issues")]
    Malformed,
    /// The MAC is wrong: forged, damaged, or of another farm.
    #[error("the token's signature is wrong")]
    WrongMac,
}

impl Token {
    /// The most context entries that a token can have: more than any farm needs.
    pub const MAX_CONTEXT: usize = 64;
    /// The longest token, in characters.
    pub const MAX_CHARS: usize =
        (FIXED_BYTES + Self::MAX_CONTEXT * ENTRY_BYTES + MAC_BYTES) * 4 / 3 + 1;

    /// The text that the customer carries: letters, digits, `-` and `_`. If there are more than
    /// [`Token::MAX_CONTEXT`] context entries, those with the oldest stamps are left out.
    pub fn encode(&self, key: &TokenKey) -> String {
        let context = self.newest_context();
        let mut bytes = Vec::with_capacity(FIXED_BYTES + context.len() * ENTRY_BYTES + MAC_BYTES);
        bytes.push(FORMAT);
        bytes.extend(self.id.address.origin.to_bits().to_le_bytes());
        bytes.extend(self.id.address.slot.to_le_bytes());
        bytes.extend(self.id.created.to_bits().to_le_bytes());
        bytes.extend(self.id.secret.as_bytes());
        bytes.extend(&self.deadline.as_millis().to_le_bytes()[..6]);
        for (server, stamp) in context {
            bytes.extend(server.to_bits().to_le_bytes());
            bytes.extend(stamp.to_bits().to_le_bytes());
        }
        let mac = key.mac(&bytes);
        bytes.extend(mac);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The same in two texts, for applications whose session cookie can hold only an ID: the ID,
    /// which stays the same as long as the session lives and is a token by itself, without context;
    /// and the context, which travels beside it (in a header, or a second cookie) and fits no other
    /// session. Without context the second is empty. What [`Token::encode`] leaves out, this does.
    ///
    /// A customer who brings the ID alone is served what the asked server has, with no promise that
    /// it has seen what the customer had read or written before (G3 holds from there on).
    pub fn split(&self, key: &TokenKey) -> (String, String) {
        let id = Self { context: Vector::default(), ..self.clone() }.encode(key);
        if self.context.is_empty() {
            return (id, String::new());
        }
        let mut bytes = Vec::from([CONTEXT_FORMAT]);
        for (server, stamp) in self.newest_context() {
            bytes.extend(server.to_bits().to_le_bytes());
            bytes.extend(stamp.to_bits().to_le_bytes());
        }
        let mac = key.context_mac(&id, &bytes);
        bytes.extend(mac);
        (id, URL_SAFE_NO_PAD.encode(bytes))
    }

    /// The token of an ID and the context that came with it; an empty context is none.
    ///
    /// # Errors
    /// [`TokenError`], for an ID that is no token of this farm or has a context in itself, and for a
    /// context that this farm did not make for this very ID.
    pub fn join(id: &str, context: &str, key: &TokenKey) -> Result<Self, TokenError> {
        let mut token = Self::decode(id, key)?;
        if context.is_empty() {
            return Ok(token);
        }
        if !token.context.is_empty() {
            return Err(TokenError::Malformed);
        }
        if context.len() > Self::MAX_CHARS {
            return Err(TokenError::TooLong(context.len()));
        }
        let bytes = URL_SAFE_NO_PAD.decode(context).map_err(|_| TokenError::Malformed)?;
        let entries = bytes.len().checked_sub(1 + MAC_BYTES).ok_or(TokenError::Malformed)?;
        if entries % ENTRY_BYTES != 0
            || entries / ENTRY_BYTES > Self::MAX_CONTEXT
            || bytes[0] != CONTEXT_FORMAT
        {
            return Err(TokenError::Malformed);
        }
        let (signed, mac) = bytes.split_at(bytes.len() - MAC_BYTES);
        if !bool::from(key.context_mac(id, signed).ct_eq(mac)) {
            return Err(TokenError::WrongMac);
        }
        token.context = Reader(&signed[1..]).context();
        Ok(token)
    }

    /// The context as it is carried.
    fn newest_context(&self) -> Vec<(ServerId, Stamp)> {
        let mut context: Vec<(ServerId, Stamp)> = self.context.iter().collect();
        if context.len() > Self::MAX_CONTEXT {
            context.sort_by_key(|&(server, stamp)| (core::cmp::Reverse(stamp), server));
            context.truncate(Self::MAX_CONTEXT);
            context.sort();
        }
        context
    }

    /// The token that a text stands for, if this farm made it.
    ///
    /// # Errors
    /// [`TokenError`], for any text that [`Token::encode`] with this key did not make. The MAC is
    /// compared in constant time.
    pub fn decode(text: &str, key: &TokenKey) -> Result<Self, TokenError> {
        if text.len() > Self::MAX_CHARS {
            return Err(TokenError::TooLong(text.len()));
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| TokenError::Malformed)?;
        let entries =
            bytes.len().checked_sub(FIXED_BYTES + MAC_BYTES).ok_or(TokenError::Malformed)?;
        if entries % ENTRY_BYTES != 0 || bytes[0] != FORMAT {
            return Err(TokenError::Malformed);
        }
        let (signed, mac) = bytes.split_at(bytes.len() - MAC_BYTES);
        if !bool::from(key.mac(signed).ct_eq(mac)) {
            return Err(TokenError::WrongMac);
        }
        let mut reader = Reader(&signed[1..]);
        let origin = ServerId::from_bits(reader.u64());
        let slot = u32::from_le_bytes(reader.take());
        let created = Stamp::from_bits(reader.u64());
        let secret = Secret::from_bytes(reader.take());
        let [a, b, c, d, e, f] = reader.take();
        let deadline = u64::from_le_bytes([a, b, c, d, e, f, 0, 0]);
        let context = reader.context();
        let id = SessionId { address: Address { origin, slot }, created, secret };
        Ok(Self { id, deadline: Timestamp::from_millis(deadline), context })
    }
}

/// Reads fixed-size pieces off a slice whose length was checked before.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut piece = [0; N];
        let (head, rest) = self.0.split_at(N);
        piece.copy_from_slice(head);
        self.0 = rest;
        piece
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }

    /// Context entries to the end.
    fn context(&mut self) -> Vector {
        let mut context = Vector::default();
        while !self.0.is_empty() {
            let server = ServerId::from_bits(self.u64());
            context.raise(server, Stamp::from_bits(self.u64()));
        }
        context
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(entries: u64) -> Token {
        let origin = ServerId::new(1, Timestamp::from_millis(1_700_000_000_000));
        Token {
            id: SessionId {
                address: Address { origin, slot: 77 },
                created: Stamp::at(Timestamp::from_millis(1_700_000_000_001)),
                secret: Secret::from_bytes([3; 16]),
            },
            deadline: Timestamp::from_millis(1_700_000_900_000),
            context: (1..=entries).map(|n| (ServerId::from_bits(n), Stamp::from_bits(n))).collect(),
        }
    }

    #[test]
    fn a_token_is_at_most_100_characters_at_rest() {
        let key = TokenKey::new(&[9; 32]);
        assert_eq!(token(0).encode(&key).len(), 79);
        assert_eq!(token(1).encode(&key).len(), 100);
    }

    #[test]
    fn a_token_with_any_bit_flipped_is_refused() {
        let key = TokenKey::new(&[9; 32]);
        let bytes = URL_SAFE_NO_PAD.decode(token(2).encode(&key)).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Token::decode(&URL_SAFE_NO_PAD.encode(flipped), &key).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_token_in_two_parts_is_the_same_token() {
        let key = TokenKey::new(&[9; 32]);
        for entries in [0, 1, 5, Token::MAX_CONTEXT as u64] {
            let token = token(entries);
            let (id, context) = token.split(&key);
            assert_eq!((id.len(), context.is_empty()), (79, entries == 0));
            assert_eq!(Token::join(&id, &context, &key), Ok(token.clone()));
            let alone = Token { context: Vector::default(), ..token };
            assert_eq!(
                Token::join(&id, "", &key),
                Ok(alone.clone()),
                "the ID is a token by itself"
            );
            assert_eq!(Token::decode(&id, &key), Ok(alone));
        }
    }

    #[test]
    fn a_context_is_refused_when_it_is_changed_or_of_another_session() {
        let key = TokenKey::new(&[9; 32]);
        let (id, context) = token(2).split(&key);
        let bytes = URL_SAFE_NO_PAD.decode(&context).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let forged = URL_SAFE_NO_PAD.encode(flipped);
            assert!(Token::join(&id, &forged, &key).is_err(), "bit {bit}");
        }
        let mut other = token(2);
        other.id.address.slot += 1;
        let (other, _) = other.split(&key);
        assert_eq!(Token::join(&other, &context, &key), Err(TokenError::WrongMac));
        let whole = token(2).encode(&key);
        assert!(Token::join(&whole, &context, &key).is_err(), "a token that has a context already");
        assert!(Token::join(&id, &whole, &key).is_err(), "a token is no context");
        assert!(Token::decode(&context, &key).is_err(), "a context is no token");
        let long = "A".repeat(Token::MAX_CHARS + 1);
        for text in ["A", "====", "ä", "Ag", &long, &"A".repeat(24), &"A".repeat(100)] {
            assert!(Token::join(&id, text, &key).is_err(), "{text}");
        }
    }

    #[test]
    fn no_text_makes_decoding_panic() {
        let key = TokenKey::new(&[9; 32]);
        let long = "A".repeat(Token::MAX_CHARS + 1);
        for text in ["", "A", "====", "ä", "AQ", &long, &"A".repeat(79), &"A".repeat(100)] {
            assert!(Token::decode(text, &key).is_err(), "{text}");
        }
    }

    #[test]
    fn a_token_with_too_many_entries_keeps_the_newest() {
        let key = TokenKey::new(&[9; 32]);
        let text = token(Token::MAX_CONTEXT as u64 + 5).encode(&key);
        let back = Token::decode(&text, &key).unwrap();
        assert_eq!(back.context.len(), Token::MAX_CONTEXT);
        assert_eq!(back.context.get(ServerId::from_bits(5)), Stamp::ZERO);
        assert_eq!(back.context.get(ServerId::from_bits(69)), Stamp::from_bits(69));
    }
}
