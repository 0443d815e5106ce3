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

/// Sends a request with a context in the header; returns the status, the newer context and the body.
async fn with_context(
    farm: &Farm,
    (method, at, path): (&str, usize, &str),
    context: &str,
    body: &str,
) -> (u16, Option<String>, serde_json::Value) {
    let method = method.parse::<reqwest::Method>().unwrap();
    let request = farm.http.request(method, farm.url(at, path)).header(CONTEXT, context);
    let response = request.body(body.to_string()).send().await.unwrap();
    let newer = response.headers().get(CONTEXT).map(|value| value.to_str().unwrap().to_string());
    let (status, text) = (response.status().as_u16(), response.text().await.unwrap());
    (status, newer, serde_json::from_str(&text).unwrap_or_default())
}

const CONTEXT: &str = "grapevine-context";

#[tokio::test]
async fn an_id_that_never_changes_goes_with_a_context_in_a_header() {
    let farm = Farm::start(3).await;
    let (status, context, made) = with_context(&farm, ("POST", 0, "/sessions"), "", "{}").await;
    assert_eq!(status, 201);
    let id = made["token"].as_str().unwrap().to_string();
    let context = context.expect("the context comes back in the header");
    assert_eq!((id.len(), made["context"].as_str()), (79, Some(context.as_str())));

    let path = format!("/sessions/{id}");
    let add = r#"{"add": {"cart/tea": 1}}"#;
    let (status, newer, shown) = with_context(&farm, ("PATCH", 1, &path), &context, add).await;
    assert_eq!((status, shown["token"].as_str()), (200, Some(id.as_str())), "the ID stays");
    let newer = newer.unwrap();
    assert!(!newer.is_empty() && newer != context, "the write is in the context");
    let (status, _, shown) = with_context(&farm, ("GET", 2, &path), &newer, "").await;
    assert_eq!((status, &shown["session"]["attributes"]), (200, &json!({"cart/tea": 1})));

    let (_, foreign, _) = with_context(&farm, ("POST", 0, "/sessions"), "", "{}").await;
    for wrong in [foreign.unwrap().as_str(), "x", "ä", &newer[1..]] {
        let (status, _, error) = with_context(&farm, ("GET", 2, &path), wrong, "").await;
        assert_eq!((status, error["code"].as_str()), (404, Some("malformed_token")), "{wrong}");
    }
    let twice = farm.http.get(farm.url(2, &path)).header(CONTEXT, &newer).header(CONTEXT, "");
    let refused = twice.send().await.unwrap();
    assert!(refused.status() == 404 && refused.text().await.unwrap().contains("stands twice"));
    let alone = farm.http.get(farm.url(0, &path)).send().await.unwrap();
    assert_eq!(alone.status(), 200, "the ID is a token by itself");
}

#[tokio::test]
async fn where_it_is_configured_the_context_has_a_cookie_of_its_own() {
    let farm = Farm::start_with(3, "context_cookie = 'seen'").await;
    let mut jar = Jar::new();
    jar.send(&farm, "POST", 0, "/sessions", "{}").await;
    let id = jar.get("grapevine").unwrap().to_string();
    let first = jar.get("seen").expect("the context has its cookie").to_string();
    assert_eq!(id.len(), 79);
    let (status, _) = jar.send(&farm, "PATCH", 1, "/session", r#"{"set": {"a": 1}}"#).await;
    assert_eq!((status, jar.get("grapevine")), (200, Some(id.as_str())), "the ID stays");
    assert_ne!(jar.get("seen"), Some(first.as_str()));
    let (_, shown) = jar.send(&farm, "GET", 2, "/session", "").await;
    assert!(shown.contains(r#""a":1"#), "{shown}");

    // The context of another session does not fit; it is thrown away, and the session is not.
    let mut other = Jar::new();
    other.send(&farm, "POST", 1, "/sessions", "{}").await;
    jar.put("seen", other.get("seen").unwrap().to_string());
    let (status, error) = jar.send(&farm, "GET", 2, "/session", "").await;
    assert!(status == 404 && error.contains("malformed_token"), "{error}");
    assert_eq!((jar.get("seen"), jar.get("grapevine")), (None, Some(id.as_str())));
    assert_eq!(jar.send(&farm, "GET", 2, "/session", "").await.0, 200);

    let (status, page) = jar.send(&farm, "GET", 1, "/", "").await;
    assert_eq!((status, jar.get("grapevine")), (200, Some(id.as_str())), "{page}");
    assert_eq!(jar.send(&farm, "POST", 1, "/shop/add/tea", "").await.0, 303);
    let (_, shown) = jar.send(&farm, "GET", 0, "/session", "").await;
    assert!(shown.contains(r#""cart/tea":1"#), "{shown}");
    assert_eq!(jar.send(&farm, "DELETE", 0, "/session", "").await.0, 204);
    assert_eq!((jar.get("seen"), jar.get("grapevine")), (None, None));
}

/// The cookies of a browser.
struct Jar {
    cookies: std::collections::BTreeMap<String, String>,
    http: reqwest::Client,
}

impl Jar {
    /// A browser that shows what a redirect says, and doesn't follow it.
    fn new() -> Self {
        let http =
            reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
        Self { cookies: std::collections::BTreeMap::new(), http: http.build().unwrap() }
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.cookies.get(name).map(String::as_str)
    }

    fn put(&mut self, name: &str, value: String) {
        self.cookies.insert(name.into(), value);
    }

    async fn send(
        &mut self,
        farm: &Farm,
        method: &str,
        at: usize,
        path: &str,
        body: &str,
    ) -> (u16, String) {
        let method = method.parse::<reqwest::Method>().unwrap();
        let pairs: Vec<String> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request =
            self.http.request(method, farm.url(at, path)).header(COOKIE, pairs.join("; "));
        let response = request.body(body.to_string()).send().await.unwrap();
        for set in response.headers().get_all(SET_COOKIE) {
            let set = set.to_str().unwrap();
            let (name, rest) = set.split_once('=').unwrap();
            let value = rest.split(';').next().unwrap().to_string();
            if set.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.into(), value);
            }
        }
        (response.status().as_u16(), response.text().await.unwrap())
    }
}
