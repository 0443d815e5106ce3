//! One connection's two directions: what is read on one side is written on the other, when its time has
//! come and the link lets it through.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::proxy::{Lane, Shared};
use crate::coins::Coins;
use crate::network::draw;

/// The first wait for what was lost; the next is twice as long, and so on.
const SENT_AGAIN: Duration = Duration::from_millis(200);
/// After so many losses in a row the connection breaks.
const MOST_LOSSES: u32 = 6;
/// Parts of a stream that are under way at once, and how large one is.
const UNDER_WAY: usize = 64;
const PART: usize = 16 << 10;

/// When what is sent in one direction arrives.
pub(super) struct Pace {
    lane: watch::Receiver<Lane>,
    coins: Coins,
    last: Instant,
}

impl Pace {
    pub(super) fn new(shared: &Shared, lane: watch::Receiver<Lane>, about: [u64; 3]) -> Self {
        Self { lane, coins: Coins::about(shared.seed, about), last: Instant::now() }
    }

    /// How long something takes that is sent now.
    pub(super) fn delay(&mut self) -> Duration {
        let delay = self.lane.borrow().delay;
        Duration::from_micros(draw(&mut self.coins, &delay))
    }

    /// When something arrives that is sent now: never before what was sent before it. `None` if it is
    /// lost so often that the connection breaks.
    fn arrival(&mut self) -> Option<Instant> {
        let loss = self.lane.borrow().loss;
        let mut delay = self.delay();
        for losses in 0.. {
            if !self.coins.chance(loss) {
                break;
            }
            if losses == MOST_LOSSES {
                return None;
            }
            delay += SENT_AGAIN * 2_u32.pow(losses);
        }
        self.last = self.last.max(Instant::now() + delay);
        Some(self.last)
    }

    /// What arrives of a part: with one bit flipped, now and then.
    fn corrupted(&mut self, mut part: Vec<u8>) -> Vec<u8> {
        let corruption = self.lane.borrow().corruption;
        if self.coins.chance(corruption) {
            let bit = self.coins.below(part.len() as u64 * 8) as usize;
            part[bit / 8] ^= 1 << (bit % 8);
        }
        part
    }
}

/// What one direction lets through.
pub(super) struct Gate {
    lane: watch::Receiver<Lane>,
    /// The other direction of the link.
    back: watch::Receiver<Lane>,
    coins: Coins,
    /// Whether bytes were lost that nobody sends again: all that comes after them is lost too.
    dead: bool,
    /// How often the link's connections had begun to swallow everything when this one was made.
    born: u32,
}

impl Gate {
    pub(super) fn new(
        shared: &Shared,
        lane: watch::Receiver<Lane>,
        back: watch::Receiver<Lane>,
        about: [u64; 3],
    ) -> Self {
        let coins = Coins::about(!shared.seed, about);
        let born = lane.borrow().swallows;
        Self { lane, back, coins, dead: false, born }
    }

    /// Waits until something may pass. `false` if it never arrives: what meets a cut link is sent again
    /// until the link is mended, or the connection is dead from then on, half of the times each.
    async fn passes(&mut self) -> bool {
        while !self.dead {
            let lane = *self.lane.borrow_and_update();
            if lane.swallows != self.born {
                return false;
            }
            if lane.is_open() {
                return true;
            }
            if lane.cut && self.coins.chance(0.5) {
                self.dead = true;
            } else if lane.cut {
                is_open(&mut self.lane).await;
            } else if self.lane.changed().await.is_err() {
                return false;
            }
        }
        false
    }

    /// Whether who sends would be told that the other side has closed: both directions of the link are open,
    /// and nothing between them swallows what it carries.
    fn tells(&self) -> bool {
        let lane = *self.lane.borrow();
        lane.swallows == self.born && lane.is_open() && self.back.borrow().is_open()
    }
}

/// Waits until a direction is open.
pub(super) async fn is_open(lane: &mut watch::Receiver<Lane>) {
    // The sender lives as long as the run.
    let _over = lane.wait_for(Lane::is_open).await;
}

/// A connection that both sides are to see broken.
struct Broken;

/// A part of a stream and when it arrives; `None` for its end.
type Part = (Instant, Option<Vec<u8>>);

/// Carries bytes both ways until both have ended, or the connection breaks. Then both sides are closed.
pub(super) async fn carry(
    mut a: TcpStream,
    mut b: TcpStream,
    there: (Pace, Gate),
    back: (Pace, Gate),
) {
    let (a_closed, b_closed) = (AtomicBool::new(false), AtomicBool::new(false));
    let ((from_a, to_a), (from_b, to_b)) = (a.split(), b.split());
    let there = direction(from_a, to_b, there, &a_closed, &b_closed);
    let back = direction(from_b, to_a, back, &b_closed, &a_closed);
    let _broken = tokio::try_join!(there, back);
}

async fn direction(
    from: ReadHalf<'_>,
    to: WriteHalf<'_>,
    (pace, gate): (Pace, Gate),
    closed: &AtomicBool,
    other_closed: &AtomicBool,
) -> Result<(), Broken> {
    let (send, receive) = mpsc::channel(UNDER_WAY);
    let reads = read(from, pace, send, closed);
    let writes = write(to, gate, receive, other_closed);
    tokio::try_join!(reads, writes).map(drop)
}

async fn read(
    mut from: ReadHalf<'_>,
    mut pace: Pace,
    send: mpsc::Sender<Part>,
    closed: &AtomicBool,
) -> Result<(), Broken> {
    let mut part = vec![0; PART];
    loop {
        let read = from.read(&mut part).await.unwrap_or(0);
        closed.store(read == 0, Ordering::Relaxed);
        let due = pace.arrival().ok_or(Broken)?;
        let bytes = (read > 0).then(|| pace.corrupted(part[..read].to_vec()));
        if send.send((due, bytes)).await.is_err() || read == 0 {
            return Ok(());
        }
    }
}

async fn write(
    mut to: WriteHalf<'_>,
    mut gate: Gate,
    mut receive: mpsc::Receiver<Part>,
    other_closed: &AtomicBool,
) -> Result<(), Broken> {
    while let Some((due, bytes)) = receive.recv().await {
        sleep_until(due).await;
        let passes = gate.passes().await;
        match bytes {
            Some(bytes) if passes => {
                let written = to.write_all(&bytes).await;
                if written.is_err() {
                    // Whoever receives is gone, and says so when it can be heard.
                    is_open(&mut gate.back).await;
                    return Err(Broken);
                }
            }
            // A system that knows nothing of a connection refuses what comes for it.
            Some(_) if gate.tells() && other_closed.load(Ordering::Relaxed) => {
                return Err(Broken);
            }
            Some(_) => {}
            None if passes => drop(to.shutdown().await),
            None => {}
        }
    }
    Ok(())
}
