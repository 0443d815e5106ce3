//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Keeps customer sessions alive across a farm of servers, with no central store and no sticky
/// load balancer.
#[derive(Debug, Parser)]
#[command(name = "grapevine", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to run.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run one server of a farm until SIGTERM or Ctrl-C.
    Serve(ServeArgs),
    /// Run a farm of three servers on this machine, with customers, and a server that is killed.
    Demo(DemoArgs),
    /// Ask servers whether they hold the same sessions, and mend what differs. Ends with 0 if they
    /// do, with 1 if any differed, with 2 if that could not be found out.
    Verify(VerifyArgs),
}

/// One server. What stands here overrides the file; see docs/http.md for the HTTP interface.
#[derive(Debug, Default, Args)]
pub(crate) struct ServeArgs {
    /// Read options from this TOML file; node/grapevine.example.toml shows all of them
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// This server's number in the farm, from 1 to 65535; no two servers may have the same
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) id: Option<u16>,
    /// Where the other servers reach this one; a loopback address
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) listen: Option<SocketAddr>,
    /// Where customers reach this server; a loopback address
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) http: Option<SocketAddr>,
    /// Where another server listens for servers; once for each of the others
    #[arg(long = "peer", value_name = "HOST:PORT")]
    pub(crate) peers: Vec<String>,
    /// Another server's address for customers, for the links of the shop page; repeatable
    #[arg(long = "site", value_name = "URL")]
    pub(crate) sites: Vec<String>,
    /// The cookie that carries the token [default: grapevine]
    #[arg(long, value_name = "NAME")]
    pub(crate) cookie: Option<String>,
    /// A second cookie for what the token says its carrier has seen, so that the first holds an ID
    /// that never changes [default: none]
    #[arg(long, value_name = "NAME")]
    pub(crate) context_cookie: Option<String>,
    /// What to log to standard error, such as `info` or `grapevine_tokio=debug`; the environment
    /// variable RUST_LOG is heeded when this is not given [default: info]
    #[arg(long, value_name = "FILTER")]
    pub(crate) log: Option<String>,
    /// Stop as on SIGTERM when standard input ends: so that children die with their parent
    #[arg(long, hide = true)]
    pub(crate) stop_with_stdin: bool,
}

/// A verification.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// A server to ask, such as http://127.0.0.1:8401; it compares itself with all others of its
    /// farm. Several are asked one after another
    #[arg(long = "http", value_name = "URL", required = true, num_args = 1..)]
    pub(crate) urls: Vec<String>,
    /// How many seconds each may take
    #[arg(long, value_name = "S", default_value_t = 30,
          value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) within: u64,
    /// Print the reports as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// The demo.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// How many customers are there at once
    #[arg(long, value_name = "N", default_value_t = 60,
          value_parser = clap::value_parser!(u32).range(1..=5000))]
    pub(crate) customers: u32,
    /// For how many seconds they shop
    #[arg(long, value_name = "S", default_value_t = 12,
          value_parser = clap::value_parser!(u64).range(3..=3600))]
    pub(crate) seconds: u64,
    /// Write the figures to this file, as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Leave the farm running afterwards, for a look with a browser, until Ctrl-C
    #[arg(long)]
    pub(crate) hold: bool,
}
