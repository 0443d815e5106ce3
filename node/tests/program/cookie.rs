//! The token in a cookie.

use reqwest::header::{COOKIE, SET_COOKIE};
use serde_json::json;

use crate::farm::Farm;

struct Browser<'a> {
    farm: &'a Farm,
    cookie: Option<String>,
}

impl Browser<'_> {
    /// Sends a request with the cookie, and keeps what the response sets.
    async fn send(&mut self, method: &str, at: usize, path: &str, body: &str) -> (u16, String) {
        let method = method.parse::<reqwest::Method>().unwrap();
        let mut request = self.farm.http.request(method, self.farm.url(at, path));
        if let Some(token) = &self.cookie {
            request = request.header(COOKIE, format!("other=1; grapevine={token}"));
        }
        let response = request.body(body.to_string()).send().await.unwrap();
        if let Some(set) = response.headers().get(SET_COOKIE) {
            let set = set.to_str().unwrap();
            for part in ["Path=/", "HttpOnly", "SameSite=Lax", "Max-Age="] {
                assert!(set.contains(part), "{part} in {set}");
            }
            let value = set.strip_prefix("grapevine=").unwrap().split(';').next().unwrap();
            self.cookie = (!set.contains("Max-Age=0")).then(|| value.to_string());
        }
        (response.status().as_u16(), response.text().await.unwrap())
    }
}

#[tokio::test]
async fn a_browser_goes_from_server_to_server_with_its_cookie_alone() {
    let farm = Farm::start(3).await;
    let mut browser = Browser { farm: &farm, cookie: None };
    let (status, error) = browser.send("GET", 0, "/session", "").await;
    assert!(status == 404 && error.contains("no_cookie"), "{error}");

    let body = r#"{"attributes": {"user": "ann"}}"#;
    assert_eq!(browser.send("POST", 0, "/sessions", body).await.0, 201);
    let first = browser.cookie.clone().expect("the cookie was set");
    let (status, _) = browser.send("PATCH", 1, "/session", r#"{"add": {"cart/tea": 1}}"#).await;
    assert_eq!(status, 200);
    assert_ne!(browser.cookie.as_ref(), Some(&first), "each response refreshes the cookie");
    let (status, shown) = browser.send("GET", 2, "/session", "").await;
    assert!(status == 200 && shown.contains("\"cart/tea\":1"), "{shown}");
    let put = r#"{"attributes": {"user": "bob"}}"#;
    assert_eq!(browser.send("PUT", 0, "/session?acks=1", put).await.0, 200);

    let last = browser.cookie.clone();
    assert_eq!(browser.send("DELETE", 1, "/session", "").await.0, 204);
    assert_eq!(browser.cookie, None, "the cookie was cleared");
    browser.cookie = last;
    let (status, error) = browser.send("GET", 2, "/session", "").await;
    assert!(status == 404 && error.contains("\"ended\""), "{error}");
    assert_eq!(browser.cookie, None, "the cookie of a session that is over is cleared");
}

#[tokio::test]
async fn the_cookie_is_left_alone_where_the_token_is_in_the_path_or_nothing_is_certain() {
    let farm = Farm::start(1).await;
    let carried = farm.create(0, "{}").await;
    let url = farm.url(0, &format!("/sessions/{carried}"));
    let response = farm.http.get(&url).header(COOKIE, "grapevine=x").send().await.unwrap();
    assert_eq!(response.status(), 200, "the token of the path counts");
    assert!(response.headers().get(SET_COOKIE).is_none());
    let response = farm.http.delete(&url).send().await.unwrap();
    assert_eq!(response.status(), 204);
    assert!(response.headers().get(SET_COOKIE).is_none());

    let foreign = farm.http.get(farm.url(0, "/session")).header(COOKIE, "grapevine=foreign");
    let response = foreign.send().await.unwrap();
    assert_eq!(response.status(), 404);
    assert!(response.headers().get(SET_COOKIE).is_none(), "it may be another farm's cookie");
}

#[tokio::test]
async fn pages_of_other_sites_can_not_write() {
    let farm = Farm::start(1).await;
    let carried = farm.create(0, "{}").await;
    let request = |method: reqwest::Method, site: &str| {
        let url = farm.url(0, "/session");
        let cookie = format!("grapevine={carried}");
        farm.http.request(method, url).header(COOKIE, cookie).header("sec-fetch-site", site)
    };
    let body = json!({ "set": { "a": 1 } }).to_string();
    let foreign = request(reqwest::Method::PATCH, "cross-site").body(body.clone());
    let response = foreign.send().await.unwrap();
    assert_eq!(response.status(), 403);
    assert!(response.text().await.unwrap().contains("cross_site"));
    assert_eq!(farm.attributes(0, &carried).await, json!({}));
    let link = request(reqwest::Method::GET, "cross-site").send().await.unwrap();
    assert_eq!(link.status(), 200, "following a link is no write");
    let own = request(reqwest::Method::PATCH, "same-origin").body(body).send().await.unwrap();
    assert_eq!(own.status(), 200);
}

#[tokio::test]
async fn the_cookie_has_the_name_that_is_configured() {
    let farm = Farm::start_with(1, "cookie = '__Host-shop'").await;
    let response = farm.http.post(farm.url(0, "/sessions")).send().await.unwrap();
    let set = response.headers()[SET_COOKIE].to_str().unwrap();
    assert!(set.starts_with("__Host-shop=") && set.contains("; Secure"), "{set}");
}
