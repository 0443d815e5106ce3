//! The HTTP interface: what customers and operators ask of one server. `docs/http.md` documents
//! every call.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{get, post};
use grapevine_tokio::Grapevine;
use tokio::sync::watch;

use crate::config::{HttpLimits, Options, SecretKey};

mod application;
mod body;
mod carried;
mod error;
mod expirations;
mod farm;
mod json;
mod listen;
mod page;
mod principals;
mod query;
mod sessions;

pub(crate) use listen::serve;

use error::{Code, Problem};

/// What all requests share.
pub(crate) struct App {
    grapevine: Grapevine,
    limits: HttpLimits,
    cookie: String,
    context_cookie: Option<String>,
    sites: Vec<String>,
    application_key: Option<SecretKey>,
    /// One digest at a time.
    digests: tokio::sync::Mutex<()>,
    told: expirations::Told,
    /// True once the server takes no more requests, and those that wait should end.
    stopping: watch::Receiver<bool>,
}

type Shared = Arc<App>;

impl App {
    /// The interface of a server that runs.
    pub(crate) fn new(
        grapevine: Grapevine,
        options: &Options,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        let kept_bytes = options.limits.expirations_bytes;
        Self {
            told: expirations::Told::keep(grapevine.expirations(), kept_bytes),
            stopping,
            grapevine,
            limits: options.limits.clone(),
            cookie: options.cookie.clone(),
            context_cookie: options.context_cookie.clone(),
            sites: options.sites.clone(),
            application_key: options.application_key.clone(),
            digests: tokio::sync::Mutex::new(()),
        }
    }

    fn number(&self) -> u16 {
        self.grapevine.server_id().number()
    }
}

fn routes(app: Shared) -> Router {
    let one = || {
        get(sessions::read).patch(sessions::change).put(sessions::replace).delete(sessions::delete)
    };
    Router::new()
        .route("/sessions", post(sessions::create))
        .route("/sessions/{token}", one())
        .route("/sessions/{token}/rotate", post(principals::rotate))
        .route("/session", one())
        .route("/session/rotate", post(principals::rotate))
        .route("/principals/{principal}/sessions", get(principals::list).delete(principals::revoke))
        .route("/expirations", get(expirations::expirations))
        .route("/farm", get(farm::farm))
        .route("/health", get(farm::health))
        .route("/ready", get(farm::ready))
        .route("/digest", get(farm::digest))
        .route("/verify", post(farm::verify))
        .route("/", get(page::show))
        .route("/shop/add/{sku}", post(page::add))
        .route("/shop/leave", post(page::leave))
        .fallback(no_such_route)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(middleware::from_fn_with_state(Arc::clone(&app), around))
        .with_state(app)
}

async fn no_such_route() -> Problem {
    Problem::new(Code::NoSuchRoute, "there is no such route; docs/http.md lists all")
}

async fn method_not_allowed() -> Problem {
    Problem::new(Code::MethodNotAllowed, "this route does not take this method; see `Allow`")
}

/// What holds for every request and response.
async fn around(State(app): State<Shared>, request: Request, next: Next) -> Response {
    // A page of another site must not write in the name of a browser's customer.
    let site = request.headers().get("sec-fetch-site");
    let foreign = site.is_some_and(|site| site == "cross-site");
    let mut response = if foreign && !request.method().is_safe() {
        let why = "a page of another site may not write here";
        axum::response::IntoResponse::into_response(Problem::new(Code::CrossSite, why))
    } else {
        next.run(request).await
    };
    const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
    const NO_SNIFF: HeaderValue = HeaderValue::from_static("nosniff");
    const ISOLATED: HeaderName = HeaderName::from_static("grapevine-isolated");
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, NO_STORE);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, NO_SNIFF);
    if app.grapevine.is_isolated() {
        headers.insert(ISOLATED, HeaderValue::from_static("true"));
    }
    response
}
