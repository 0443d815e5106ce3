//! Reading a request's body within limits of size and time.

use std::sync::Arc;

use axum::body::{Body, HttpBody as _};
use axum::extract::{FromRequest, Request};
use axum::http::header;
use futures_util::StreamExt as _;

use super::error::{Code, Problem};
use super::{App, Shared};

/// A body that is too large is read on, and dropped, for this many times the limit: a customer who
/// still sends could not read the answer.
const PATIENCE: usize = 16;

/// The bytes of a request's body.
pub(super) struct Bytes(pub(super) Vec<u8>);

impl FromRequest<Shared> for Bytes {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &Shared) -> Result<Self, Problem> {
        let limit = app.limits.body_timeout;
        if request.body().size_hint().lower() > app.limits.body_bytes as u64 {
            drain(app, request);
            return Err(too_large(app.limits.body_bytes));
        }
        match tokio::time::timeout(limit, collect(app, request.into_body())).await {
            Ok(read) => read.map(Self),
            Err(_) => {
                let message = format!("the body did not come within {limit:?}");
                Err(Problem::new(Code::BodyTimeout, message))
            }
        }
    }
}

async fn collect(app: &App, body: Body) -> Result<Vec<u8>, Problem> {
    let allowed = app.limits.body_bytes;
    let mut stream = body.into_data_stream();
    let mut bytes = Vec::new();
    let mut came = 0_usize;
    while let Some(part) = stream.next().await {
        let part = part.map_err(|error| {
            let message = format!("the body did not come whole: {error}");
            Problem::new(Code::BodyIncomplete, message)
        })?;
        came = came.saturating_add(part.len());
        if came <= allowed {
            bytes.extend_from_slice(&part);
        } else if came > allowed.saturating_mul(PATIENCE) {
            break;
        }
    }
    if came <= allowed {
        return Ok(bytes);
    }
    Err(too_large(allowed))
}

fn too_large(allowed: usize) -> Problem {
    let message = format!("the body is larger than the {allowed} bytes that are allowed");
    let problem = Problem::new(Code::BodyTooLarge, message);
    problem.with("limit", "body_bytes").with("allowed", allowed)
}

/// Reads on, and drops, a body that says itself that it is too large, while that is already answered.
fn drain(app: &Shared, request: Request) {
    // Who asks before sending is not told to go on, which reading would do.
    if request.headers().contains_key(header::EXPECT) {
        return;
    }
    let app = Arc::clone(app);
    tokio::spawn(async move {
        let rest = collect(&app, request.into_body());
        let _refused = tokio::time::timeout(app.limits.body_timeout, rest).await;
    });
}
