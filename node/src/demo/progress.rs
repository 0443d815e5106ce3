//! What is shown while the customers shop: a live line on a terminal, plain lines elsewhere.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use tokio::task::JoinHandle;

use super::World;

const LIVE: Duration = Duration::from_millis(150);
const PLAIN: Duration = Duration::from_secs(2);

/// The display. It stops when it is dropped.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    ticker: JoinHandle<()>,
}

impl Progress {
    /// Shows what happens for about `whole`.
    pub(super) fn start(world: Arc<World>, whole: Duration) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| live(whole));
        let ticker = tokio::spawn(tick(world, bar.clone()));
        Self { bar, ticker }
    }

    /// Says that something has happened.
    pub(super) fn say(&self, what: &str) {
        match &self.bar {
            Some(bar) => bar.println(format!("  {what}")),
            None => eprintln!("  {what}"),
        }
    }

    /// Ends the display.
    pub(super) fn finish(self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.ticker.abort();
    }
}

fn live(whole: Duration) -> ProgressBar {
    let bar = ProgressBar::new(u64::try_from(whole.as_millis()).unwrap_or(u64::MAX));
    let style = ProgressStyle::with_template("  {spinner} [{bar:30}] {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

async fn tick(world: Arc<World>, bar: Option<ProgressBar>) {
    let began = Instant::now();
    loop {
        tokio::time::sleep(if bar.is_some() { LIVE } else { PLAIN }).await;
        let line = line(&world);
        match &bar {
            Some(bar) => {
                let ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
                bar.set_position(ms.min(bar.length().unwrap_or(ms)));
                bar.set_message(line);
            }
            None => eprintln!("  {:>3} s: {line}", began.elapsed().as_secs()),
        }
    }
}

fn line(world: &World) -> String {
    let board = &world.board;
    let by_server: Vec<String> =
        board.by_server.iter().map(|count| count.get().to_string()).collect();
    format!(
        "{} interactions (by server {}), {} found their session, {} went on elsewhere",
        board.interactions.get(),
        by_server.join(" / "),
        board.found.get(),
        board.moved_on.get()
    )
}
