//! One process of a harness whose servers are all in this one: the server, and its customers, who ask it
//! there, through the handle that services have.

use std::future::{Future as _, poll_fn};
use std::sync::Arc;
use std::task::Poll;

use grapevine_core::{Request, RequestId, ServerId};
use parking_lot::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::adapter::{Builder, Grapevine, StartError, StopReason, Witness, Witnessed};
use super::{adapter, now, spawn_local};
use crate::harness::{KEY, Told, What};
use crate::scenario::Scenario;

#[path = "ask.rs"]
#[allow(clippy::duplicate_mod)]
mod ask;

/// What a server's customers do next.
enum Job {
    Ask(RequestId, Box<Request>),
    Show,
}

type Log = Arc<Mutex<Vec<Told>>>;

/// What a harness and its processes share.
#[derive(Clone)]
pub(super) struct Inside {
    log: Log,
    /// Where the customers of each running process wait.
    jobs: Arc<Mutex<Vec<Option<UnboundedSender<Job>>>>>,
}

impl Inside {
    /// For so many servers; none runs yet.
    pub(super) fn new(size: usize) -> Self {
        let jobs = (0..size).map(|_| None).collect();
        Self { log: Log::default(), jobs: Arc::new(Mutex::new(jobs)) }
    }

    /// What happened since the last call.
    pub(super) fn told(&self) -> Vec<Told> {
        std::mem::take(&mut *self.log.lock())
    }

    /// Has a customer ask a server. `false` if nobody is there to take it.
    pub(super) fn submit(&self, server: usize, id: RequestId, request: Request) -> bool {
        let job = Job::Ask(id, Box::new(request));
        self.jobs.lock()[server].as_ref().is_some_and(|jobs| jobs.send(job).is_ok())
    }

    /// Has every one of these servers tell what it shows. Returns how many will.
    pub(super) fn look(&self, of: impl Fn(usize) -> bool) -> usize {
        let jobs = self.jobs.lock();
        let these = jobs.iter().enumerate().filter(|&(server, _)| of(server));
        these.filter_map(|(_, jobs)| jobs.as_ref()?.send(Job::Show).ok()).count()
    }

    /// Nobody asks this process any more.
    pub(super) fn dies(&self, server: usize) {
        self.jobs.lock()[server] = None;
    }

    /// One process, from its start until the server stops.
    pub(super) async fn run(
        &self,
        index: usize,
        scenario: &Scenario,
        builder: Builder,
    ) -> Result<(), StartError> {
        let (ask, jobs) = unbounded_channel();
        self.jobs.lock()[index] = Some(ask);
        let log = Arc::clone(&self.log);
        let tell = move |server: ServerId, what| witness(&log, server, what);
        let builder = builder
            .farm_key(KEY)
            .farm(scenario.limits.farm(scenario.servers))
            .local(scenario.limits.local())
            .queue_frames(scenario.network.queue)
            .witness(Witness::new(tell));
        let grapevine = builder.start().await?;
        note(&self.log, index, What::Serves);
        serve(index, &self.log, grapevine, jobs).await;
        Ok(())
    }
}

/// Lets customers ask until the server stops.
async fn serve(index: usize, log: &Log, grapevine: Grapevine, mut jobs: UnboundedReceiver<Job>) {
    loop {
        tokio::select! { biased;
            reason = grapevine.stopped() => {
                if reason != StopReason::Left {
                    note(log, index, What::Stops(format!("{reason:?}")));
                }
                return;
            }
            job = jobs.recv() => match job {
                Some(Job::Ask(id, request)) => {
                    let (grapevine, log) = (grapevine.clone(), Arc::clone(log));
                    let mut asking = Box::pin(async move {
                        let outcome = ask::ask(&grapevine, *request).await;
                        note(&log, index, What::Answers { id, outcome });
                    });
                    // Begun before the next: of two requests that are the same, the first comes first.
                    let begun = poll_fn(|context| Poll::Ready(asking.as_mut().poll(context)));
                    if begun.await.is_pending() {
                        spawn_local(asking);
                    }
                }
                Some(Job::Show) => {
                    let (sessions, overflow) =
                        (grapevine.sessions(), grapevine.links().queue_overflow);
                    note(log, index, What::Shows { sessions, overflow });
                }
                // The harness is done with this process.
                None => return,
            }
        }
    }
}

fn witness(log: &Log, server: ServerId, what: Witnessed) {
    let what = match what {
        Witnessed::Starts { config, seed, now } => What::Starts { config, seed, now },
        Witnessed::Handles { now, event } => What::Handles { now, event },
        Witnessed::CarriesOut => What::CarriesOut,
    };
    note(log, usize::from(server.number()) - 1, what);
}

/// Notes what happened now.
fn note(log: &Log, server: usize, what: What) {
    let at = now();
    log.lock().push(Told { server, at, what });
}
