//! The bounded queue between the driver and one publisher. The driver never waits for it: what
//! doesn't fit is dropped and counted, and repair mends it.

use std::collections::VecDeque;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::net::sync::Notify;

/// Some frames, encoded once and shared among the queues of all peers.
#[derive(Clone, Debug)]
pub(crate) struct Chunk {
    pub(crate) bytes: Bytes,
    pub(crate) frames: usize,
}

/// How much a publisher takes from the queue for one write.
const WRITE_FRAMES: usize = 64;
const WRITE_BYTES: usize = 64 << 10;

/// The frames that wait for one connection. A new connection gets a new queue: what waited for the
/// old one is worthless to the new one.
#[derive(Debug)]
pub(crate) struct Queue {
    inner: Mutex<Inner>,
    ready: Notify,
    max_frames: usize,
    max_bytes: usize,
}

#[derive(Debug, Default)]
struct Inner {
    chunks: VecDeque<Chunk>,
    frames: usize,
    bytes: usize,
    closed: bool,
}

impl Queue {
    pub(crate) fn new(max_frames: usize, max_bytes: usize) -> Self {
        Self { inner: Mutex::default(), ready: Notify::new(), max_frames, max_bytes }
    }

    /// Appends a chunk, if it fits: a queue with nothing in it takes any chunk. Returns whether it
    /// did.
    pub(crate) fn push(&self, chunk: &Chunk) -> bool {
        {
            let mut inner = self.inner.lock();
            let fits = inner.frames + chunk.frames <= self.max_frames
                && inner.bytes + chunk.bytes.len() <= self.max_bytes;
            if inner.closed || !(fits || inner.chunks.is_empty()) {
                return false;
            }
            inner.frames += chunk.frames;
            inner.bytes += chunk.bytes.len();
            inner.chunks.push_back(chunk.clone());
        }
        self.ready.notify_one();
        true
    }

    /// Waits for chunks and moves as many to `out` as make a good write, at least one. Returns
    /// `false` when the queue is closed and empty. Nothing is lost if the future is dropped.
    pub(crate) async fn pop(&self, out: &mut Vec<Chunk>) -> bool {
        loop {
            {
                let mut inner = self.inner.lock();
                let (mut frames, mut bytes) = (0, 0);
                while let Some(chunk) = inner.chunks.front() {
                    let (more_frames, more_bytes) = (chunk.frames, chunk.bytes.len());
                    let fits =
                        frames + more_frames <= WRITE_FRAMES && bytes + more_bytes <= WRITE_BYTES;
                    if frames > 0 && !fits {
                        break;
                    }
                    frames += more_frames;
                    bytes += more_bytes;
                    out.extend(inner.chunks.pop_front());
                }
                inner.frames -= frames;
                inner.bytes -= bytes;
                if frames > 0 || inner.closed {
                    return frames > 0;
                }
            }
            self.ready.notified().await;
        }
    }

    /// Takes no more; what is in it can still be taken out.
    pub(crate) fn close(&self) {
        self.inner.lock().closed = true;
        self.ready.notify_one();
    }

    /// The frames and bytes that wait.
    pub(crate) fn waiting(&self) -> (usize, usize) {
        let inner = self.inner.lock();
        (inner.frames, inner.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(frames: usize, bytes: usize) -> Chunk {
        Chunk { bytes: Bytes::from(vec![0; bytes]), frames }
    }

    #[tokio::test]
    async fn a_full_queue_takes_nothing_until_something_is_taken_out() {
        let queue = Queue::new(4, 1_000);
        assert!(queue.push(&chunk(3, 10)));
        assert!(!queue.push(&chunk(2, 10)), "too many frames");
        assert!(!queue.push(&chunk(1, 991)), "too many bytes");
        assert!(queue.push(&chunk(1, 990)));
        assert_eq!(queue.waiting(), (4, 1_000));
        let mut out = Vec::new();
        assert!(queue.pop(&mut out).await);
        assert_eq!((out.len(), queue.waiting()), (2, (0, 0)));
        assert!(queue.push(&chunk(4, 1_000)));
    }

    #[test]
    fn an_empty_queue_takes_a_chunk_of_any_size() {
        let queue = Queue::new(4, 100);
        assert!(queue.push(&chunk(9, 5_000)));
        assert!(!queue.push(&chunk(1, 1)));
    }

    #[tokio::test]
    async fn one_write_takes_at_most_64_frames_or_64_kib_but_always_something() {
        let queue = Queue::new(1_000, 1 << 30);
        for _ in 0..3 {
            assert!(queue.push(&chunk(30, 10)));
        }
        assert!(queue.push(&chunk(1, 1 << 20)));
        assert!(queue.push(&chunk(1, 10)));
        let mut sizes = Vec::new();
        for _ in 0..4 {
            let mut out = Vec::new();
            assert!(queue.pop(&mut out).await);
            sizes.push(out.iter().map(|c| c.frames).sum::<usize>());
        }
        assert_eq!(sizes, [60, 30, 1, 1]);
    }

    #[tokio::test]
    async fn a_closed_queue_gives_out_what_it_has_and_then_ends() {
        let queue = Queue::new(10, 100);
        assert!(queue.push(&chunk(1, 1)));
        queue.close();
        assert!(!queue.push(&chunk(1, 1)));
        let mut out = Vec::new();
        assert!(queue.pop(&mut out).await);
        assert!(!queue.pop(&mut out).await);
        assert_eq!(out.len(), 1);
    }
}
