//! Tasks of a simulated process. A panic in one of them ends the simulation, so nobody meets it here.

use std::convert::Infallible;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use ::madsim::task::JoinHandle;

pub(crate) use ::madsim::task::{AbortHandle, spawn};

/// Tasks that end with the set, as tokio's do.
#[derive(Debug)]
pub(crate) struct JoinSet<T>(Vec<JoinHandle<T>>);

/// A task was cancelled.
#[derive(Debug)]
pub(crate) struct Cancelled;

impl Cancelled {
    pub(crate) const fn is_panic(&self) -> bool {
        false
    }

    /// What the task panicked with: no task that did is told of here.
    pub(crate) fn into_panic(self) -> Box<Infallible> {
        unreachable!("a panic ends the simulation")
    }
}

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the task was cancelled")
    }
}

impl<T: Send + 'static> JoinSet<T> {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn spawn(&mut self, future: impl Future<Output = T> + Send + 'static) {
        self.0.push(spawn(future));
    }

    /// The next task that ends; at once `None`, if there is none. Nothing is lost if the future is
    /// dropped.
    pub(crate) async fn join_next(&mut self) -> Option<Result<T, Cancelled>> {
        poll_fn(|context| {
            for place in 0..self.0.len() {
                if let Poll::Ready(ended) = Pin::new(&mut self.0[place]).poll(context) {
                    drop(self.0.swap_remove(place));
                    return Poll::Ready(Some(ended.map_err(|_| Cancelled)));
                }
            }
            if self.0.is_empty() { Poll::Ready(None) } else { Poll::Pending }
        })
        .await
    }
}

impl<T> Drop for JoinSet<T> {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}
