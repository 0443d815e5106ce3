//! `grapevine serve`: one server of a farm, from start-up to an orderly end.

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::sync::Arc;

use grapevine_tokio::{Grapevine, StartError};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tracing::{error, info, warn};
use tracing_subscriber::EnvFilter;

use crate::config::{Options, Peers};
use crate::http::{self, App};
use crate::signals::Signals;

/// Why a server did not start, or stopped by itself.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeError {
    /// The address for customers can't be used.
    #[error("customers can't be served at {address} (`http`): {source}")]
    Http { address: SocketAddr, source: std::io::Error },
    /// The server did not start.
    #[error("the server did not start: {0}")]
    Start(#[from] StartError),
    /// The server stopped by itself.
    #[error("the server stopped: {0}")]
    Stopped(String),
    /// Signals can't be waited for.
    #[error("the program can't wait for signals: {0}")]
    Signals(#[from] std::io::Error),
}

/// Sends log lines to standard error. Tokens are never logged. When nobody reads them any more they are
/// dropped: a server holds sessions, and does not end because its log does.
///
/// # Errors
/// A sentence, if the filter is not one.
pub(crate) fn log_to_stderr(filter: &str) -> Result<(), String> {
    let parsed = EnvFilter::try_new(filter)
        .map_err(|error| format!("configuration: log = {filter:?} is not allowed: {error}"))?;
    tracing_subscriber::fmt()
        .with_env_filter(parsed)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        // It would tell of a line that can't be written where that can't be written either, and panic.
        .log_internal_errors(false)
        .try_init()
        .map_err(|error| format!("the log can't be set up: {error}"))
}

/// Runs one server until a signal comes, or until it has to stop.
///
/// # Errors
/// [`ServeError`], if it did not start or stopped by itself; sessions are safe at the others.
pub(crate) async fn run(options: Options, stop_with_stdin: bool) -> Result<(), ServeError> {
    // Before anything is started, so that an early signal is not missed.
    let mut signals = Signals::new(stop_with_stdin)?;
    let listener = TcpListener::bind(options.http)
        .await
        .map_err(|source| ServeError::Http { address: options.http, source })?;
    let address = listener
        .local_addr()
        .map_err(|source| ServeError::Http { address: options.http, source })?;
    let grapevine = tokio::select! {
        started = builder(&options).start() => started?,
        why = signals.next() => {
            info!("{why} came during the start; stopping");
            return Ok(());
        }
    };
    info!(
        server = %grapevine.server_id(),
        farm = %grapevine.local_addr(),
        http = %format!("http://{address}"),
        "serving"
    );
    if options.farm_key.is_none() {
        info!("no farm_key_file: tokens are signed with the public loopback key");
    }

    let (stop, stopping) = watch::channel(false);
    let app = Arc::new(App::new(grapevine.clone(), &options, stopping.clone()));
    let customers = tokio::spawn(http::serve(listener, app, options.limits.clone(), stopping));
    let outcome = tokio::select! {
        why = signals.next() => {
            info!("{why}: leaving the farm");
            Ok(())
        }
        reason = grapevine.stopped() => Err(ServeError::Stopped(reason.to_string())),
    };
    let _ = stop.send(true);
    let orderly = async {
        if let Err(failure) = customers.await {
            error!("the HTTP interface ended badly: {failure}");
        }
        if outcome.is_ok() {
            leave(&grapevine).await;
        }
    };
    tokio::select! {
        () = orderly => {}
        why = signals.next() => warn!("{why} again: stopping at once"),
    }
    outcome
}

fn builder(options: &Options) -> grapevine_tokio::Builder {
    let mut builder = Grapevine::builder(options.id).listen(options.listen);
    match &options.peers {
        Peers::Listed(peers) => {
            for peer in peers {
                builder = builder.peer(peer.as_str());
            }
        }
        Peers::Dns { name, size } => builder = builder.peers_from_dns(name.as_str(), *size),
    }
    if let Some(key) = &options.farm_key {
        builder = builder.farm_key(key.0);
    }
    builder.farm(options.farm.clone()).local(options.local.clone())
}

async fn leave(grapevine: &Grapevine) {
    match grapevine.leave().await {
        Ok(true) => info!("left; the other servers have everything"),
        Ok(false) => warn!("left, but some server may lack some of this server's writes"),
        Err(error) => warn!("leaving did not work: {error}"),
    }
}
