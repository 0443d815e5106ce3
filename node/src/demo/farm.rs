//! The demo's servers: real processes, so that a kill is a real one.

use std::fs::OpenOptions;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rand::RngExt as _;
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// Ports below those that systems hand out to clients: while a server is down, no client's
/// connection can take its port.
const PORTS: std::ops::Range<u16> = 20_000..32_000;
const POLL: Duration = Duration::from_millis(10);
/// How long a server may take to leave in order.
const LEAVE: Duration = Duration::from_secs(15);

/// A farm of child processes. Dropping it kills them; should this process die in any other way,
/// the end of their standard input stops them.
pub(super) struct Servers {
    program: PathBuf,
    logs: TempDir,
    servers: Vec<Server>,
    http: reqwest::Client,
}

struct Server {
    farm: SocketAddr,
    http: SocketAddr,
    child: Option<Child>,
}

impl Servers {
    /// Starts `count` servers and waits until all are ready.
    ///
    /// # Errors
    /// A sentence, with the end of the log of the server that did not start.
    pub(super) async fn start(count: usize, patience: Duration) -> Result<Self, String> {
        let program = std::env::current_exe()
            .map_err(|error| format!("the program does not know where it lies: {error}"))?;
        let logs = tempfile::Builder::new()
            .prefix("grapevine-demo-")
            .tempdir()
            .map_err(|error| format!("there is no folder for the logs: {error}"))?;
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(5))
            .build()
            .map_err(|error| format!("the HTTP client could not start: {error}"))?;
        let ports = free_ports(2 * count)?;
        let at = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let server = |pair: &[u16]| Server { farm: at(pair[0]), http: at(pair[1]), child: None };
        let servers = ports.chunks(2).map(server).collect();
        let mut farm = Self { program, logs, servers, http };
        for server in 0..count {
            farm.launch(server)?;
        }
        for server in 0..count {
            farm.until_ready(server, patience).await?;
        }
        Ok(farm)
    }

    /// Starts one server, empty.
    ///
    /// # Errors
    /// A sentence, if the process can't be started.
    pub(super) fn launch(&mut self, server: usize) -> Result<(), String> {
        let problem = |error| format!("server {} can't be started: {error}", server + 1);
        let log =
            OpenOptions::new().create(true).append(true).open(self.log(server)).map_err(problem)?;
        let own = &self.servers[server];
        let mut command = Command::new(&self.program);
        command
            .args(["serve", "--stop-with-stdin", "--log", "info", "--id"])
            .arg((server + 1).to_string())
            .args(["--listen", &own.farm.to_string(), "--http", &own.http.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true);
        for (_, other) in self.servers.iter().enumerate().filter(|&(other, _)| other != server) {
            command.args(["--peer", &other.farm.to_string()]);
            command.arg("--site").arg(site(other));
        }
        // Ctrl-C is for the demo; the servers hear of it from the demo.
        #[cfg(unix)]
        command.process_group(0);
        self.servers[server].child = Some(command.spawn().map_err(problem)?);
        Ok(())
    }

    /// Waits until a server is ready.
    ///
    /// # Errors
    /// A sentence with the end of its log, if it ended or was not ready in time.
    pub(super) async fn until_ready(
        &mut self,
        server: usize,
        patience: Duration,
    ) -> Result<(), String> {
        let end = Instant::now() + patience;
        let url = format!("{}/ready", site(&self.servers[server]));
        loop {
            let asked = self.http.get(&url).send().await;
            if asked.is_ok_and(|response| response.status().is_success()) {
                return Ok(());
            }
            let child = self.servers[server].child.as_mut();
            let ended = child.is_none_or(|child| !matches!(child.try_wait(), Ok(None)));
            if ended || Instant::now() > end {
                let what = if ended { "ended" } else { "was not ready in time" };
                let log = std::fs::read_to_string(self.log(server)).unwrap_or_default();
                let lines: Vec<&str> = log.lines().rev().take(10).collect();
                let last: Vec<&str> = lines.into_iter().rev().collect();
                return Err(format!("server {} {what}:\n{}", server + 1, last.join("\n")));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Kills a server hard: SIGKILL, nothing is said or saved.
    ///
    /// # Errors
    /// A sentence, if the process can't be killed.
    pub(super) async fn kill(&mut self, server: usize) -> Result<(), String> {
        let Some(mut child) = self.servers[server].child.take() else { return Ok(()) };
        let problem = |error| format!("server {} can't be killed: {error}", server + 1);
        child.kill().await.map_err(problem)
    }

    /// Lets all servers leave in order; those that don't are killed.
    pub(super) async fn stop(&mut self) {
        for server in &mut self.servers {
            if let Some(child) = &mut server.child {
                drop(child.stdin.take());
            }
        }
        for server in &mut self.servers {
            if let Some(mut child) = server.child.take()
                && tokio::time::timeout(LEAVE, child.wait()).await.is_err()
            {
                let _ = child.kill().await;
            }
        }
    }

    /// Where customers reach the servers.
    pub(super) fn sites(&self) -> Vec<String> {
        self.servers.iter().map(site).collect()
    }

    /// A line for each server, for people.
    pub(super) fn list(&self) -> Vec<String> {
        let line = |(n, server): (usize, &Server)| {
            format!("server {}: {}  (farm link at {})", n + 1, site(server), server.farm)
        };
        self.servers.iter().enumerate().map(line).collect()
    }

    /// Keeps the logs beyond the end of the demo, and tells where they are.
    pub(super) fn keep_logs(&mut self) -> &Path {
        self.logs.disable_cleanup(true);
        self.logs.path()
    }

    fn log(&self, server: usize) -> PathBuf {
        self.logs.path().join(format!("server-{}.log", server + 1))
    }
}

fn site(server: &Server) -> String {
    format!("http://{}", server.http)
}

/// Different ports on which nobody listens.
fn free_ports(count: usize) -> Result<Vec<u16>, String> {
    let mut taken: Vec<TcpListener> = Vec::new();
    let mut random = rand::rng();
    for _ in 0..1000 {
        let port = random.random_range(PORTS);
        // Kept until all are found, so that no port is found twice.
        taken.extend(TcpListener::bind((Ipv4Addr::LOCALHOST, port)));
        if taken.len() == count {
            let port = |listener: &TcpListener| listener.local_addr().map(|at| at.port());
            let ports: std::io::Result<Vec<u16>> = taken.iter().map(port).collect();
            return ports.map_err(|error| format!("a port can't be told: {error}"));
        }
    }
    Err(format!("no {count} free ports were found from {} to {}", PORTS.start, PORTS.end))
}
