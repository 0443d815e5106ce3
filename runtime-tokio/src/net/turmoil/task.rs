//! Tasks of a simulated process. Turmoil's hosts always run, and tokio ends the tasks of one that crashes in an
//! order that comes from everything that its program has done before. So each task knows its process, which
//! can stand still, and can end all its tasks in order.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use tokio::task::{JoinError, JoinHandle};

pub(crate) use tokio::task::AbortHandle;

thread_local! {
    /// Whose task is polled now.
    static CURRENT: RefCell<Option<Process>> = const { RefCell::new(None) };
}

/// A process: a future that is run in it, and all tasks of the server that it starts.
#[derive(Clone, Debug, Default)]
pub struct Process(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    is: Is,
    /// How many tasks it has had.
    begun: u64,
    /// How those that wait are woken, in the order in which they were begun.
    tasks: BTreeMap<u64, Waker>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Is {
    #[default]
    Running,
    Paused,
    Over,
}

impl Process {
    /// One that runs.
    pub fn new() -> Self {
        Self::default()
    }

    /// Stops it where it is: what comes waits, and its timers will be late.
    pub fn pause(&self) {
        self.0.lock().is = Is::Paused;
    }

    /// Has it go on.
    pub fn resume(&self) {
        self.becomes(Is::Running);
    }

    /// Ends it: when its host runs next, all its tasks are dropped, in the order in which they were begun. (A host
    /// that crashes drops them too; but tokio goes by numbers that all tasks of a program share.)
    pub fn end(&self) {
        self.becomes(Is::Over);
    }

    /// Runs a future in it.
    pub fn run<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        Running::new(Some(self.clone()), future)
    }

    /// Runs a future in the process whose task is polled now, if it is one's.
    pub fn within<F: Future>(future: F) -> impl Future<Output = F::Output> + use<F> {
        Running::new(CURRENT.with_borrow(Clone::clone), future)
    }

    fn becomes(&self, is: Is) {
        let woken: Vec<Waker> = {
            let mut state = self.0.lock();
            state.is = is;
            state.tasks.values().cloned().collect()
        };
        woken.into_iter().for_each(Waker::wake);
    }
}

/// A future that is polled only while its process runs.
struct Running<F> {
    process: Option<Process>,
    number: u64,
    future: Option<Pin<Box<F>>>,
}

impl<F: Future> Running<F> {
    fn new(process: Option<Process>, future: F) -> Self {
        let begins = |process: &Process| {
            let mut state = process.0.lock();
            state.begun += 1;
            state.begun
        };
        let number = process.as_ref().map_or(0, begins);
        Self { process, number, future: Some(Box::pin(future)) }
    }

    /// What its process is doing, which will wake it when that changes.
    fn is(&self, context: &Context<'_>) -> Is {
        let Some(process) = &self.process else { return Is::Running };
        let mut state = process.0.lock();
        state.tasks.insert(self.number, context.waker().clone());
        state.is
    }
}

impl<F: Future> Future for Running<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let is = self.is(context);
        let _polled = Polled::new(self.process.clone());
        match (is, &mut self.future) {
            (Is::Running, Some(future)) => future.as_mut().poll(context),
            (Is::Over, future) => {
                *future = None;
                Poll::Pending
            }
            _ => Poll::Pending,
        }
    }
}

impl<F> Drop for Running<F> {
    fn drop(&mut self) {
        if let Some(process) = &self.process {
            let waker = process.0.lock().tasks.remove(&self.number);
            drop(waker);
        }
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
) -> JoinHandle<T> {
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
