//! `report`: a run as a picture.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use grapevine_sim::report;
use indicatif::{ProgressBar, ProgressStyle};

use super::{Source, check_writable, say, verdict, write};

#[derive(Args)]
pub(crate) struct ReportArgs {
    #[command(flatten)]
    source: Source,
    /// Write the picture here: one HTML file.
    #[arg(long)]
    out: PathBuf,
}

/// Draws a run. `Ok(true)`: all guarantees held in it.
pub(crate) fn call(args: &ReportArgs) -> Result<bool, String> {
    let scenario = args.source.scenario()?;
    args.source.spare(&args.out)?;
    check_writable(&args.out)?;
    let bar = ProgressBar::new_spinner();
    let style = ProgressStyle::with_template("{elapsed_precise} {spinner} {msg}");
    bar.set_style(style.map_err(|error| error.to_string())?);
    bar.set_message("running and drawing");
    bar.enable_steady_tick(Duration::from_millis(200));
    let (outcome, page) = report(&scenario);
    bar.finish_and_clear();
    write(&args.out, &page)?;
    say(format_args!("{}\nThe picture: {}", verdict(&outcome), args.out.display()))?;
    Ok(outcome.broken.is_none())
}
