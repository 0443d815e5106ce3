//! The token that a customer carries: in the path of `/sessions/{token}`, or in the cookie of
//! `/session`. One route, one place: neither is looked for where the other belongs. Its context may
//! travel beside it: in a header, or in a cookie of its own.

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts as RequestParts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum_extra::extract::CookieJar;
use grapevine_tokio::Timestamp;

use super::error::{Code, Problem};
use super::{App, Shared};

/// Where the context of a token travels if the customer wants it beside the ID.
pub(super) const CONTEXT: HeaderName = HeaderName::from_static("grapevine-context");

/// How the context of a token travels: within it, or beside an ID that stays the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// One text for all: the token.
    Whole,
    /// In the header `grapevine-context`, in both directions, because the request had it.
    Header,
    /// In a cookie of its own, because the server is configured so.
    Cookie,
}

/// By which ways a customer carries the token.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    /// Whether the ID came in the cookie, which the response then refreshes.
    pub(super) by_cookie: bool,
    form: Form,
}

/// A token and how it came. It has no `Debug`: tokens are not logged.
pub(super) struct Carried {
    /// The token, whole; nothing is known of it yet.
    pub(super) token: String,
    /// How it came, and so how the newer one goes.
    pub(super) way: Way,
}

/// A token as the customer gets it.
pub(super) struct Parts {
    /// The token, or its ID if the context travels beside it.
    pub(super) token: String,
    /// The context, if it travels beside it; it may be empty.
    pub(super) context: Option<String>,
}

impl Way {
    /// The way that a request asks for.
    pub(super) fn of(app: &App, headers: &HeaderMap, by_cookie: bool) -> Self {
        let form = if headers.contains_key(&CONTEXT) {
            Form::Header
        } else if by_cookie && app.context_cookie.is_some() {
            Form::Cookie
        } else {
            Form::Whole
        };
        Self { by_cookie, form }
    }

    /// The token of what came by this way.
    fn token(self, app: &App, headers: &HeaderMap, id: String) -> Result<String, Problem> {
        let wrong = |message: &str| Problem::new(Code::MalformedToken, message);
        let context = match self.form {
            Form::Whole => return Ok(id),
            Form::Cookie => cookie(headers, app.context_cookie.as_deref()).unwrap_or_default(),
            Form::Header => {
                let mut all = headers.get_all(&CONTEXT).iter();
                let (first, None) = (all.next(), all.next()) else {
                    return Err(wrong("the header `grapevine-context` stands twice"));
                };
                let text = first.and_then(|value| value.to_str().ok());
                text.ok_or_else(|| wrong("`grapevine-context` is no context of this farm"))?.into()
            }
        };
        app.grapevine.join_token(&id, &context).map_err(Problem::from)
    }

    /// A token as it goes out by this way.
    pub(super) fn parts(self, app: &App, token: &str) -> Parts {
        let split = match self.form {
            Form::Whole => None,
            // It was made by this server: it can be split.
            Form::Header | Form::Cookie => app.grapevine.split_token(token).ok(),
        };
        match split {
            Some((id, context)) => Parts { token: id, context: Some(context) },
            None => Parts { token: token.into(), context: None },
        }
    }

    /// Has the customer carry this token from now on, until the deadline where it is known.
    pub(super) fn keep(
        self,
        app: &App,
        headers: &mut HeaderMap,
        parts: &Parts,
        deadline: Option<Timestamp>,
    ) {
        let until = deadline.map(|deadline| {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            (deadline.as_millis() / 1000).saturating_sub(now.map_or(0, |now| now.as_secs()))
        });
        if self.by_cookie {
            headers.append(header::SET_COOKIE, set(&app.cookie, &parts.token, until));
        }
        let Some(context) = &parts.context else { return };
        match (self.form, &app.context_cookie) {
            (Form::Header, _) => {
                headers.insert(CONTEXT, sensitive(context));
            }
            (_, Some(name)) => {
                let until = if context.is_empty() { Some(0) } else { until };
                headers.append(header::SET_COOKIE, set(name, context, until));
            }
            (_, None) => {}
        }
    }

    /// Has the customer forget the token.
    pub(super) fn forget(self, app: &App, headers: &mut HeaderMap) {
        if self.by_cookie {
            headers.append(header::SET_COOKIE, set(&app.cookie, "", Some(0)));
        }
        if let Some(cookie) = self.no_context(app) {
            headers.append(header::SET_COOKIE, cookie);
        }
    }

    /// The header that has a browser forget the context alone, if that has a cookie.
    fn no_context(self, app: &App) -> Option<HeaderValue> {
        let name = app.context_cookie.as_ref().filter(|_| self.form == Form::Cookie)?;
        Some(set(name, "", Some(0)))
    }

    /// The response to a request that failed: with the newer token if there is one, with the cookies
    /// cleared if the session is known to be over. When in doubt the customer keeps them.
    pub(super) fn refuse(self, app: &App, mut problem: Problem) -> Response {
        let over = problem.is_the_end();
        let parts = problem.token().map(|token| self.parts(app, token));
        if let Some(Parts { token, context: Some(context) }) = &parts {
            problem = problem.with("token", token.as_str()).with("context", context.as_str());
        }
        let mut response = problem.into_response();
        match parts {
            _ if over => self.forget(app, response.headers_mut()),
            Some(parts) => self.keep(app, response.headers_mut(), &parts, None),
            None => {}
        }
        response
    }
}

impl FromRequestParts<Shared> for Carried {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut RequestParts, app: &Shared) -> Result<Self, Problem> {
        let Ok(params) = RawPathParams::from_request_parts(parts, app).await else {
            return Err(Problem::new(Code::MalformedToken, "the token in the path is not UTF-8"));
        };
        let in_path = params.iter().find(|(name, _)| *name == "token").map(|(_, token)| token);
        if let Some(id) = in_path {
            return Self::by(app, &parts.headers, Way::of(app, &parts.headers, false), id.into());
        }
        Self::from_cookies(app, &parts.headers)?.ok_or_else(|| {
            let message = format!("the request carries no cookie named `{}`", app.cookie);
            Problem::new(Code::NoCookie, message)
        })
    }
}

impl Carried {
    /// The token in a request's cookies, if there is one.
    ///
    /// # Errors
    /// [`Code::MalformedToken`] for a token whose context is not its own.
    pub(super) fn from_cookies(app: &App, headers: &HeaderMap) -> Result<Option<Self>, Problem> {
        let id = cookie(headers, Some(&app.cookie));
        id.map(|id| Self::by(app, headers, Way::of(app, headers, true), id)).transpose()
    }

    fn by(app: &App, headers: &HeaderMap, way: Way, id: String) -> Result<Self, Problem> {
        let ours = app.grapevine.join_token(&id, "").is_ok();
        way.token(app, headers, id).map(|token| Self { token, way }).map_err(|problem| {
            // If the session is this farm's and the context is not its own, the context serves
            // nobody, and would be in the way for good.
            problem.forgetting(way.no_context(app).filter(|_| ours))
        })
    }
}

fn cookie(headers: &HeaderMap, name: Option<&str>) -> Option<String> {
    CookieJar::from_headers(headers).get(name?).map(|cookie| cookie.value().to_string())
}

fn set(name: &str, text: &str, max_age: Option<u64>) -> HeaderValue {
    let max_age = max_age.map(|seconds| format!("; Max-Age={seconds}")).unwrap_or_default();
    let secure =
        if name.starts_with("__Host-") || name.starts_with("__Secure-") { "; Secure" } else { "" };
    sensitive(&format!("{name}={text}; Path=/; HttpOnly; SameSite=Lax{max_age}{secure}"))
}

/// A header's value that is never logged. Names and tokens are letters, digits, `-` and `_`; a header
/// can hold them.
fn sensitive(text: &str) -> HeaderValue {
    let mut value = HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""));
    value.set_sensitive(true);
    value
}
