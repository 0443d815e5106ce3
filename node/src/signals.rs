//! What tells the program to stop: SIGTERM, Ctrl-C, and for children the end of standard input.

use tokio::io::AsyncReadExt as _;

/// What tells the program to stop.
pub(crate) struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    stdin: Option<tokio::io::Stdin>,
}

impl Signals {
    /// Listens from now on: to signals, and if asked for to the end of standard input.
    ///
    /// # Errors
    /// What the operating system says.
    pub(crate) fn new(stop_with_stdin: bool) -> std::io::Result<Self> {
        #[cfg(unix)]
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            #[cfg(unix)]
            terminate: signal(SignalKind::terminate())?,
            #[cfg(unix)]
            interrupt: signal(SignalKind::interrupt())?,
            stdin: stop_with_stdin.then(tokio::io::stdin),
        })
    }

    /// Waits for the next one and names it.
    pub(crate) async fn next(&mut self) -> &'static str {
        #[cfg(unix)]
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "Ctrl-C",
            () = ended(&mut self.stdin) => "the end of standard input",
        }
        #[cfg(not(unix))]
        tokio::select! {
            _ = tokio::signal::ctrl_c() => "Ctrl-C",
            () = ended(&mut self.stdin) => "the end of standard input",
        }
    }
}

/// Waits until standard input ends; for ever, if nobody wants to know or it has ended before.
async fn ended(stdin: &mut Option<tokio::io::Stdin>) {
    let Some(open) = stdin else { return std::future::pending().await };
    let mut ignored = [0; 64];
    while matches!(open.read(&mut ignored).await, Ok(1..)) {}
    *stdin = None;
}
