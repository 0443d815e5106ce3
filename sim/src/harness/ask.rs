//! A customer's request, asked through the handle that services have, and its answer in the engine's
//! words.

use grapevine_core::{Request, RequestError, Response, Served, Token, TokenKey, Version};

use super::adapter;

/// Asks a server. `None` if it stopped before there was an answer.
pub(super) async fn ask(
    server: &adapter::Grapevine,
    request: Request,
) -> Option<Result<Response, RequestError>> {
    let key = &crate::harness::token_key();
    let text = |token: &Token| token.encode(key);
    match request {
        Request::Create(new) => session(server.create(new).await, key),
        Request::Read { token, policy } => {
            session(server.read_with(&text(&token), policy).await, key)
        }
        Request::Update { token, changes, acks } => {
            session(server.change(&text(&token), changes, acks).await, key)
        }
        Request::Replace { token, attributes, acks } => {
            session(server.replace(&text(&token), attributes, acks).await, key)
        }
        Request::Rotate { token, rotation } => {
            session(server.rotate(&text(&token), rotation).await, key)
        }
        Request::Delete { token, acks } => {
            let deleted = server.delete(&text(&token), acks).await;
            answer(deleted.map(|()| Response::Deleted), key)
        }
        Request::Revoke { principal, acks } => {
            // Which revocation it is, the handle doesn't say: the twin does.
            let version = Version::ZERO;
            let revoked = server.revoke(&principal, acks).await;
            answer(revoked.map(|sessions| Response::Revoked { sessions, version }), key)
        }
        Request::Sessions { principal, after, most } => {
            let listed = server.sessions_of(&principal, after, most).await;
            answer(listed.map(Response::Sessions), key)
        }
        Request::Verify { within } => {
            answer(server.verify(within).await.map(Response::Verified), key)
        }
        Request::Leave => {
            let left = server.leave().await;
            answer(left.map(|complete| Response::Left { complete }), key)
        }
    }
}

fn session(
    answered: Result<adapter::Served, adapter::Error>,
    key: &TokenKey,
) -> Option<Result<Response, RequestError>> {
    let served = |served: adapter::Served| {
        let token = Token::decode(&served.token, key).expect("the farm's own token");
        let adapter::Served { session, stale, lost, isolated, .. } = served;
        Response::Session(Served { token, session, stale, lost, isolated })
    };
    answer(answered.map(served), key)
}

fn answer(
    answered: Result<Response, adapter::Error>,
    key: &TokenKey,
) -> Option<Result<Response, RequestError>> {
    Some(match answered {
        Ok(response) => Ok(response),
        Err(adapter::Error::Stopped) => return None,
        Err(adapter::Error::Request(error)) => Err(error),
        Err(adapter::Error::NotReplicated { acked, wanted, token, lost }) => {
            let token =
                token.map(|token| Token::decode(&token, key).expect("the farm's own token"));
            Err(RequestError::NotReplicated { acked, wanted, token, lost })
        }
        Err(other) => panic!("a good token and good keys were refused (G10): {other}"),
    })
}
