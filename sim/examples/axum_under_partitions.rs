//! A shop's carts: an axum service on Grapevine, and its test under a partition, in simulated time.
//!
//! Nothing of the service knows that it is simulated: in yours, `use grapevine_tokio::…` stands where this says
//! `grapevine_sim::turmoil`, and `#[cfg(test)]` chooses between the two.

use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::routing::{get, post};
use grapevine_sim::turmoil::http::{Listener, ask};
use grapevine_sim::turmoil::{Create, Error, Grapevine, Served, cut, host, mend, network, server};
use tokio::time::sleep;

type Page = Result<([(HeaderName, String); 1], String), (StatusCode, String)>;

fn service(grapevine: Grapevine) -> Router {
    let routes = Router::new().route("/cart/{item}", post(add)).route("/cart", get(show));
    routes.with_state(grapevine)
}

fn token(headers: &HeaderMap) -> &str {
    headers.get(COOKIE).and_then(|cookie| cookie.to_str().ok()).unwrap_or_default()
}

async fn add(State(farm): State<Grapevine>, item: Path<String>, headers: HeaderMap) -> Page {
    let mut token = token(&headers).to_owned();
    if token.is_empty() {
        token = farm.create(Create::default()).await.map_err(refused)?.token;
    }
    page(farm.update(&token, |cart| _ = cart.add(&item, 1)).await)
}

async fn show(State(farm): State<Grapevine>, headers: HeaderMap) -> Page {
    page(farm.read(token(&headers)).await)
}

fn page(served: Result<Served, Error>) -> Page {
    let Served { session, token, .. } = served.map_err(refused)?;
    let items = session.iter().map(|(item, _)| format!("{item} "));
    Ok(([(SET_COOKIE, token)], items.collect()))
}

fn refused(error: Error) -> (StatusCode, String) {
    (StatusCode::SERVICE_UNAVAILABLE, error.to_string())
}

fn main() {
    let mut sim = network(7).build();
    for number in 1..=3 {
        sim.host(host(number), move || async move {
            let grapevine = server(number, 3, 7).start().await?;
            Ok(axum::serve(Listener::bind(80).await?, service(grapevine)).await?)
        });
    }
    sim.client("customer", async {
        sleep(Duration::from_secs(3)).await;
        let cookie = ask(&host(1), 80, "POST /cart/tea", "").await?.cookie;
        sleep(Duration::from_secs(1)).await;
        cut(&[1], &[2, 3]);
        // Both sides go on; and no server shows an older cart than its customer has seen.
        let one = ask(&host(1), 80, "POST /cart/milk", &cookie).await?.cookie;
        let other = ask(&host(2), 80, "POST /cart/bread", &cookie).await?.cookie;
        assert_eq!(ask(&host(2), 80, "GET /cart", &one).await?.status, 503);
        mend(&[1], &[2, 3]);
        sleep(Duration::from_secs(10)).await;
        for (number, cookie) in [(1, &other), (2, &one), (3, &one), (3, &other)] {
            let cart = ask(&host(number), 80, "GET /cart", cookie).await?.body;
            assert_eq!(cart, "bread milk tea ", "server {number}");
        }
        Ok(())
    });
    sim.run().expect("the shop works");
}

#[test]
fn carts_survive_a_partition() {
    main();
}
