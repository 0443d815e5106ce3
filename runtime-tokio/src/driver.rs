//! The driver: the one task that owns the engine. It hands events in, many at a time, and carries
//! the actions out. It waits for nothing but events: queues to peers drop, responses don't block.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use grapevine_core::{
    Action, Command, Engine, Event, Locally, Notice, Request, RequestError, RequestId, Response,
    ServerId, Status, Timestamp, To, Token, View, serve_locally,
};

use crate::clock::Clock;
use crate::error::StopReason;
use crate::expirations::Expiring;
use crate::link::frame::Frames;
use crate::link::queue::{Chunk, Queue};
use crate::link::{Input, Links};
use crate::local::Array;
use crate::metrics::{Reason, add};
use crate::net::select;
use crate::net::sync::{mpsc, oneshot, watch};
use crate::net::task::JoinSet;
use crate::net::time::{self, Instant};
use crate::witness::Witness;

/// Events taken in before the actions are carried out: more make larger batches, and latencies.
const AT_ONCE: usize = 256;

/// How long a server that leaves waits for its queues to be sent.
const FLUSH: Duration = Duration::from_secs(2);

pub(crate) type Outcome = Result<Response, RequestError>;

/// What the application's handles ask of the driver. Who asked may have gone since: then nobody
/// needs the answer.
#[derive(Debug)]
pub(crate) enum Ask {
    Request {
        request: Request,
        reply: oneshot::Sender<Outcome>,
    },
    Status(oneshot::Sender<Status>),
    /// Send what waits, close all links, stop.
    Close(oneshot::Sender<()>),
}

/// What request threads share with the driver.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    pub(crate) array: Array,
    pub(crate) view: ArcSwap<View>,
}

impl Shown {
    /// What a request thread may do with its token; nothing without the engine if no copy is here.
    ///
    /// The view is looked at first: a copy is stored before the view that covers it is shown, so the copy
    /// that is read after a view is as new as the view says. The other way round, the copy could be from
    /// before a write that the view covers, and be shown to who made it (G3).
    pub(crate) fn serve(&self, token: &Token, now: Timestamp) -> Locally {
        let view = self.view.load();
        match self.array.read(token.id.address) {
            Some((copy, settled)) => serve_locally(&copy, settled, &view, token, now),
            None => Locally::Ask,
        }
    }
}

/// What a driver is made of.
pub(crate) struct Parts {
    pub(crate) engine: Engine,
    pub(crate) witness: Witness,
    pub(crate) clock: Arc<Clock>,
    pub(crate) shown: Arc<Shown>,
    pub(crate) links: Arc<Links>,
    pub(crate) expiring: Expiring,
    pub(crate) asks: mpsc::Receiver<Ask>,
    pub(crate) inputs: mpsc::Receiver<Input>,
    /// The tasks that accept and dial; they end with the driver.
    pub(crate) tasks: JoinSet<()>,
}

pub(crate) struct Driver {
    parts: Parts,
    stop: watch::Receiver<Option<StopReason>>,
    generation: Option<u64>,
    queues: BTreeMap<ServerId, Arc<Queue>>,
    waiting: BTreeMap<RequestId, oneshot::Sender<Outcome>>,
    requests: u64,
    frames: Frames,
    responses: Vec<(RequestId, Outcome)>,
    closing: Option<Closing>,
}

struct Closing {
    until: Instant,
    asked: Vec<oneshot::Sender<()>>,
}

/// However the driver ends, nothing is served from its array any more, and everybody hears why.
impl Drop for Driver {
    fn drop(&mut self) {
        self.parts.shown.view.store(Arc::default());
        self.parts.links.stop_with(StopReason::Failed);
    }
}

impl Driver {
    pub(crate) fn new(parts: Parts) -> Self {
        Self {
            stop: parts.links.stop.subscribe(),
            parts,
            generation: None,
            queues: BTreeMap::new(),
            waiting: BTreeMap::new(),
            requests: 0,
            frames: Frames::default(),
            responses: Vec::new(),
            closing: None,
        }
    }

    /// Runs until the server stops.
    pub(crate) async fn run(mut self) {
        loop {
            self.carry_out();
            if self.is_done() {
                return;
            }
            let wake = self.wake_at();
            select! { biased;
                _ = self.stop.changed() => {}
                Some(ended) = self.parts.tasks.join_next() => {
                    tracing::error!(?ended, "a task of the links ended by itself");
                    self.parts.links.stop_with(StopReason::Failed);
                }
                Some(ask) = self.parts.asks.recv() => self.on_ask(ask),
                Some(input) = self.parts.inputs.recv() => self.on_input(input),
                () = time::sleep_until(wake) => {}
            }
            self.take_more();
        }
    }

    /// Takes what else has come, from both sides in turn, and the time.
    fn take_more(&mut self) {
        let mut taken = 0;
        while taken < AT_ONCE {
            let before = taken;
            if let Ok(ask) = self.parts.asks.try_recv() {
                self.on_ask(ask);
                taken += 1;
            }
            if let Ok(input) = self.parts.inputs.try_recv() {
                taken += match &input {
                    Input::Commands { commands, .. } => commands.len(),
                    _ => 1,
                };
                self.on_input(input);
            }
            if taken == before {
                break;
            }
        }
        self.parts.clock.adjust();
        let now = self.now();
        if self.parts.engine.poll_timeout().is_some_and(|(due, _)| due <= now) {
            self.give(now, Event::Timer);
        }
    }

    /// Hands an event to the engine. Nobody else does.
    fn give(&mut self, now: Timestamp, event: Event) {
        self.parts.witness.handles(self.parts.links.identity.server, now, &event);
        self.parts.engine.handle(now, event);
    }

    fn now(&self) -> Timestamp {
        self.parts.clock.now()
    }

    /// When to look again if nothing happens.
    fn wake_at(&self) -> Instant {
        const IDLE: Duration = Duration::from_secs(1);
        let due = self.parts.engine.poll_timeout().map(|(due, _)| due.since(self.now()));
        // The clock may run at half speed: then this wakes early, and looks again.
        let wake = Instant::now() + due.unwrap_or(IDLE).min(IDLE);
        self.closing.as_ref().map_or(wake, |closing| wake.min(closing.until))
    }

    fn on_ask(&mut self, ask: Ask) {
        match ask {
            Ask::Request { request, reply } => {
                self.requests += 1;
                let id = RequestId(self.requests);
                self.waiting.insert(id, reply);
                let now = self.now();
                self.give(now, Event::Request { id, request });
            }
            Ask::Status(reply) => {
                let _gone = reply.send(self.parts.engine.status());
            }
            Ask::Close(reply) => {
                self.carry_out();
                self.queues.values().for_each(|queue| queue.close());
                let until = Instant::now() + FLUSH;
                let closing = Closing { until, asked: Vec::new() };
                self.closing.get_or_insert(closing).asked.push(reply);
            }
        }
    }

    fn on_input(&mut self, input: Input) {
        let now = self.now();
        match input {
            Input::Commands { from, commands } => {
                for command in commands {
                    self.give(now, Event::Command { from, command });
                }
            }
            Input::Up { server, queue } => {
                if self.closing.is_some() {
                    queue.close();
                }
                self.queues.insert(server, queue);
                self.give(now, Event::PeerUp(server));
            }
            Input::Down { server } => {
                self.queues.remove(&server);
                self.give(now, Event::PeerDown(server));
            }
        }
    }

    /// Does everything that the engine wants done. Responses go last: what they rest on was stored,
    /// shown and published before.
    fn carry_out(&mut self) {
        self.parts.witness.carries_out(self.parts.links.identity.server);
        while let Some(action) = self.parts.engine.poll_action() {
            match action {
                Action::Publish { to, command } => self.publish(to, &command),
                Action::Store { address, copy, settled } => {
                    let slots = self.parts.links.farm.slots_per_origin;
                    let copy = copy.map(|copy| (copy, settled));
                    self.parts.shown.array.store(address, copy, slots);
                }
                Action::Respond { id, outcome } => self.responses.push((id, outcome)),
                Action::Notify(notice) => self.tell(notice),
                Action::Stop(stop) => self.parts.links.stop_with(StopReason::of(stop)),
            }
        }
        self.send_to_all();
        if !self.parts.engine.starting() {
            self.parts.links.started();
        }
        let generation = self.parts.engine.view_generation();
        if self.generation != Some(generation) {
            self.generation = Some(generation);
            self.parts.shown.view.store(Arc::new(self.parts.engine.view()));
        }
        for (id, outcome) in self.responses.drain(..) {
            if let Some(reply) = self.waiting.remove(&id) {
                let _gone = reply.send(outcome);
            }
        }
    }

    /// Encodes once; what goes to all shares its bytes.
    fn publish(&mut self, to: To, command: &Command) {
        match to {
            To::All if self.queues.is_empty() => {}
            To::All => {
                self.append(command);
                if self.frames.is_full() {
                    self.send_to_all();
                }
            }
            To::One(server) => {
                // What was said to all before stays before it.
                self.send_to_all();
                let Some(queue) = self.queues.get(&server).map(Arc::clone) else { return };
                self.append(command);
                if let Some(chunk) = self.frames.take() {
                    self.send(&queue, &chunk);
                }
            }
        }
    }

    fn append(&mut self, command: &Command) {
        let limit = self.parts.links.farm.frame_bytes;
        if let Err(bytes) = self.frames.append(command, limit) {
            let text = format!("a {} of {bytes} bytes; {limit} are allowed", command.name());
            self.parts.links.report(Reason::OwnOversized, "this server", &text);
        }
    }

    fn send_to_all(&mut self) {
        if let Some(chunk) = self.frames.take() {
            self.queues.values().for_each(|queue| self.send(queue, &chunk));
        }
    }

    fn send(&self, queue: &Queue, chunk: &Chunk) {
        if !queue.push(chunk) {
            add(&self.parts.links.metrics.traffic.queue_overflow, chunk.frames as u64);
        }
    }

    fn tell(&self, notice: Notice) {
        match notice {
            Notice::Member { server, state } => {
                tracing::info!(server = server.number(), ?state, "a member's state changed");
            }
            Notice::Joined => tracing::info!("joined"),
            Notice::Misbehaving { server, why } => self.parts.links.cut(server, why),
            Notice::Mismatch { server, sessions } => {
                let other = server.number();
                tracing::warn!(
                    other,
                    ?sessions,
                    "copies differ from another server's; mending them"
                );
            }
            Notice::Expired { session, limit } => {
                tracing::debug!(id = %session.id, ?limit, "a session expired");
                self.parts.expiring.tell(session, limit);
            }
            Notice::Evicted { session } => {
                tracing::debug!(id = %session.id, "an anonymous session was ended to make room");
            }
        }
    }

    /// Whether it is time to stop.
    fn is_done(&mut self) -> bool {
        if let Some(closing) = &mut self.closing
            && (self.queues.is_empty() || Instant::now() >= closing.until)
        {
            self.parts.links.stop_with(StopReason::Left);
            for asked in closing.asked.drain(..) {
                let _gone = asked.send(());
            }
        }
        self.parts.links.stop.borrow().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::wall_micros;
    use grapevine_core::Config;

    fn driver() -> Driver {
        let links = crate::link::tests::links();
        let clock = Arc::new(Clock::new(wall_micros));
        let config = Config::new(links.identity.server, links.farm.clone());
        let engine = Engine::new(config, [1; 32], clock.now()).unwrap();
        let (_, asks) = mpsc::channel(1);
        let (_, inputs) = mpsc::channel(1);
        let shown = Arc::default();
        let (expiring, tasks, witness) = (Expiring::new(), JoinSet::new(), Witness::nobody());
        Driver::new(Parts { engine, witness, clock, shown, links, expiring, asks, inputs, tasks })
    }

    fn peer(driver: &mut Driver, number: u16, frames: usize) -> Arc<Queue> {
        let queue = Arc::new(Queue::new(frames, 1_000));
        let server = ServerId::new(number, Timestamp::from_millis(1));
        driver.queues.insert(server, Arc::clone(&queue));
        queue
    }

    async fn taken(queue: &Queue) -> Vec<Chunk> {
        let mut chunks = Vec::new();
        queue.pop(&mut chunks).await;
        chunks
    }

    #[tokio::test]
    async fn what_goes_to_all_is_encoded_once_and_its_bytes_are_shared() {
        let mut driver = driver();
        let (two, three) = (peer(&mut driver, 2, 10), peer(&mut driver, 3, 10));
        driver.publish(To::All, &Command::HeartbeatRequest);
        driver.publish(To::All, &Command::HeartbeatRequest);
        driver.send_to_all();
        let (two, three) = (taken(&two).await, taken(&three).await);
        assert_eq!((two.len(), two[0].frames), (1, 2), "one chunk for one drain");
        assert_eq!(two[0].bytes.as_ptr(), three[0].bytes.as_ptr());
    }

    #[tokio::test]
    async fn a_full_queue_drops_and_counts_and_holds_up_nobody_else() {
        let mut driver = driver();
        let (slow, quick) = (peer(&mut driver, 2, 1), peer(&mut driver, 3, 10));
        for _ in 0..4 {
            driver.publish(To::All, &Command::HeartbeatRequest);
            driver.send_to_all();
        }
        assert_eq!((slow.waiting().0, quick.waiting().0), (1, 4));
        assert_eq!(driver.parts.links.status().queue_overflow, 3);
    }

    #[tokio::test]
    async fn what_goes_to_one_goes_to_no_other_and_stays_behind_what_went_to_all_before() {
        let mut driver = driver();
        let (two, three) = (peer(&mut driver, 2, 10), peer(&mut driver, 3, 10));
        driver.publish(To::All, &Command::HeartbeatRequest);
        let one = To::One(ServerId::new(3, Timestamp::from_millis(1)));
        driver.publish(
            one,
            &Command::Leave {
                end: grapevine_core::Stamp::ZERO,
                members: Vec::new(),
                linked: Vec::new(),
            },
        );
        driver.publish(To::One(ServerId::ZERO), &Command::HeartbeatRequest);
        driver.send_to_all();
        assert_eq!(taken(&two).await.len(), 1);
        let three: Vec<u8> = taken(&three).await.iter().map(|chunk| chunk.bytes[4]).collect();
        assert_eq!(three, [6, 10], "the numbers of HeartbeatRequest and Leave");
    }
}
