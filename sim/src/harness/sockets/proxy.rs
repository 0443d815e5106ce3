//! The network between servers: every connection goes through here, and a thread of its own does to it
//! what the scenario says. What TCP does beneath a connection can't be done to it from here, so what a
//! stream never shows (a lost, repeated or reordered segment) is done as it would show: as time.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::pipe::{Gate, Pace, carry, is_open};
use crate::network::{Link, Network};
use crate::scenario::{Delay, Links};

/// For how long a connection that is being made looks for its way: as a system sends its first segment
/// again, once.
const LOOKS_FOR: Duration = Duration::from_secs(1);
/// How often it is looked whether the thread runs when it is to.
const TICK: Duration = Duration::from_millis(20);

/// What is done to all that goes from one server to another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Lane {
    pub(super) cut: bool,
    pub(super) clogged: bool,
    /// How often all connections have begun to swallow everything: those that were there then.
    pub(super) swallows: u32,
    pub(super) delay: Delay,
    /// How probable it is that what is sent is lost, and must be sent again.
    pub(super) loss: f64,
    /// How probable it is that a part of a stream arrives with a flipped bit.
    pub(super) corruption: f64,
}

impl Lane {
    pub(super) const fn is_open(&self) -> bool {
        !self.cut && !self.clogged
    }
}

/// What thread and run share.
pub(super) struct Shared {
    size: usize,
    pub(super) seed: u64,
    lanes: Vec<watch::Sender<Lane>>,
    /// Where each server listens; 0 if it does not.
    targets: Vec<AtomicU16>,
    /// Connections so far, by who dialled whom.
    made: Vec<AtomicU64>,
    /// By how many nanoseconds the thread has run late, at most.
    late: AtomicU64,
}

impl Shared {
    pub(super) fn lane(&self, (from, to): Link) -> watch::Receiver<Lane> {
        self.lanes[from * self.size + to].subscribe()
    }
}

/// The network, as the run sees it.
pub(super) struct Proxy {
    shared: Arc<Shared>,
    /// Where a server reaches another, by both.
    ports: Vec<u16>,
    stop: Option<watch::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    pub(super) fn new(size: usize, seed: u64, links: &Links) -> std::io::Result<Self> {
        let mut listeners = Vec::new();
        for link in (0..size * size).map(|n| (n / size, n % size)).filter(|(a, b)| a != b) {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            listener.set_nonblocking(true)?;
            listeners.push((link, listener));
        }
        let mut ports = vec![0; size * size];
        for ((from, to), listener) in &listeners {
            ports[from * size + to] = listener.local_addr()?.port();
        }
        let lane = Lane {
            cut: false,
            clogged: false,
            swallows: 0,
            delay: links.delay,
            loss: links.loss,
            corruption: links.corruption,
        };
        let shared = Arc::new(Shared {
            size,
            seed,
            lanes: (0..size * size).map(|_| watch::Sender::new(lane)).collect(),
            targets: (0..size).map(|_| AtomicU16::new(0)).collect(),
            made: (0..size * size).map(|_| AtomicU64::new(0)).collect(),
            late: AtomicU64::new(0),
        });
        let (stop, stopped) = watch::channel(());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let network = Arc::clone(&shared);
        let thread = std::thread::spawn(move || runtime.block_on(run(network, listeners, stopped)));
        Ok(Self { shared, ports, stop: Some(stop), thread: Some(thread) })
    }

    /// Where this server reaches the others.
    pub(super) fn peers_of(&self, server: usize) -> Vec<SocketAddr> {
        let size = self.shared.size;
        let others = (0..size).filter(|&other| other != server);
        let port = |other| self.ports[server * size + other];
        others.map(|other| (Ipv4Addr::LOCALHOST, port(other)).into()).collect()
    }

    /// A server listens at this port; 0 if it does not any more.
    pub(super) fn listens(&self, server: usize, port: u16) {
        self.shared.targets[server].store(port, Ordering::SeqCst);
    }

    /// Has all links be as the world's are.
    pub(super) fn links(&self, network: &Network) {
        let size = self.shared.size;
        for (n, lane) in self.shared.lanes.iter().enumerate() {
            let link = (n / size, n % size);
            lane.send_modify(|lane| {
                *lane = Lane {
                    cut: network.cut.contains(&link),
                    clogged: network.clogged.contains(&link),
                    swallows: lane.swallows,
                    delay: *network.delays.get(&link).unwrap_or(&network.links.delay),
                    loss: network.links.loss,
                    corruption: network.links.corruption,
                };
            });
        }
    }

    /// Has every connection that there is on a link swallow everything from now on.
    pub(super) fn swallow(&self, (from, to): Link) {
        self.shared.lanes[from * self.shared.size + to].send_modify(|lane| lane.swallows += 1);
    }

    /// By how much the thread has run late, at most.
    pub(super) fn late(&self) -> u64 {
        self.shared.late.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

async fn run(
    shared: Arc<Shared>,
    listeners: Vec<(Link, TcpListener)>,
    mut stopped: watch::Receiver<()>,
) {
    for (link, listener) in listeners {
        let listener = tokio::net::TcpListener::from_std(listener).expect("inside a runtime");
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((dialled, _)) = listener.accept().await {
                tokio::spawn(connection(Arc::clone(&shared), link, dialled));
            }
        });
    }
    tokio::spawn(async move {
        loop {
            let due = Instant::now() + TICK;
            sleep_until(due).await;
            shared.late.fetch_max(due.elapsed().as_nanos() as u64, Ordering::Relaxed);
        }
    });
    // Until the run is over: then all connections end with the runtime.
    let _over = stopped.changed().await;
}

/// One connection: from who dialled to who is dialled.
async fn connection(shared: Arc<Shared>, link: Link, mut dialled: TcpStream) {
    let (there, back) = (shared.lane(link), shared.lane((link.1, link.0)));
    let name = link.0 * shared.size + link.1;
    let number = shared.made[name].fetch_add(1, Ordering::Relaxed);
    let about = |way| [name as u64, number, way];
    let flow = |way, lane: &watch::Receiver<Lane>, back: &watch::Receiver<Lane>| {
        let gate = Gate::new(&shared, lane.clone(), back.clone(), about(way));
        (Pace::new(&shared, lane.clone(), about(way)), gate)
    };
    let (mut to, mut fro) = (flow(0, &there, &back), flow(1, &back, &there));
    let open = async {
        let (mut there, mut back) = (there, back);
        is_open(&mut there).await;
        is_open(&mut back).await;
    };
    if timeout(LOOKS_FOR, open).await.is_err() {
        // Nobody answers, ever; who dialled gives up by and by.
        let mut nowhere = [0; 1024];
        while dialled.read(&mut nowhere).await.is_ok_and(|read| read > 0) {}
        return;
    }
    sleep(to.0.delay() + fro.0.delay()).await;
    let port = shared.targets[link.1].load(Ordering::SeqCst);
    if port == 0 {
        return;
    }
    let Ok(answers) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else { return };
    let _best_effort = (dialled.set_nodelay(true), answers.set_nodelay(true));
    carry(dialled, answers, to, fro).await;
}
