//! The calls on sessions.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use grapevine_tokio::{Acks, Error, Farm, Member, Served, State as Life};

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

/// Ends a session, as `docs/http.md` says for whom it waits.
pub(super) async fn end(app: &App, token: &str, acks: Option<Acks>) -> Result<(), Error> {
    let wait = WaitForEnd::now(app, acks).await;
    wait.settled(app.grapevine.delete(token, wait.acks).await)
}

/// Whom the end of a session, or of many, waits for. Unless the customer or the farm's `acks` ask for
/// more than one other server, these are all that live, for "from then on 404 everywhere"; and one of
/// them is enough in the end, so that no single crash can undo a logout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WaitForEnd {
    pub(super) acks: Acks,
    one_is_enough: bool,
}

impl WaitForEnd {
    /// The same where nobody else lives: "all" could be nobody there, and it waits for one.
    pub(super) async fn now(app: &App, asked: Option<Acks>) -> Self {
        let farm = app.grapevine.farm();
        let wait = Self::new(farm, asked);
        if wait.one_is_enough && farm.size > 1 && nobody_else_lives(app).await {
            return Self { acks: Acks::Peers(1), ..wait };
        }
        wait
    }

    fn new(farm: &Farm, asked: Option<Acks>) -> Self {
        match asked {
            Some(acks) => Self { acks, one_is_enough: false },
            None if wants_one_at_most(farm) => Self { acks: Acks::All, one_is_enough: true },
            None => Self { acks: Acks::Farm, one_is_enough: false },
        }
    }

    pub(super) fn settled(self, outcome: Result<(), Error>) -> Result<(), Error> {
        match outcome {
            Err(Error::NotReplicated { acked: 1.., .. }) if self.one_is_enough => Ok(()),
            outcome => outcome,
        }
    }
}

async fn nobody_else_lives(app: &App) -> bool {
    let lives = |member: &Member| !matches!(member.state, Life::Down | Life::Left);
    app.grapevine.status().await.is_ok_and(|status| !status.members.iter().any(lives))
}

fn wants_one_at_most(farm: &Farm) -> bool {
    match farm.acks {
        Acks::Farm | Acks::Local => true,
        Acks::Peers(peers) => peers <= 1,
        Acks::Majority => farm.majority() <= 2,
        // However few live: all of them.
        Acks::All => false,
    }
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
    fn an_end_settles_for_one_only_where_neither_customer_nor_farm_ask_for_more() {
        let farm = |size, acks| Farm { size, acks, ..Farm::default() };
        let settles = WaitForEnd { acks: Acks::All, one_is_enough: true };
        let does_not = |acks| WaitForEnd { acks, one_is_enough: false };
        let table = [
            (3, Acks::Local, None, settles),
            (3, Acks::Peers(0), None, settles),
            (3, Acks::Peers(1), None, settles),
            (3, Acks::Peers(2), None, does_not(Acks::Farm)),
            (3, Acks::Majority, None, settles),
            (5, Acks::Majority, None, does_not(Acks::Farm)),
            (3, Acks::All, None, does_not(Acks::Farm)),
            (3, Acks::Local, Some(Acks::All), does_not(Acks::All)),
            (3, Acks::Peers(2), Some(Acks::Local), does_not(Acks::Local)),
        ];
        for (size, acks, asked, wanted) in table {
            assert_eq!(
                WaitForEnd::new(&farm(size, acks), asked),
                wanted,
                "{size} {acks:?} {asked:?}"
            );
        }
        let few = |acked| Err(Error::NotReplicated { acked, wanted: 2, token: None, lost: false });
        assert_eq!(settles.settled(few(1)), Ok(()));
        assert_eq!(settles.settled(few(0)), few(0), "nobody has it");
        assert_eq!(does_not(Acks::Farm).settled(few(1)), few(1));
    }
}
