//! Requests to the servers of a world, and their answers.

use std::rc::Rc;
use std::time::Duration;

use grapevine_core::{
    Event, ReadPolicy, Request, RequestError, RequestId, Response, Served, Token,
};

use super::{Happening, World};

impl World {
    /// Hands a request to a server. The answer comes by [`World::answer`].
    pub fn request(&mut self, server: usize, request: Request) -> RequestId {
        let id = self.announce();
        self.submit(server, id, request);
        id
    }

    /// The number of the next request.
    pub(crate) const fn announce(&mut self) -> RequestId {
        self.requests += 1;
        RequestId(self.requests)
    }

    /// Hands over a request whose number is known already: its answer may come at once.
    pub(crate) fn submit(&mut self, server: usize, id: RequestId, request: Request) {
        let node = &self.nodes[server];
        if node.paused || node.busy > self.now {
            let (life, request) = (node.life, Rc::new(request));
            return self.happen(Happening::Request { server, life, id, request });
        }
        self.take_request(server, id, request);
    }

    /// A server is given a request, here and now.
    pub(super) fn take_request(&mut self, server: usize, id: RequestId, request: Request) {
        self.trace.asked(self.now, server, &request);
        self.handle(server, Event::Request { id, request });
    }

    /// The answer to a request, if it has come.
    pub fn answer(&self, id: RequestId) -> Option<&Result<Response, RequestError>> {
        self.answers.get(&id)
    }

    /// Hands a request to a server and runs the world until it is answered.
    ///
    /// # Errors
    /// The request's error.
    ///
    /// # Panics
    /// If there is no answer within a minute: every request gets one (G7).
    pub fn ask(&mut self, server: usize, request: Request) -> Result<Served, RequestError> {
        match self.ask_any(server, request)? {
            Response::Session(served) => Ok(served),
            other => panic!("expected a session, got {other:?}"),
        }
    }

    /// The same, for requests that don't answer with a session.
    ///
    /// # Errors
    /// The request's error.
    ///
    /// # Panics
    /// If there is no answer within a minute.
    pub fn ask_any(&mut self, server: usize, request: Request) -> Result<Response, RequestError> {
        let id = self.request(server, request);
        let until = self.now + Duration::from_secs(60);
        loop {
            if let Some(answer) = self.answers.remove(&id) {
                return answer;
            }
            assert!(self.now < until, "no answer within a minute");
            self.step();
        }
    }

    /// Reads a session at a server, as a customer who doesn't know the token's newest form would.
    ///
    /// # Errors
    /// The request's error.
    pub fn read(&mut self, server: usize, token: &Token) -> Result<Served, RequestError> {
        let policy = ReadPolicy::Fresh;
        self.ask(server, Request::Read { token: token.clone(), policy })
    }
}
