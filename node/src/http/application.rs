//! Who may say whose a session is: the application, where it has a key of its own.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};

use super::error::{Code, Problem};
use super::{App, Shared};

/// A request that comes from the application: it shows its key, or none is configured.
pub(super) struct Application;

impl FromRequestParts<Shared> for Application {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, Problem> {
        if shows_key(app, &parts.headers) {
            return Ok(Self);
        }
        let message = "this call is the application's: it needs its key, as `Authorization: Bearer` \
                       and 64 hexadecimal digits";
        Err(Problem::new(Code::Unauthorized, message))
    }
}

fn shows_key(app: &App, headers: &HeaderMap) -> bool {
    let Some(key) = &app.application_key else { return true };
    let mut shown = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(shown), None) = (shown.next(), shown.next()) else { return false };
    let bearer = shown.to_str().ok().and_then(|shown| shown.split_once(' '));
    bearer.is_some_and(|(scheme, digits)| {
        scheme.eq_ignore_ascii_case("bearer") && key.is(digits.trim_ascii())
    })
}
