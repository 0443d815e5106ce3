//! The token that a customer carries: in the path of `/sessions/{token}`, or in the cookie of
//! `/session`. One route, one place: neither is looked for where the other belongs.

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum_extra::extract::CookieJar;
use grapevine_tokio::Timestamp;

use super::error::{Code, Problem};
use super::{App, Shared};

/// A token and how it came. It has no `Debug`: tokens are not logged.
pub(super) struct Carried {
    /// The token as the customer sent it; nothing is known of it yet.
    pub(super) token: String,
    /// Whether it came in the cookie, which the response then refreshes.
    pub(super) by_cookie: bool,
}

impl FromRequestParts<Shared> for Carried {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, Problem> {
        let Ok(params) = RawPathParams::from_request_parts(parts, app).await else {
            return Err(Problem::new(Code::MalformedToken, "the token in the path is not UTF-8"));
        };
        if let Some((_, token)) = params.iter().find(|(name, _)| *name == "token") {
            return Ok(Self { token: token.into(), by_cookie: false });
        }
        match from_cookie(app, &parts.headers) {
            Some(token) => Ok(Self { token, by_cookie: true }),
            None => {
                let message = format!("the request carries no cookie named `{}`", app.cookie);
                Err(Problem::new(Code::NoCookie, message))
            }
        }
    }
}

/// The token in the request's cookie.
pub(super) fn from_cookie(app: &App, headers: &HeaderMap) -> Option<String> {
    CookieJar::from_headers(headers).get(&app.cookie).map(|cookie| cookie.value().to_string())
}

impl Carried {
    /// The response, with the cookie cleared if that is where the token came from and the session
    /// is known to be over. When in doubt the customer keeps it.
    pub(super) fn refuse(&self, app: &App, problem: Problem) -> Response {
        let end = self.by_cookie && problem.is_the_end();
        let fresh = problem.token().filter(|_| self.by_cookie).map(|token| keep(app, token, None));
        let mut response = problem.into_response();
        if let Some(cookie) = if end { Some(clear(app)) } else { fresh } {
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
        response
    }
}

/// The header that has a browser carry this token, until the deadline where it is known.
pub(super) fn keep(app: &App, token: &str, deadline: Option<Timestamp>) -> HeaderValue {
    let until = deadline.map(|deadline| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        (deadline.as_millis() / 1000).saturating_sub(now.map_or(0, |now| now.as_secs()))
    });
    set(app, token, until)
}

/// The header that has a browser forget its token.
pub(super) fn clear(app: &App) -> HeaderValue {
    set(app, "", Some(0))
}

fn set(app: &App, token: &str, max_age: Option<u64>) -> HeaderValue {
    let name = &app.cookie;
    let max_age = max_age.map(|seconds| format!("; Max-Age={seconds}")).unwrap_or_default();
    let secure =
        if name.starts_with("__Host-") || name.starts_with("__Secure-") { "; Secure" } else { "" };
    let text = format!("{name}={token}; Path=/; HttpOnly; SameSite=Lax{max_age}{secure}");
    // Names and tokens are letters, digits, `-` and `_`; a header can hold them.
    let mut value = HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""));
    value.set_sensitive(true);
    value
}
