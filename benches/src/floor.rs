//! Floors: the least that could do a piece of work, with none of Grapevine in it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hint::black_box;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use serde::{Deserialize, Serialize, Serializer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::cpu;
use crate::work::{PAYLOAD, Spread, payload};

/// What one write or read of a socket takes: what 64 frames of 1 KiB make.
pub const CHUNK: usize = 64 << 10;

/// The least that an update must say: where, when, what. Laid out as the real ones are, with fixed
/// integers.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Flat<'a> {
    #[serde(with = "postcard::fixint::le")]
    origin: u64,
    slot: u32,
    #[serde(with = "postcard::fixint::le")]
    stamp: u64,
    // Serde would take a slice for a list of numbers.
    #[serde(serialize_with = "as_bytes")]
    payload: &'a [u8],
}

fn as_bytes<S: Serializer>(payload: &&[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(payload)
}

impl<'a> Flat<'a> {
    /// An update of the payload in this slot.
    pub const fn new(slot: u32, stamp: u64, payload: &'a [u8]) -> Self {
        Self { origin: 1 << 48, slot, stamp, payload }
    }

    /// Puts its encoding in the place of what `out` has.
    ///
    /// # Panics
    /// Never: memory is the only thing that `out` can run out of.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.clear();
        *out = postcard::to_extend(self, std::mem::take(out)).expect("a vector takes it");
    }

    /// Decodes it, without copying the payload.
    ///
    /// # Panics
    /// If `bytes` are not what [`Flat::encode`] made.
    pub fn decode(bytes: &'a [u8]) -> Self {
        postcard::from_bytes(bytes).expect("an own encoding")
    }

    /// A copy of the payload in memory of its own.
    pub fn own(&self) -> Arc<[u8]> {
        Arc::from(self.payload)
    }
}

/// Slots that hold a stamp and a payload, with nothing around them.
pub struct Slots(Vec<(u64, [u8; PAYLOAD])>);

impl Slots {
    /// So many slots.
    pub fn new(slots: usize) -> Self {
        Self(vec![(0, payload()); slots])
    }

    /// So many encoded updates, of slots that `spread` names.
    pub fn updates(&self, count: u64, spread: &mut Spread) -> Vec<Vec<u8>> {
        let payload = payload();
        let update = |stamp| {
            let mut out = Vec::new();
            Flat::new(spread.next() as u32, stamp, &payload).encode(&mut out);
            out
        };
        (1..=count).map(update).collect()
    }

    /// Decodes an update, checks its slot and stamp, and copies the payload into its place.
    pub fn take(&mut self, update: &[u8]) {
        let flat = Flat::decode(black_box(update));
        let Some((stamp, payload)) = self.0.get_mut(flat.slot as usize) else { return };
        if flat.origin == 1 << 48 && flat.stamp != *stamp && flat.payload.len() == PAYLOAD {
            *stamp = flat.stamp;
            payload.copy_from_slice(flat.payload);
        }
        black_box(payload);
    }
}

/// Slots that hold shared payloads, each behind its own lock.
pub struct Locked(Vec<RwLock<Arc<[u8]>>>);

impl Locked {
    /// So many slots.
    pub fn new(slots: usize) -> Self {
        Self((0..slots).map(|_| RwLock::new(Arc::from(payload()))).collect())
    }

    /// Takes a share of the payload in slots that `spread` names, and copies it out, so often.
    pub fn read(&self, times: u64, spread: &mut Spread) -> Duration {
        let mut out = [0; PAYLOAD];
        cpu::time(|| {
            for _ in 0..times {
                let shared = Arc::clone(&self.0[spread.next()].read());
                out.copy_from_slice(&shared);
                black_box(&mut out);
            }
        })
    }
}

/// Runs the same in so many threads at once, each with its own number; returns the time of the
/// slowest, as they say themselves.
pub fn threads(count: usize, run: impl Fn(u64) -> Duration + Sync) -> Duration {
    let barrier = Barrier::new(count);
    std::thread::scope(|scope| {
        let one = |number| {
            let (barrier, run) = (&barrier, &run);
            scope.spawn(move || {
                barrier.wait();
                run(number)
            })
        };
        let threads: Vec<_> = (0..count as u64).map(one).collect();
        let times = threads.into_iter().map(|thread| thread.join().expect("it must not panic"));
        times.max().unwrap_or_default()
    })
}

/// Both ends of TCP connections on this machine.
pub struct Pipes(Vec<(TcpStream, TcpStream)>);

impl Pipes {
    /// So many connections.
    pub async fn new(count: usize) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let mut pipes = Vec::new();
        for _ in 0..count {
            let dialled = TcpStream::connect(listener.local_addr()?).await?;
            dialled.set_nodelay(true)?;
            pipes.push((dialled, listener.accept().await?.0));
        }
        Ok(Self(pipes))
    }

    /// Sends so many bytes through each, all at once, in writes of [`CHUNK`], until all have come.
    pub async fn send(&mut self, bytes: usize) -> std::io::Result<Duration> {
        let start = Instant::now();
        let mut tasks = Vec::new();
        for (mut from, mut to) in self.0.drain(..) {
            let writing = tokio::spawn(async move {
                let chunk = vec![7; CHUNK];
                let mut left = bytes;
                while left > 0 {
                    let size = left.min(CHUNK);
                    from.write_all(&chunk[..size]).await?;
                    left -= size;
                }
                Ok::<_, std::io::Error>(from)
            });
            let reading = tokio::spawn(async move {
                let mut chunk = vec![0; CHUNK];
                let mut left = bytes;
                while left > 0 {
                    match to.read(&mut chunk).await? {
                        0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
                        some => left -= some,
                    }
                }
                Ok::<_, std::io::Error>(to)
            });
            tasks.push((writing, reading));
        }
        for (writing, reading) in tasks {
            self.0.push((writing.await??, reading.await??));
        }
        Ok(start.elapsed())
    }
}

/// A queue by time that carries bytes, and nobody who looks at them.
pub struct Queue {
    waiting: BinaryHeap<Reverse<(u64, u64)>>,
    bytes: Vec<u8>,
    now: u64,
}

impl Queue {
    /// A queue with so many messages of so many bytes under way.
    pub fn new(under_way: usize, bytes: usize) -> Self {
        let waiting = (0..under_way as u64).map(|n| Reverse((n, n))).collect();
        Self { waiting, bytes: vec![7; bytes], now: 0 }
    }

    /// Takes the next message out, copies its bytes once for its sending and once for its receipt,
    /// and puts another in.
    pub fn pass(&mut self) {
        let Some(Reverse((due, number))) = self.waiting.pop() else { return };
        self.now = due;
        let sent: Arc<[u8]> = Arc::from(black_box(&self.bytes[..]));
        black_box(sent.to_vec());
        // Any order but the one in which they came.
        let delay = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 50;
        self.waiting.push(Reverse((self.now + delay, number + 1)));
    }
}
