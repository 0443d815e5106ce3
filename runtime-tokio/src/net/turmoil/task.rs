//! Tasks of a simulated process that can stand still: turmoil's hosts always run. So each task is polled only
//! while its process runs; what comes meanwhile waits, and timers are late, as where a system stops a process.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use tokio::task::JoinError;

pub(crate) use tokio::task::AbortHandle;

thread_local! {
    /// Whose task is polled now.
    static CURRENT: RefCell<Option<Process>> = const { RefCell::new(None) };
}

/// A process: a future that is run in it, and all tasks that it begins, and those that they begin.
#[derive(Clone, Debug, Default)]
pub struct Process(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    paused: bool,
    /// Who was to go on meanwhile.
    woken: Vec<Waker>,
}

impl Process {
    /// One that runs.
    pub fn new() -> Self {
        Self::default()
    }

    /// Stops it where it is.
    pub fn pause(&self) {
        self.0.lock().paused = true;
    }

    /// Has it go on.
    pub fn resume(&self) {
        let woken = {
            let mut state = self.0.lock();
            state.paused = false;
            std::mem::take(&mut state.woken)
        };
        woken.into_iter().for_each(Waker::wake);
    }

    /// Runs a future in it.
    pub fn run<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        Running { process: Some(self.clone()), future: Box::pin(future) }
    }

    /// Runs a future in the process whose task is polled now, if it is one's.
    pub fn within<F: Future>(future: F) -> impl Future<Output = F::Output> + use<F> {
        let process = CURRENT.with_borrow(Clone::clone);
        Running { process, future: Box::pin(future) }
    }

    /// Whether it stands still; if so, this task goes on with it.
    fn holds(&self, context: &Context<'_>) -> bool {
        let mut state = self.0.lock();
        if state.paused {
            state.woken.push(context.waker().clone());
        }
        state.paused
    }
}

struct Running<F> {
    process: Option<Process>,
    future: Pin<Box<F>>,
}

impl<F: Future> Future for Running<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        if self.process.as_ref().is_some_and(|process| process.holds(context)) {
            return Poll::Pending;
        }
        let _polled = Polled::new(self.process.clone());
        self.future.as_mut().poll(context)
    }
}

/// While it is there, a task of a process is polled.
struct Polled(Option<Process>);

impl Polled {
    fn new(process: Option<Process>) -> Self {
        Self(CURRENT.replace(process))
    }
}

impl Drop for Polled {
    fn drop(&mut self) {
        CURRENT.replace(self.0.take());
    }
}

/// Begins a task of this process.
pub(crate) fn spawn<T: Send + 'static>(
    future: impl Future<Output = T> + Send + 'static,
) -> tokio::task::JoinHandle<T> {
    tokio::task::spawn(Process::within(future))
}

/// Tasks that end with the set, as tokio's do.
#[derive(Debug)]
pub(crate) struct JoinSet<T>(tokio::task::JoinSet<T>);

impl<T: Send + 'static> JoinSet<T> {
    pub(crate) fn new() -> Self {
        Self(tokio::task::JoinSet::new())
    }

    pub(crate) fn spawn(&mut self, future: impl Future<Output = T> + Send + 'static) {
        self.0.spawn(Process::within(future));
    }

    pub(crate) async fn join_next(&mut self) -> Option<Result<T, JoinError>> {
        self.0.join_next().await
    }
}
