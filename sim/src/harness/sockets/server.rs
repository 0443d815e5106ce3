//! The process of one server: the adapter that ships, with its real sockets, and its customers. It ends
//! with the run that started it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::AsFd as _;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use grapevine_core::{Address, Request, RequestId, Response};
use grapevine_tokio_witnessed as adapter;
use grapevine_tokio_witnessed::{Grapevine, StopReason, Witness, Witnessed};
use parking_lot::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, sleep_until};

use super::talk::{Order, Plan, Planted, Record, Said, nanos, put, take};
use crate::harness::{KEY, Outcome};
use crate::world::START;

// Once for each adapter: they have the same source, and types of their own.
#[path = "../ask.rs"]
#[allow(clippy::duplicate_mod)]
mod ask;

/// How often it is looked whether the process runs when it is to.
const TICK: Duration = Duration::from_millis(20);
/// What is not worth to be told.
const IN_TIME: Duration = Duration::from_millis(5);

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Tells the run what happens here. What others may come to see is written before they can: so a death
/// loses nothing.
#[derive(Clone)]
struct Mouth(Arc<Mutex<Pending>>);

struct Pending {
    out: File,
    bytes: Vec<u8>,
    /// When the latest was said.
    at: u64,
    /// Whether the engine got something and its actions are not carried out.
    undone: bool,
}

impl Mouth {
    fn say(&self, said: Said) {
        self.say_at(nanos(), said);
    }

    fn say_at(&self, at: u64, said: Said) {
        let pending = &mut *self.0.lock();
        let at = match said {
            // Nothing came since.
            Said::CarriesOut if !pending.undone => return,
            // It is of the moment of the last event.
            Said::CarriesOut => pending.at,
            // What is told of one process is in order.
            _ => at.max(pending.at),
        };
        pending.at = at;
        let waits = matches!(said, Said::Handles { .. } | Said::Starts { .. });
        pending.undone = waits || pending.undone && !matches!(said, Said::CarriesOut);
        put(&mut pending.bytes, &Record { at, said });
        if waits {
            return;
        }
        if pending.out.write_all(&pending.bytes).is_err() {
            // The run is over.
            std::process::exit(0);
        }
        pending.bytes.clear();
    }
}

/// When the run began, for a clock that is a plain function.
static BEGAN: OnceLock<u64> = OnceLock::new();

/// The run's time, in microseconds since the Unix epoch.
fn wall() -> u64 {
    let since = nanos() - BEGAN.get().copied().unwrap_or_default();
    START.as_micros() + since / 1000
}

/// Runs a server for the run that started this process, until that ends.
///
/// # Panics
/// If no run started it.
pub fn serve_a_run() -> ! {
    #[cfg(target_os = "linux")]
    {
        // A paused process can't see that the run is gone.
        use rustix::process::{Signal, set_parent_process_death_signal};
        let _best_effort = set_parent_process_death_signal(Some(Signal::KILL));
    }
    let own = |fd: std::os::fd::BorrowedFd<'_>| {
        File::from(fd.try_clone_to_owned().expect("a process may have a few files"))
    };
    let (mut orders, out) = (own(std::io::stdin().as_fd()), own(std::io::stdout().as_fd()));
    let pending = Pending { out, bytes: Vec::new(), at: 0, undone: false };
    let mouth = Mouth(Arc::new(Mutex::new(pending)));
    let last_words = mouth.clone();
    std::panic::set_hook(Box::new(move |panic| {
        last_words.say(Said::Stops(format!("a panic: {panic}")));
    }));
    let (tell, mut jobs) = unbounded_channel();
    std::thread::spawn(move || read(&mut orders, &tell));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    tokio::task::LocalSet::new().block_on(&runtime, async {
        match jobs.recv().await {
            Some(Order::Start(plan)) => live(*plan, &mouth, jobs).await,
            _ => panic!("only a run on sockets starts this"),
        }
        std::future::pending::<()>().await
    });
    unreachable!("it waits for its end")
}

/// Hands orders on. When there are no more, the run is gone.
fn read(orders: &mut File, tell: &UnboundedSender<Order>) {
    let (mut bytes, mut part) = (Vec::new(), [0; 16 << 10]);
    loop {
        let mut rest = &bytes[..];
        while let Some(order) = take(&mut rest) {
            let _over = tell.send(order);
        }
        let done = bytes.len() - rest.len();
        bytes.drain(..done);
        match orders.read(&mut part) {
            Ok(0) | Err(_) => std::process::exit(0),
            Ok(read) => bytes.extend(&part[..read]),
        }
    }
}

async fn live(plan: Plan, mouth: &Mouth, jobs: UnboundedReceiver<Order>) {
    BEGAN.get_or_init(|| plan.began);
    tokio::task::spawn_local(watch(mouth.clone()));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    mouth.say(Said::Listens(listener.local_addr().expect("it is bound").port()));
    let tells = mouth.clone();
    let mut builder = Grapevine::builder(plan.number)
        .listener(listener)
        .farm_key(KEY)
        .farm(plan.farm)
        .local(plan.local)
        .seed(plan.seed)
        .queue_frames(plan.queue)
        .wall_clock(wall)
        .witness(Witness::new(move |_, what| tells.say(of(what))));
    if plan.planted == Some(Planted::Patience) {
        builder = builder.silence_timeout(DAY).stall_timeout(DAY);
    }
    let peers = plan.peers.iter().map(ToString::to_string);
    match peers.fold(builder, adapter::Builder::peer).start().await {
        Ok(grapevine) => {
            mouth.say(Said::Serves);
            serve(mouth, grapevine, jobs, plan.planted).await;
        }
        Err(error) => mouth.say(Said::Stops(error.to_string())),
    }
}

fn of(what: Witnessed) -> Said {
    match what {
        Witnessed::Starts { config, seed, now } => Said::Starts { config, seed, now },
        Witnessed::Handles { now, event } => Said::Handles { now, event },
        Witnessed::CarriesOut => Said::CarriesOut,
    }
}

/// Tells when this process ran late.
async fn watch(mouth: Mouth) {
    loop {
        let due = Instant::now() + TICK;
        sleep_until(due).await;
        let late = due.elapsed();
        if late > IN_TIME {
            mouth.say(Said::Late(late.as_nanos() as u64));
        }
    }
}

/// Lets customers ask, as long as there is a run.
async fn serve(
    mouth: &Mouth,
    grapevine: Grapevine,
    mut jobs: UnboundedReceiver<Order>,
    planted: Option<Planted>,
) {
    let mut runs = true;
    let first: Rc<RefCell<BTreeMap<Address, Outcome>>> = Rc::default();
    loop {
        tokio::select! { biased;
            reason = grapevine.stopped(), if runs => {
                runs = false;
                if reason != StopReason::Left {
                    mouth.say(Said::Stops(format!("{reason:?}")));
                }
            }
            job = jobs.recv() => match job {
                Some(Order::Ask(id, request)) => {
                    let (grapevine, mouth) = (grapevine.clone(), mouth.clone());
                    let first = (planted == Some(Planted::OldCopies)).then(|| Rc::clone(&first));
                    tokio::task::spawn_local(async move {
                        answer(&mouth, &grapevine, id, *request, first.as_deref()).await;
                    });
                }
                Some(Order::Show) => {
                    let overflow = grapevine.links().queue_overflow;
                    mouth.say(Said::Shows { sessions: grapevine.sessions(), overflow });
                }
                Some(Order::Start(_)) | None => return,
            }
        }
    }
}

async fn answer(
    mouth: &Mouth,
    grapevine: &Grapevine,
    id: RequestId,
    request: Request,
    first: Option<&RefCell<BTreeMap<Address, Outcome>>>,
) {
    // An answer without the engine is of this moment.
    let at = nanos();
    let read = matches!(request, Request::Read { .. });
    let mut outcome = ask::ask(grapevine, request).await;
    if let (Some(first), true, Some(Ok(Response::Session(served)))) = (first, read, &outcome) {
        let address = served.session.id.address;
        let mut first = first.borrow_mut();
        let old = first.entry(address).or_insert_with(|| Ok(Response::Session(served.clone())));
        outcome = Some(old.clone());
    }
    mouth.say_at(at, Said::Answers { id, outcome });
}
