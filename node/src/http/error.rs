//! Errors as customers see them: a status, a stable code, a sentence, and the figures.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use grapevine_tokio::{
    ChangeError, Error, Key, KeyError, LimitError, NotFound, RequestError, Unavailable,
};
use serde_json::{Map, Value};

/// Every code with its status. `docs/http.md` has the same list; a test compares the two.
macro_rules! codes {
    ($($name:ident $status:ident $code:literal)*) => {
        /// What went wrong, for programs.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Code { $($name),* }

        impl Code {
            /// All of them.
            #[cfg(test)]
            pub(super) const ALL: &[Self] = &[$(Self::$name),*];

            /// Its stable text.
            pub(super) const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code),* }
            }

            /// The status that goes with it.
            pub(super) const fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status),* }
            }
        }
    };
}

codes! {
    MalformedJson BAD_REQUEST "malformed_json"
    BodyIncomplete BAD_REQUEST "body_incomplete"
    Unauthorized UNAUTHORIZED "unauthorized"
    CrossSite FORBIDDEN "cross_site"
    NoSuchRoute NOT_FOUND "no_such_route"
    NoCookie NOT_FOUND "no_cookie"
    MalformedToken NOT_FOUND "malformed_token"
    Unknown NOT_FOUND "unknown"
    Ended NOT_FOUND "ended"
    Expired NOT_FOUND "expired"
    Lost NOT_FOUND "lost"
    Rotated CONFLICT "rotated"
    MethodNotAllowed METHOD_NOT_ALLOWED "method_not_allowed"
    BodyTimeout REQUEST_TIMEOUT "body_timeout"
    BodyTooLarge PAYLOAD_TOO_LARGE "body_too_large"
    InvalidBody UNPROCESSABLE_ENTITY "invalid_body"
    InvalidQuery UNPROCESSABLE_ENTITY "invalid_query"
    InvalidKey UNPROCESSABLE_ENTITY "invalid_key"
    InvalidValue UNPROCESSABLE_ENTITY "invalid_value"
    DuplicateKey UNPROCESSABLE_ENTITY "duplicate_key"
    OutOfRange UNPROCESSABLE_ENTITY "out_of_range"
    OverLimit UNPROCESSABLE_ENTITY "over_limit"
    NotANumber UNPROCESSABLE_ENTITY "not_a_number"
    CounterOverflow UNPROCESSABLE_ENTITY "counter_overflow"
    Internal INTERNAL_SERVER_ERROR "internal"
    Unavailable SERVICE_UNAVAILABLE "unavailable"
    Full SERVICE_UNAVAILABLE "full"
    NotReady SERVICE_UNAVAILABLE "not_ready"
    NotHealthy SERVICE_UNAVAILABLE "not_healthy"
    NotReplicated GATEWAY_TIMEOUT "not_replicated"
}

/// An error response.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    pub(super) code: Code,
    message: String,
    more: Map<String, Value>,
    /// What the customer's browser is to forget, whatever else is decided.
    forget: Option<HeaderValue>,
}

impl Problem {
    /// An error with a sentence for people.
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), more: Map::new(), forget: None }
    }

    /// The same, with a cookie that is cleared.
    pub(super) fn forgetting(self, forget: Option<HeaderValue>) -> Self {
        Self { forget, ..self }
    }

    /// A further field.
    pub(super) fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.more.insert(field.into(), value.into());
        self
    }

    /// A limit, by its name.
    pub(super) fn over_limit(limit: &str, allowed: u64, message: impl Into<String>) -> Self {
        Self::new(Code::OverLimit, message).with("limit", limit).with("allowed", allowed)
    }

    /// Whether the session is known to be over, so that its cookie is of no more use.
    pub(super) fn is_the_end(&self) -> bool {
        matches!(self.code, Code::Unknown | Code::Ended | Code::Expired | Code::Lost)
    }

    /// The token that the customer should carry in spite of the error.
    pub(super) fn token(&self) -> Option<&str> {
        self.more.get("token").and_then(Value::as_str)
    }

    /// The sentence.
    pub(super) fn message(&self) -> &str {
        &self.message
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut body = Map::new();
        body.insert("code".into(), self.code.as_str().into());
        body.insert("message".into(), self.message.into());
        body.extend(self.more);
        let mut response = (self.code.status(), Json(body)).into_response();
        if self.code.status() == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if self.code == Code::Unauthorized {
            let bearer = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, bearer);
        }
        if let Some(cookie) = self.forget {
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
        response
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error {
            Error::Token(_) => Self::new(Code::MalformedToken, message),
            Error::Key(error) => Self::of_key(&error, ""),
            Error::Request(error) => error.into(),
            Error::NotReplicated { acked, wanted, token, lost } => {
                Self::not_replicated(message, acked, wanted, token).with("lost", lost)
            }
            Error::Stopped => Self::new(Code::Unavailable, message).with("reason", "stopped"),
            _ => Self::new(Code::Internal, message),
        }
    }
}

impl From<RequestError> for Problem {
    fn from(error: RequestError) -> Self {
        let message = error.to_string();
        match error {
            RequestError::NotFound(why) => {
                let code = match why {
                    NotFound::Ended => Code::Ended,
                    NotFound::Idle | NotFound::Deadline => Code::Expired,
                    _ => Code::Unknown,
                };
                Self::new(code, message)
            }
            RequestError::Lost => Self::new(Code::Lost, message),
            RequestError::Rotated => Self::new(Code::Rotated, message),
            RequestError::Unavailable(why) => {
                let reason = match why {
                    Unavailable::NoAnswer(_) => "no_answer",
                    Unavailable::FromTheFuture => "from_the_future",
                    Unavailable::Skewed => "skewed",
                    Unavailable::TooManyWaiting(_) => "too_many_waiting",
                    Unavailable::Leaving => "leaving",
                    Unavailable::Verifying => "verifying",
                    Unavailable::Isolated => "isolated",
                    _ => "other",
                };
                Self::new(Code::Unavailable, message).with("reason", reason)
            }
            RequestError::NotReplicated { acked, wanted, lost, .. } => {
                Self::not_replicated(message, acked, wanted, None).with("lost", lost)
            }
            RequestError::Limit(limit) => Self::of_limit(&limit),
            RequestError::Change(ChangeError::NotANumber(key)) => {
                Self::new(Code::NotANumber, message).with("key", key.as_str())
            }
            RequestError::Change(ChangeError::CounterOverflow(key)) => {
                Self::new(Code::CounterOverflow, message).with("key", key.as_str())
            }
            _ => Self::new(Code::Internal, message),
        }
    }
}

impl Problem {
    fn not_replicated(message: String, acked: u16, wanted: u16, token: Option<String>) -> Self {
        let problem = Self::new(Code::NotReplicated, message);
        let problem = problem.with("acked", acked).with("wanted", wanted);
        match token {
            Some(token) => problem.with("token", token),
            None => problem,
        }
    }

    fn full(limit: &LimitError, allowed: u64) -> Self {
        let problem = Self::new(Code::Full, limit.to_string()).with("limit", limit.name());
        problem.with("allowed", allowed)
    }

    fn of_limit(limit: &LimitError) -> Self {
        let message = limit.to_string();
        let allowed = match limit {
            LimitError::Attributes { allowed, .. }
            | LimitError::Value { allowed, .. }
            | LimitError::Session { allowed, .. } => u64::from(*allowed),
            LimitError::Principal { allowed, .. } => *allowed as u64,
            // Not the customer's doing, and another server may have room: so it is a 503.
            LimitError::Slots { allowed } => return Self::full(limit, u64::from(*allowed)),
            LimitError::Bytes { allowed }
            | LimitError::AnonymousSlots { allowed }
            | LimitError::AnonymousBytes { allowed } => return Self::full(limit, *allowed),
            LimitError::Servers { allowed } => return Self::full(limit, u64::from(*allowed)),
            LimitError::Lifetime { .. } | LimitError::IdleTimeout { .. } => {
                return Self::new(Code::OutOfRange, message).with("field", limit.name());
            }
            _ => return Self::new(Code::OverLimit, message).with("limit", limit.name()),
        };
        let problem = Self::over_limit(limit.name(), allowed, message);
        match limit {
            LimitError::Value { key, .. } => problem.with("key", key.as_str()),
            _ => problem,
        }
    }

    /// A key that can't be one. It is shown, cut short, where that helps.
    pub(super) fn of_key(error: &KeyError, key: &str) -> Self {
        let message = error.to_string();
        let problem = match error {
            KeyError::TooLong { .. } => {
                Self::over_limit("key_bytes", Key::MAX_BYTES as u64, message)
            }
            _ => Self::new(Code::InvalidKey, message),
        };
        problem.with("key", key.chars().take(64).collect::<String>())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const DOCS: &str = include_str!("../../../docs/http.md");

    #[test]
    fn the_documentation_lists_every_error_code_with_its_status_and_no_other() {
        let coded: BTreeSet<(String, String)> = Code::ALL
            .iter()
            .map(|code| (code.status().as_u16().to_string(), code.as_str().to_string()))
            .collect();
        let section = DOCS.split("\n## Errors\n").nth(1).expect("docs/http.md has no `## Errors`");
        let section = section.split("\n## ").next().unwrap_or_default();
        let documented: BTreeSet<(String, String)> = section
            .lines()
            .filter_map(|line| {
                let mut cells = line.strip_prefix('|')?.split('|').map(str::trim);
                let status = cells.next().filter(|cell| cell.parse::<u16>().is_ok())?;
                let code = cells.next()?.strip_prefix('`')?.strip_suffix('`')?;
                Some((status.to_string(), code.to_string()))
            })
            .collect();
        assert_eq!(coded, documented);
    }

    #[test]
    fn an_error_of_the_engine_tells_its_limit_by_name() {
        let limit = LimitError::Value { key: "k".into(), bytes: 9, allowed: 8 };
        let problem = Problem::from(RequestError::Limit(limit));
        assert_eq!(problem.code.as_str(), "over_limit");
        assert_eq!(problem.more["limit"], "value_bytes");
        assert_eq!(problem.more["allowed"], 8);
        assert_eq!(problem.more["key"], "k");
        let full = Problem::from(RequestError::Limit(LimitError::Slots { allowed: 5 }));
        assert_eq!(full.code.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(full.more["limit"], "slots_per_origin");
        assert_eq!(full.more["allowed"], 5);
    }

    #[test]
    fn a_write_that_was_not_confirmed_hands_out_the_token_to_carry() {
        let token = Some("abc".to_string());
        let problem =
            Problem::from(Error::NotReplicated { acked: 1, wanted: 2, token, lost: false });
        assert_eq!(problem.token(), Some("abc"));
        assert_eq!(problem.code.status(), StatusCode::GATEWAY_TIMEOUT);
    }
}
