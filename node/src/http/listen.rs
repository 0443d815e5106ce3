//! Accepting connections, within limits, until it is time to stop.

use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tracing::{debug, warn};

use super::{Shared, routes};
use crate::config::HttpLimits;

/// The most that the head of a request may take.
const HEAD_BYTES: usize = 64 << 10;
/// How long to wait when the system has no more file descriptors.
const BREATH: Duration = Duration::from_millis(50);

/// Serves customers until `stop` is true; then accepts no more, and gives running requests
/// `drain_timeout` to finish.
pub(crate) async fn serve(
    listener: TcpListener,
    app: Shared,
    limits: HttpLimits,
    mut stop: watch::Receiver<bool>,
) {
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(limits.connections));
    let router = routes(app);
    loop {
        let next = async {
            // Without a free place nothing is accepted: further connections wait in the backlog.
            let place = Arc::clone(&places).acquire_owned().await;
            (listener.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => break,
            next = next => next,
        };
        match accepted {
            Ok((stream, _)) => {
                let connection = connection(stream, &limits, router.clone());
                let connection = graceful.watch(connection);
                tokio::spawn(async move {
                    if let Err(error) = connection.await {
                        debug!("a customer's connection ended early: {error}");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                warn!("a customer's connection was not accepted: {error}");
                tokio::time::sleep(BREATH).await;
            }
        }
    }
    drop(listener);
    if tokio::time::timeout(limits.drain_timeout, graceful.shutdown()).await.is_err() {
        warn!("some requests had not finished after {:?}; they are cut off", limits.drain_timeout);
    }
}

fn connection(
    stream: TcpStream,
    limits: &HttpLimits,
    router: axum::Router,
) -> http1::Connection<TokioIo<TcpStream>, TowerToHyperService<axum::Router>> {
    if let Err(error) = stream.set_nodelay(true) {
        debug!("a customer's connection keeps Nagle's delay: {error}");
    }
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
}
