//! The calls on sessions.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use grapevine_tokio::{Acks, Error, Member, Served, State as Life};

use super::application::Application;
use super::body::Bytes;
use super::carried::{Carried, Way};
use super::error::Problem;
use super::json::{Changes, NewSession, Replacement, Reply, decode};
use super::query::{AcksQuery, PolicyQuery};
use super::{App, Shared};

/// `POST /sessions`: a new session (R57a, R83).
pub(super) async fn create(
    State(app): State<Shared>,
    headers: HeaderMap,
    application: Result<Application, Problem>,
    AcksQuery(acks): AcksQuery,
    Bytes(body): Bytes,
) -> Result<Response, Response> {
    let way = Way::of(&app, &headers, true);
    let refuse = |problem: Problem| way.refuse(&app, problem);
    let new = if body.is_empty() { Ok(NewSession::default()) } else { decode(&body) };
    let mut new = new.and_then(|new| new.into_create(app.grapevine.farm())).map_err(refuse)?;
    if new.principal.is_some() {
        application.map_err(refuse)?;
    }
    new.acks = acks.unwrap_or_default();
    match app.grapevine.create(new).await {
        Ok(served) => Ok(show(&app, StatusCode::CREATED, &served, way)),
        Err(error) => Err(refuse(error.into())),
    }
}

/// `GET`: the session (R82).
pub(super) async fn read(
    State(app): State<Shared>,
    carried: Carried,
    PolicyQuery(policy): PolicyQuery,
) -> Response {
    answer(&app, &carried, app.grapevine.read_with(&carried.token, policy).await)
}

/// `PATCH`: changes some attributes (modify: R61).
pub(super) async fn change(
    State(app): State<Shared>,
    carried: Carried,
    AcksQuery(acks): AcksQuery,
    Bytes(body): Bytes,
) -> Result<Response, Problem> {
    let changes = decode::<Changes>(&body)?.into_changes()?;
    let acks = acks.unwrap_or_default();
    Ok(answer(&app, &carried, app.grapevine.change(&carried.token, changes, acks).await))
}

/// `PUT`: replaces all attributes (delete and add: R62).
pub(super) async fn replace(
    State(app): State<Shared>,
    carried: Carried,
    AcksQuery(acks): AcksQuery,
    Bytes(body): Bytes,
) -> Result<Response, Problem> {
    let attributes = decode::<Replacement>(&body)?.into_attributes()?;
    let acks = acks.unwrap_or_default();
    Ok(answer(&app, &carried, app.grapevine.replace(&carried.token, attributes, acks).await))
}

/// `DELETE`: ends the session.
pub(super) async fn delete(
    State(app): State<Shared>,
    carried: Carried,
    AcksQuery(acks): AcksQuery,
) -> Response {
    match end(&app, &carried.token, acks).await {
        Ok(()) => {
            let mut headers = HeaderMap::new();
            carried.way.forget(&app, &mut headers);
            (StatusCode::NO_CONTENT, headers).into_response()
        }
        Err(error) => carried.way.refuse(&app, error.into()),
    }
}

/// Ends a session. Unless the customer says how many servers to wait for, it waits for all live
/// ones, for "from then on 404 everywhere", and settles for one, so that no single crash can undo
/// a logout.
pub(super) async fn end(app: &App, token: &str, acks: Option<Acks>) -> Result<(), Error> {
    let wait = wait_for_end(app, acks).await;
    settled(acks, app.grapevine.delete(token, wait).await)
}

/// Whom the end of a session, or of many, waits for.
pub(super) async fn wait_for_end(app: &App, acks: Option<Acks>) -> Acks {
    match acks {
        Some(acks) => acks,
        None => default_end(app.grapevine.farm().size > 1 && nobody_else_lives(app).await),
    }
}

/// If the customer didn't say whom to wait for, one is enough.
pub(super) fn settled(acks: Option<Acks>, outcome: Result<(), Error>) -> Result<(), Error> {
    match outcome {
        Err(Error::NotReplicated { acked: 1.., .. }) if acks.is_none() => Ok(()),
        outcome => outcome,
    }
}

/// Whom the end of a session waits for if the customer says nothing: everybody who lives; where
/// nobody does, "all" would be nobody, and it waits for one.
const fn default_end(alone: bool) -> Acks {
    if alone { Acks::Peers(1) } else { Acks::All }
}

async fn nobody_else_lives(app: &App) -> bool {
    let lives = |member: &Member| !matches!(member.state, Life::Down | Life::Left);
    app.grapevine.status().await.is_ok_and(|status| !status.members.iter().any(lives))
}

pub(super) fn answer(app: &App, carried: &Carried, outcome: Result<Served, Error>) -> Response {
    match outcome {
        Ok(served) => show(app, StatusCode::OK, &served, carried.way),
        Err(error) => carried.way.refuse(app, error.into()),
    }
}

fn show(app: &App, status: StatusCode, served: &Served, way: Way) -> Response {
    let parts = way.parts(app, &served.token);
    let mut response = (status, Json(Reply::new(served, &parts, app.number()))).into_response();
    way.keep(app, response.headers_mut(), &parts, Some(served.session.fixed.deadline));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delete_waits_for_every_live_server_unless_it_says_otherwise() {
        assert_eq!(default_end(false), Acks::All);
        assert_eq!(default_end(true), Acks::Peers(1));
    }
}
