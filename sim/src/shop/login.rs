//! Customers who log in, which rotates their session, and who sign out everywhere, which revokes all
//! sessions of their principal: of other customers too, for few names are shared by all.

use std::time::Duration;

use grapevine_core::{
    Acks, Address, Change, Key, MAX_LISTED, Principal, Request, Rotation, Token, Value,
};
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use super::{Intent, Shop};

/// Who logs in.
const NAMES: [&str; 3] = ["ann", "bob", "cleo"];
/// The attribute that a log-in sets; nothing else does.
pub(crate) const LOGIN: &str = "login";

/// One of the few names that customers have.
pub(super) fn somebody(rng: &mut ChaCha8Rng) -> Principal {
    Principal::new(NAMES[rng.random_range(0..NAMES.len())])
}

/// Which sessions does one of them have? A page of them; mostly the next one, if there is more to see.
pub(super) fn list(page: Option<&(Principal, Address)>, rng: &mut ChaCha8Rng) -> Request {
    let most = [1, 3, MAX_LISTED, u16::MAX][rng.random_range(0..4)];
    if let Some((principal, last)) = page
        && super::apart(rng).random_bool(0.7)
    {
        let (principal, after) = (principal.clone(), Some(*last));
        return Request::Sessions { principal, after, most };
    }
    Request::Sessions { principal: somebody(rng), after: None, most }
}

impl Shop {
    /// A log-in, or a new ID for who is logged in already.
    pub(super) fn new_id(
        &self,
        token: Token,
        value: Value,
        rng: &mut ChaCha8Rng,
    ) -> (Intent, Request) {
        let grace = match rng.random_range(0..3) {
            0 => Duration::from_millis(rng.random_range(50..3000)),
            _ => Duration::ZERO,
        };
        let lifetime = Duration::from_secs(self.workload.lifetime_s);
        // Shorter lives than the old session's too: the old one's end must be told all the same.
        let lifetime = if rng.random_bool(0.3) { lifetime / 3 } else { lifetime };
        let acks = if rng.random_bool(0.5) { Acks::Local } else { Acks::Peers(1) };
        let login = Key::new(LOGIN).expect("a good key");
        let mut apart = super::apart(rng);
        let mut seldom = || self.workload.farm_times && apart.random_bool(0.3);
        let lifetime = if seldom() { None } else { Some(lifetime) };
        let other = Duration::from_secs(self.workload.idle_timeout_s + 1);
        let idle_timeout = seldom().then_some(other);
        let rotation = Rotation {
            principal: rng.random_bool(0.7).then(|| somebody(rng)),
            changes: vec![Change::Set(login, value)],
            grace,
            lifetime,
            idle_timeout,
            acks,
        };
        (Intent::Rotate(acks), Request::Rotate { token, rotation })
    }

    /// Everybody of one name is signed out.
    pub(super) fn sign_out_everywhere(rng: &mut ChaCha8Rng) -> (Intent, Request) {
        let acks = if rng.random_bool(0.5) { Acks::Local } else { Acks::Peers(1) };
        let principal = somebody(rng);
        (Intent::Revoke(acks), Request::Revoke { principal, acks })
    }
}
