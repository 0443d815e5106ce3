//! The shop page.

use reqwest::header::{CONTENT_SECURITY_POLICY, COOKIE, LOCATION, SET_COOKIE};
use serde_json::json;

use crate::farm::Farm;

async fn page(farm: &Farm, at: usize, token: Option<&str>) -> (u16, String) {
    let mut request = farm.http.get(farm.url(at, "/"));
    if let Some(token) = token {
        request = request.header(COOKIE, format!("grapevine={token}"));
    }
    let response = request.send().await.unwrap();
    assert!(response.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap().contains("'none'"));
    assert!(response.headers()["content-type"].to_str().unwrap().starts_with("text/html"));
    (response.status().as_u16(), response.text().await.unwrap())
}

/// Presses a button and gives the token that the browser then has.
async fn press(farm: &Farm, at: usize, path: &str, token: Option<&str>) -> Option<String> {
    let client =
        reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build();
    let mut request = client.unwrap().post(farm.url(at, path));
    if let Some(token) = token {
        request = request.header(COOKIE, format!("grapevine={token}"));
    }
    let response = request.send().await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()[LOCATION]),
        (303, &"/".parse().unwrap())
    );
    let set = response.headers()[SET_COOKIE].to_str().unwrap();
    let token = set.strip_prefix("grapevine=").unwrap().split(';').next().unwrap();
    (!token.is_empty()).then(|| token.to_string())
}

#[tokio::test]
async fn the_cart_that_is_filled_at_one_server_is_shown_at_the_others() {
    let farm = Farm::start_with(3, "sites = ['http://127.0.0.1:1', 'http://127.0.0.1:2/']").await;
    let (status, html) = page(&farm, 0, None).await;
    assert_eq!(status, 200);
    assert!(html.contains("served by server 1") && html.contains("Nothing yet"), "{html}");
    assert!(html.contains("href=\"http://127.0.0.1:1/\"") && html.contains("127.0.0.1:2/\""));
    assert_eq!(farm.get(0, "/digest").await.1["sessions"], 0, "who only looks leaves nothing");

    let token = press(&farm, 0, "/shop/add/tea", None).await.expect("a session was made");
    let token = press(&farm, 1, "/shop/add/tea", Some(&token)).await.unwrap();
    let token = press(&farm, 2, "/shop/add/pot", Some(&token)).await.unwrap();
    for at in 0..3 {
        let (status, html) = page(&farm, at, Some(&token)).await;
        assert_eq!(status, 200);
        assert!(html.contains(&format!("served by server {}", at + 1)));
        assert!(html.contains("Darjeeling") && html.contains("2 ×") && html.contains("58.30 €"));
        assert!(!html.contains(&token), "the token is in the cookie only");
    }
    assert_eq!(press(&farm, 1, "/shop/leave", Some(&token)).await, None);
    let (status, html) = page(&farm, 2, Some(&token)).await;
    assert!(status == 200 && html.contains("it was ended") && html.contains("Nothing yet"));
    let fresh = press(&farm, 2, "/shop/add/tea", Some(&token)).await.unwrap();
    assert_eq!(farm.attributes(0, &fresh).await["cart/tea"], 1, "a new session, a new cart");
}

#[tokio::test]
async fn what_customers_wrote_is_shown_and_never_run() {
    let farm = Farm::start(1).await;
    let evil = json!({ "attributes": {
        "cart/<script>alert(1)</script>": "<img src=x onerror=alert(2)>",
        "cart/{{server}}": "{{note}}",
    } });
    let token = farm.create(0, &evil.to_string()).await;
    let (_, html) = page(&farm, 0, Some(&token)).await;
    assert!(!html.contains("<script>") && !html.contains("<img"), "{html}");
    assert!(html.contains("&lt;script&gt;") && html.contains("{{server}}"));
}

#[tokio::test]
async fn the_shop_sells_only_what_it_has() {
    let farm = Farm::start(1).await;
    let (status, error) = farm.send("POST", 0, "/shop/add/%3Cb%3E", "").await;
    assert_eq!((status, &error["code"]), (404, &json!("no_such_route")));
    let (status, error) = farm.send("POST", 0, "/shop/add/%ff", "").await;
    assert_eq!((status, &error["code"]), (404, &json!("no_such_route")));
    let (status, _) = page(&farm, 0, Some("nonsense")).await;
    assert_eq!(status, 200, "a cookie of something else does not lock anybody out");
}
