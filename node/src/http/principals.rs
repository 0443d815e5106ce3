//! The calls on whose sessions they are: a new ID at log-in, a user's sessions, sign out everywhere.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use grapevine_tokio::Principal;

use super::Shared;
use super::application::Application;
use super::body::Bytes;
use super::carried::Carried;
use super::error::{Code, Problem};
use super::json::{List, NewId, decode, principal};
use super::query::{AcksQuery, PageQuery};
use super::sessions::{WaitForEnd, answer};

/// `POST .../rotate`: a new ID for a session, and the end of the old one.
pub(super) async fn rotate(
    State(app): State<Shared>,
    carried: Carried,
    application: Result<Application, Problem>,
    AcksQuery(acks): AcksQuery,
    Bytes(body): Bytes,
) -> Result<Response, Problem> {
    let new = if body.is_empty() { NewId::default() } else { decode::<NewId>(&body)? };
    let mut rotation = new.into_rotation(app.grapevine.farm())?;
    if rotation.principal.is_some() {
        application?;
    }
    rotation.acks = acks.unwrap_or(rotation.acks);
    Ok(answer(&app, &carried, app.grapevine.rotate(&carried.token, rotation).await))
}

/// `GET /principals/{principal}/sessions`: a page of them.
pub(super) async fn list(
    State(app): State<Shared>,
    _: Application,
    whose: Result<Path<String>, PathRejection>,
    page: PageQuery,
) -> Result<Response, Problem> {
    let listed = app.grapevine.sessions_of(&named(whose)?, page.after, page.most).await?;
    Ok(Json(List::new(&listed, app.number())).into_response())
}

/// `DELETE /principals/{principal}/sessions`: ends all of them, everywhere.
pub(super) async fn revoke(
    State(app): State<Shared>,
    _: Application,
    whose: Result<Path<String>, PathRejection>,
    AcksQuery(acks): AcksQuery,
) -> Result<Response, Problem> {
    let whose = named(whose)?;
    let wait = WaitForEnd::now(&app, acks).await;
    wait.settled(app.grapevine.revoke(&whose, wait.acks).await.map(drop))?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn named(whose: Result<Path<String>, PathRejection>) -> Result<Principal, Problem> {
    let Ok(Path(name)) = whose else {
        let message = "the principal in the path is not UTF-8";
        return Err(Problem::new(Code::OutOfRange, message).with("field", "principal"));
    };
    principal(&name)
}
