//! `grapevine demo`: three real servers on this machine, customers that go from one to the other,
//! and a server that is killed and started again empty. The exit code says whether anything was
//! lost.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::RngExt as _;
use tokio::task::JoinSet;

use crate::cli::DemoArgs;
use crate::signals::Signals;

mod board;
mod check;
mod client;
mod customer;
mod farm;
mod order;
mod progress;
mod report;

use board::Board;
use client::Client;
use customer::{Customer, Visit};
use farm::Servers;
use progress::Progress;
use report::Figures;

/// How many servers the farm has.
const SERVERS: usize = 3;
/// How long the farm may take to start, and a server to come back.
const START: Duration = Duration::from_secs(60);
/// How long the farm may take to be level once the customers have gone.
const LEVEL: Duration = Duration::from_secs(20);

/// What customers share.
pub(crate) struct World {
    client: Client,
    board: Board,
}

/// Runs the demo. The exit code is 0 only if nothing was lost and all servers are identical.
pub(crate) async fn run(args: DemoArgs) -> ExitCode {
    let mut signals = match Signals::new(false) {
        Ok(signals) => signals,
        Err(error) => return failed(&format!("the program can't wait for signals: {error}")),
    };
    let mut servers = None;
    let outcome = tokio::select! {
        outcome = demo(&args, &mut servers) => outcome,
        why = signals.next() => Err(format!("stopped by {why}")),
    };
    if args.hold
        && let (Ok(_), Some(servers)) = (&outcome, &servers)
    {
        hold(servers, &mut signals).await;
    }
    if let Some(mut servers) = servers {
        tokio::select! {
            () = servers.stop() => {}
            _ = signals.next() => {}
        }
    }
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => failed(&why),
    }
}

fn failed(why: &str) -> ExitCode {
    eprintln!("grapevine demo: {why}");
    ExitCode::FAILURE
}

/// The whole demo but for the end of the servers, which are left in `running`. Gives the verdict.
async fn demo(args: &DemoArgs, running: &mut Option<Servers>) -> Result<bool, String> {
    let servers = running.insert(Servers::start(SERVERS, START).await?);
    eprintln!("A farm of {SERVERS} servers runs on this machine:");
    for line in servers.list() {
        eprintln!("  {line}");
    }
    let world = Arc::new(World { client: Client::new(servers.sites())?, board: Board::default() });
    let figures = match drive(args, &world, servers).await {
        Ok(figures) => figures,
        Err(why) => {
            let logs = servers.keep_logs();
            return Err(format!("{why}\nThe servers' logs are in {}", logs.display()));
        }
    };
    println!("{}", report::table(&figures));
    if let Some(path) = &args.json {
        let json = report::json(&figures);
        std::fs::write(path, json)
            .map_err(|error| format!("{} can't be written: {error}", path.display()))?;
    }
    let passed = figures.passed();
    for reason in &figures.reasons {
        eprintln!("FAILED: {reason}");
    }
    if passed {
        eprintln!("Nothing was lost, and all servers are identical.");
    } else {
        eprintln!("The servers' logs are in {}", servers.keep_logs().display());
    }
    Ok(passed)
}

async fn hold(servers: &Servers, signals: &mut Signals) {
    eprintln!("The farm stays until Ctrl-C. Open one of these, and go on at another:");
    for line in servers.list() {
        eprintln!("  {line}");
    }
    signals.next().await;
}

/// Lets the customers shop, with a kill and a restart in between, and checks what is left.
async fn drive(
    args: &DemoArgs,
    world: &Arc<World>,
    servers: &mut Servers,
) -> Result<Figures, String> {
    let whole = Duration::from_secs(args.seconds);
    let start = Instant::now();
    let progress = Progress::start(Arc::clone(world), whole);
    let mut shopping = JoinSet::new();
    for number in 0..args.customers {
        let customer = Customer::new(number, Arc::clone(world));
        shopping.spawn(customer.shop(start + whole));
    }
    let victim = rand::rng().random_range(0..SERVERS);
    let number = victim + 1;
    tokio::time::sleep_until((start + whole.mul_f64(0.4)).into()).await;
    servers.kill(victim).await?;
    progress.say(&format!("server {number} was killed"));
    tokio::time::sleep_until((start + whole.mul_f64(0.65)).into()).await;
    let restarted = Instant::now();
    servers.launch(victim)?;
    progress.say(&format!("server {number} starts again, empty"));
    servers.until_ready(victim, START).await?;
    let restart_to_ready = restarted.elapsed();
    let took = restart_to_ready.as_secs_f64();
    progress.say(&format!("server {number} is level after {took:.2} s"));

    let mut visits: Vec<Visit> = Vec::new();
    while let Some(visit) = shopping.join_next().await {
        visits.push(visit.map_err(|error| format!("a customer's task failed: {error}"))?);
    }
    visits.sort_by_key(|visit| visit.number);
    progress.say("the customers have gone; waiting until all servers are identical");
    let ended = Instant::now();
    let farm = check::level(&world.client, LEVEL).await;
    let end_to_level = ended.elapsed();
    let carts = check::carts(&world.client, &visits).await;
    progress.finish();
    Ok(Figures {
        customers: args.customers,
        seconds: args.seconds,
        killed_server: number,
        restart_to_ready,
        end_to_level,
        ..Figures::of(world, &visits, &farm, &carts)
    })
}
