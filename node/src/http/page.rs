//! The shop page: the same cart at every server, for a person with a browser.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use grapevine_tokio::{Acks, Change, Create, Error, Key, Served, Value};
use serde_json::value::RawValue;

use super::carried::{Carried, Way};
use super::error::{Code, Problem};
use super::json::attributes;
use super::sessions::end;
use super::{App, Shared};

mod template;

use template::{escape, fill};

const PAGE: &str = include_str!("page/page.html");
const STYLE_ONLY: &str = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; \
                          base-uri 'none'; frame-ancestors 'none'";

/// What the shop sells: SKU, name, price in cents, picture.
const SHELF: [(&str, &str, u64, &str); 6] = [
    ("tea", "Darjeeling, first flush", 1290, "🍵"),
    ("honey", "Heather honey", 840, "🍯"),
    ("bread", "Sourdough loaf", 560, "🍞"),
    ("cheese", "Alpine cheese", 1475, "🧀"),
    ("grapes", "Muscat grapes", 395, "🍇"),
    ("pot", "Teapot, half a litre", 3250, "🫖"),
];

/// `GET /`: the page. It makes no session: a visitor who buys nothing leaves nothing.
pub(super) async fn show(State(app): State<Shared>, headers: HeaderMap) -> Response {
    let way = Way::of(&app, &headers, true);
    let carried = match Carried::from_cookies(&app, &headers) {
        Ok(Some(carried)) => carried,
        // A cookie that isn't this farm's is none.
        Ok(None) | Err(_) => return page(&app, None, "", way).await,
    };
    match app.grapevine.read(&carried.token).await {
        Ok(served) => page(&app, Some(&served), "", way).await,
        Err(error) => {
            let problem = Problem::from(error);
            let mut response = page(&app, None, problem.message(), way).await;
            if problem.is_the_end() {
                way.forget(&app, response.headers_mut());
            } else if problem.code != Code::MalformedToken {
                *response.status_mut() = problem.code.status();
            }
            response
        }
    }
}

/// `POST /shop/add/{sku}`: one more of it in the cart; the first one makes the session.
pub(super) async fn add(
    State(app): State<Shared>,
    sku: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let sold = SHELF.iter().find(|item| sku.as_ref().is_ok_and(|Path(sku)| item.0 == sku));
    let Some((sku, ..)) = sold else {
        return Err(Problem::new(Code::NoSuchRoute, "the shop does not sell this"));
    };
    let key = |text: &str| Key::new(text).map_err(|error| Problem::of_key(&error, text));
    let change = vec![Change::Add(key(&format!("cart/{sku}"))?, 1)];
    let way = Way::of(&app, &headers, true);
    let served = match Carried::from_cookies(&app, &headers).ok().flatten() {
        Some(Carried { token, .. }) => {
            match app.grapevine.change(&token, change.clone(), Acks::Local).await {
                Err(error) if is_over(&error) => add_to_new(&app, key("user")?, change).await?,
                outcome => outcome?,
            }
        }
        None => add_to_new(&app, key("user")?, change).await?,
    };
    let mut response = back();
    let parts = way.parts(&app, &served.token);
    way.keep(&app, response.headers_mut(), &parts, Some(served.session.fixed.deadline));
    Ok(response)
}

fn is_over(error: &Error) -> bool {
    match error {
        Error::Token(_) => true,
        Error::Request(error) => Problem::from(error.clone()).is_the_end(),
        _ => false,
    }
}

async fn add_to_new(app: &App, user: Key, change: Vec<Change>) -> Result<Served, Problem> {
    let guest = Create { attributes: vec![(user, Value::from("\"guest\""))], ..Create::default() };
    let created = app.grapevine.create(guest).await?;
    Ok(app.grapevine.change(&created.token, change, Acks::Local).await?)
}

/// `POST /shop/leave`: ends the session.
pub(super) async fn leave(
    State(app): State<Shared>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if let Ok(Some(carried)) = Carried::from_cookies(&app, &headers)
        && let Err(error) = end(&app, &carried.token, None).await
        && !matches!(error, Error::NotReplicated { .. })
        && !is_over(&error)
    {
        return Err(error.into());
    }
    let mut response = back();
    Way::of(&app, &headers, true).forget(&app, response.headers_mut());
    Ok(response)
}

fn back() -> Response {
    let headers = [(header::LOCATION, HeaderValue::from_static("/"))];
    (StatusCode::SEE_OTHER, headers).into_response()
}

async fn page(app: &App, served: Option<&Served>, problem: &str, way: Way) -> Response {
    let number = app.number();
    let hue = u32::from(number) * 137 % 360;
    let body = fill(PAGE, |name| match name {
        "server" => number.to_string(),
        "hue" => hue.to_string(),
        "note" => note(served, problem),
        "cart" => cart(served),
        "shelf" => shelf(),
        "sites" => sites(&app.sites),
        other => unreachable!("the page has no part named {other}; a test fills it whole"),
    });
    let mut response = axum::response::Html(body).into_response();
    response
        .headers_mut()
        .insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(STYLE_ONLY));
    if let Some(served) = served {
        let parts = way.parts(app, &served.token);
        way.keep(app, response.headers_mut(), &parts, Some(served.session.fixed.deadline));
    }
    response
}

fn note(served: Option<&Served>, problem: &str) -> String {
    let text = match served {
        Some(served) if served.lost => "Some of your last changes were lost with a server.",
        Some(served) if served.stale => "This may not be the newest state.",
        _ => problem,
    };
    if text.is_empty() { String::new() } else { format!("<p class=note>{}</p>", escape(text)) }
}

fn cart(served: Option<&Served>) -> String {
    let lines = served.map(|served| lines(&attributes(&served.session))).unwrap_or_default();
    if lines.is_empty() {
        return "<p class=empty>Nothing yet. Take something, then look at another server.</p>"
            .into();
    }
    let total: u64 = lines.iter().map(|line| line.cents).fold(0, u64::saturating_add);
    let rows: String = lines.iter().map(Line::row).collect();
    format!(
        "<table>{rows}<tr class=total><td colspan=2>Total</td><td>{}</td></tr></table>\
         <form method=post action=/shop/leave><button class=quiet>End this session</button></form>",
        price(total)
    )
}

struct Line {
    name: String,
    count: String,
    cents: u64,
}

impl Line {
    fn row(&self) -> String {
        let (name, count) = (escape(&self.name), escape(&self.count));
        format!("<tr><td>{name}</td><td>{count} ×</td><td>{}</td></tr>", price(self.cents))
    }
}

type Attributes<'a> = std::collections::BTreeMap<&'a str, Box<RawValue>>;

fn lines(attributes: &Attributes<'_>) -> Vec<Line> {
    let mut lines = Vec::new();
    for (key, value) in attributes {
        let Some(sku) = key.strip_prefix("cart/") else { continue };
        let item = SHELF.iter().find(|item| item.0 == sku);
        let count: u64 = value.get().parse().unwrap_or(0);
        lines.push(Line {
            name: item.map_or_else(|| sku.into(), |item| format!("{} {}", item.3, item.1)),
            count: value.get().chars().take(20).collect(),
            cents: item.map_or(0, |item| item.2.saturating_mul(count)),
        });
    }
    lines
}

fn price(cents: u64) -> String {
    format!("{}.{:02} €", cents / 100, cents % 100)
}

fn shelf() -> String {
    SHELF
        .iter()
        .map(|(sku, name, cents, picture)| {
            format!(
                "<li><span class=picture>{picture}</span><span class=name>{}</span>\
                 <span class=price>{}</span><form method=post action=/shop/add/{sku}>\
                 <button>Take one</button></form></li>",
                escape(name),
                price(*cents)
            )
        })
        .collect()
}

fn sites(sites: &[String]) -> String {
    if sites.is_empty() {
        return "<p class=empty>This server was not told where the others serve customers \
                (<code>--site</code>).</p>"
            .into();
    }
    let link = |site: &String| {
        let site = site.trim_end_matches('/');
        let shown = site.split_once("://").map_or(site, |(_, rest)| rest);
        format!("<li><a href=\"{}/\">{}</a></li>", escape(site), escape(shown))
    };
    format!("<ul class=sites>{}</ul>", sites.iter().map(link).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cart_line_can_not_bring_markup_into_the_page() {
        let raw = |text: &str| RawValue::from_string(text.into()).unwrap();
        let attributes = Attributes::from([
            ("cart/<script>alert(1)</script>", raw("\"<img onerror=x>\"")),
            ("cart/tea", raw("2")),
            ("user", raw("\"ann\"")),
        ]);
        let lines = lines(&attributes);
        let rows: String = lines.iter().map(Line::row).collect();
        assert!(!rows.contains("<script") && !rows.contains("<img"), "{rows}");
        assert_eq!(lines.len(), 2, "only cart lines are shown");
        assert_eq!(lines[1].cents, 2580);
    }

    #[test]
    fn links_to_the_others_are_whole_and_escaped() {
        let list = sites(&["http://127.0.0.1:8402".into(), "http://127.0.0.1:8403/".into()]);
        assert!(list.contains("<a href=\"http://127.0.0.1:8402/\">127.0.0.1:8402</a>"), "{list}");
        assert!(list.contains("<a href=\"http://127.0.0.1:8403/\">"), "{list}");
        assert!(sites(&["http://a?x&y".into()]).contains("a?x&amp;y"));
    }

    #[test]
    fn the_page_has_all_its_parts_and_loads_nothing_from_elsewhere() {
        let mut parts = Vec::new();
        let page = fill(PAGE, |name| {
            parts.push(name.to_string());
            String::new()
        });
        parts.sort();
        parts.dedup();
        assert_eq!(parts, ["cart", "hue", "note", "server", "shelf", "sites"]);
        for outside in ["http:", "https:", "src=", "<script", "<link"] {
            assert!(!page.contains(outside), "{outside}");
        }
    }
}
