//! Floors: the least that could do a piece of work, with none of Grapevine in it.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::work::{PAYLOAD, Spread, payload};

/// What one write or read of a socket takes: what 64 frames of 1 KiB make.
pub const CHUNK: usize = 64 << 10;

/// Slots that hold payloads, with nothing around them.
pub struct Slots(Vec<[u8; PAYLOAD]>);

impl Slots {
    /// So many slots.
    pub fn new(slots: usize) -> Self {
        Self(vec![payload(); slots])
    }

    /// Copies a payload into slots that `spread` names, so often.
    pub fn write(&mut self, times: u64, spread: &mut Spread) -> Duration {
        let payload = payload();
        let start = Instant::now();
        for _ in 0..times {
            self.0[spread.next()].copy_from_slice(black_box(&payload));
        }
        black_box(&self.0);
        start.elapsed()
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
    pub fn read(&self, times: u64, spread: &mut Spread) {
        let mut out = [0; PAYLOAD];
        for _ in 0..times {
            let shared = Arc::clone(&self.0[spread.next()].read());
            out.copy_from_slice(&shared);
            black_box(&mut out);
        }
    }
}

/// Runs the same in so many threads at once, each with its own number; returns the time of the
/// slowest.
pub fn threads(count: usize, run: impl Fn(u64) + Sync) -> Duration {
    let barrier = Barrier::new(count);
    std::thread::scope(|scope| {
        let one = |number| {
            let (barrier, run) = (&barrier, &run);
            scope.spawn(move || {
                barrier.wait();
                let start = Instant::now();
                run(number);
                start.elapsed()
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
