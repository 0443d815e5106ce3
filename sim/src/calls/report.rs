//! `report`: a run as a picture.

use std::path::PathBuf;

use clap::Args;
use grapevine_sim::report;

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
    check_writable(&args.out)?;
    let (outcome, page) = report(&scenario);
    write(&args.out, &page)?;
    say(format_args!("{}\nThe picture: {}", verdict(&outcome), args.out.display()))?;
    Ok(outcome.broken.is_none())
}
