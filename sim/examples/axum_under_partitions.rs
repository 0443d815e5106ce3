//! A shop's carts: an axum service on Grapevine, and its test under a partition, in simulated time.
//!
//! Nothing of the service knows that it is simulated: in yours, `use grapevine_tokio::…` stands where this says
//! `grapevine_sim::turmoil`, and `#[cfg(test)]` chooses between the two.

use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use grapevine_sim::turmoil::{Create, Error, Grapevine, cut, host, mend, network, server};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

fn service(grapevine: Grapevine) -> axum::Router {
    let routes = axum::Router::new().route("/cart/{item}", post(add)).route("/cart", get(show));
    routes.with_state(grapevine)
}

async fn add(
    State(grapevine): State<Grapevine>,
    Path(item): Path<String>,
    headers: HeaderMap,
) -> Result<[(&'static str, String); 1], (StatusCode, String)> {
    let token = match headers.get(COOKIE).and_then(|cookie| cookie.to_str().ok()) {
        Some(token) => token.to_owned(),
        None => grapevine.create(Create::default()).await.map_err(refused)?.token,
    };
    let served = grapevine.update(&token, |cart| _ = cart.add(&item, 1)).await;
    Ok([(SET_COOKIE.as_str(), served.map_err(refused)?.token)])
}

async fn show(
    State(grapevine): State<Grapevine>,
    headers: HeaderMap,
) -> Result<String, (StatusCode, String)> {
    let token = headers.get(COOKIE).and_then(|cookie| cookie.to_str().ok()).unwrap_or_default();
    let cart = grapevine.read(token).await.map_err(refused)?.session;
    Ok(cart.iter().map(|(item, _)| format!("{item} ")).collect())
}

fn refused(error: Error) -> (StatusCode, String) {
    (StatusCode::SERVICE_UNAVAILABLE, error.to_string())
}

/// What a customer does while server 1 and the others can't reach each other.
async fn shop() -> turmoil::Result {
    tokio::time::sleep(Duration::from_secs(3)).await;
    let cookie = ask(1, "POST /cart/tea", "").await?.cookie();
    tokio::time::sleep(Duration::from_secs(1)).await;
    cut(&[1], &[2, 3]);
    // Both sides go on; and no server shows an older cart than its customer has seen.
    let one = ask(1, "POST /cart/milk", &cookie).await?.cookie();
    let other = ask(2, "POST /cart/bread", &cookie).await?.cookie();
    assert!(ask(2, "GET /cart", &one).await?.0.starts_with("HTTP/1.1 503"));
    mend(&[1], &[2, 3]);
    tokio::time::sleep(Duration::from_secs(10)).await;
    for cookie in [one, other] {
        for number in 1..=3 {
            let shown = ask(number, "GET /cart", &cookie).await?.0;
            assert!(shown.ends_with("bread milk tea "), "server {number}: {shown}");
        }
    }
    Ok(())
}

fn main() {
    let mut sim = network(7).build();
    for number in 1..=3 {
        sim.host(host(number), move || async move {
            let grapevine = server(number, 3, 7).start().await?;
            let listener = turmoil::net::TcpListener::bind("0.0.0.0:80").await?;
            Ok(axum::serve(Listener(listener), service(grapevine)).await?)
        });
    }
    sim.client("customer", shop());
    sim.run().expect("the shop works");
}

#[test]
fn carts_survive_a_partition() {
    main();
}

/// What a server answered.
struct Answer(String);

impl Answer {
    fn cookie(&self) -> String {
        let line = self.0.lines().find_map(|line| line.strip_prefix("set-cookie: "));
        line.unwrap_or_else(|| panic!("no cookie: {}", self.0)).to_owned()
    }
}

async fn ask(number: u16, what: &str, cookie: &str) -> std::io::Result<Answer> {
    let mut stream = turmoil::net::TcpStream::connect((host(number), 80)).await?;
    let cookie = if cookie.is_empty() { String::new() } else { format!("cookie: {cookie}\r\n") };
    let asked = format!("{what} HTTP/1.1\r\nhost: shop\r\n{cookie}connection: close\r\n\r\n");
    stream.write_all(asked.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(Answer(answer))
}

/// Simulated connections for axum.
struct Listener(turmoil::net::TcpListener);

impl axum::serve::Listener for Listener {
    type Io = turmoil::net::TcpStream;
    type Addr = std::net::SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            if let Ok(accepted) = self.0.accept().await {
                return accepted;
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.0.local_addr()
    }
}
