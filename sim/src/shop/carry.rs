//! What customers carry: tokens, of which some go through text as all of real customers do; and tokens that they
//! forge.

use grapevine_core::{SessionId, Token, TokenKey, Vector};
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use super::Shop;

/// Of so many tokens one goes the whole way, written as text and read again. A run has thousands, and two
/// MACs for each would be a tenth of its time; that they are read as they were written shows in a few.
const WRITTEN: u64 = 64;

/// A token, and what the customer had read and written when it got it.
#[derive(Clone, Debug)]
pub(super) struct Carried {
    pub(super) token: Token,
    pub(super) known: Vector,
}

impl Carried {
    /// The session that the token is of, to know answers about another by.
    pub(super) const fn session(&self) -> &SessionId {
        &self.token.id
    }
}

impl Shop {
    /// What a customer carries who got this token.
    ///
    /// # Panics
    /// If its text can't be read, or says something else.
    pub(super) fn carry(&mut self, token: &Token, known: Vector) -> Carried {
        self.issued += 1;
        let whole = token.context.len() <= Token::MAX_CONTEXT;
        if whole && !self.issued.is_multiple_of(WRITTEN) {
            return Carried { token: token.clone(), known };
        }
        let read = Token::decode(&token.encode(&self.key), &self.key).expect("the farm's own");
        // A text has room for so many entries only.
        assert!(read == *token || !whole, "{token:?} was read as {read:?}");
        Carried { token: read, known }
    }

    /// A forger's token: a letter changed, or all of it made with another key. No server gets it: who
    /// decodes it refuses it (G10).
    pub(super) fn forge(&mut self, token: &Token, rng: &mut ChaCha8Rng) {
        let text = token.encode(&self.key);
        let forged = if rng.random_bool(0.3) {
            token.encode(&TokenKey::new(&[41; 32]))
        } else {
            let mut bytes = text.as_bytes().to_vec();
            let at = rng.random_range(0..bytes.len());
            let good = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
            bytes[at] = good[rng.random_range(0..good.len())];
            String::from_utf8(bytes).expect("letters")
        };
        if forged != text {
            match Token::decode(&forged, &self.key) {
                Err(_) => self.forged.0 += 1,
                Ok(_) => self.forged.1 += 1,
            }
        }
    }
}
