//! Servers as child processes, and how to talk to them.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// Far longer than anything here takes: it only ends tests that would never end.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_grapevine");

/// A port on which nobody listens, below those that systems hand out to clients, so that a server
/// can be started again on its own.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    const FIRST: u16 = 10_000;
    const COUNT: u16 = 9_000;
    // Test binaries that run at once begin at different places.
    let offset = (std::process::id() % u32::from(COUNT)) as u16;
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + (offset + step % COUNT) % COUNT;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

pub(crate) fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// Polls until `condition` gives something.
pub(crate) async fn until<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = condition().await {
            return found;
        }
        assert!(Instant::now() < end, "it did not come to this: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Runs the program to its end.
pub(crate) async fn run(args: &[&str]) -> Output {
    let mut command = Command::new(PROGRAM);
    command.args(args).env_remove("RUST_LOG").stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, command.output()).await;
    output.expect("the program did not end").unwrap()
}

/// What the program said on standard error.
pub(crate) fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub(crate) struct Farm {
    pub(crate) servers: Vec<Server>,
    pub(crate) http: reqwest::Client,
    more_config: String,
    folder: TempDir,
}

pub(crate) struct Server {
    pub(crate) number: u16,
    pub(crate) farm: SocketAddr,
    pub(crate) http: SocketAddr,
    child: Option<Child>,
}

impl Farm {
    /// A farm whose servers are all ready.
    pub(crate) async fn start(count: u16) -> Self {
        Self::start_with(count, "").await
    }

    /// The same, with more in the configuration file.
    pub(crate) async fn start_with(count: u16, more_config: &str) -> Self {
        let mut farm = Self::prepare(count, more_config);
        for at in 0..usize::from(count) {
            farm.launch(at);
        }
        for at in 0..usize::from(count) {
            farm.until_ready(at).await;
        }
        farm
    }

    /// A farm of which no server runs yet.
    pub(crate) fn prepare(count: u16, more_config: &str) -> Self {
        let server = |number| Server {
            number,
            farm: local(free_port()),
            http: local(free_port()),
            child: None,
        };
        Self {
            servers: (1..=count).map(server).collect(),
            http: reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap(),
            more_config: more_config.into(),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn launch(&mut self, at: usize) {
        let number = self.servers[at].number;
        self.launch_as(at, number);
    }

    /// Starts a server under any number.
    pub(crate) fn launch_as(&mut self, at: usize, number: u16) {
        let log = File::options().create(true).append(true).open(self.log(at)).unwrap();
        self.launch_with(at, number, log.into());
    }

    /// The same, for a server whose log nobody reads: the other end of its pipe is closed.
    pub(crate) fn launch_unheard(&mut self, at: usize) {
        let number = self.servers[at].number;
        self.launch_with(at, number, Stdio::piped());
        drop(self.servers[at].child.as_mut().and_then(|child| child.stderr.take()));
    }

    fn launch_with(&mut self, at: usize, number: u16, log: Stdio) {
        let own = &self.servers[at];
        let config = self.folder.path().join(format!("server-{at}.toml"));
        let peers: Vec<String> = self
            .servers
            .iter()
            .filter(|other| other.farm != own.farm)
            .map(|other| format!("{:?}", other.farm.to_string()))
            .collect();
        let text = format!(
            "id = {number}\nlisten = \"{}\"\nhttp = \"{}\"\npeers = [{}]\n{}\n",
            own.farm,
            own.http,
            peers.join(", "),
            self.more_config
        );
        std::fs::write(&config, text).unwrap();
        let child = Command::new(PROGRAM)
            .args(["serve", "--stop-with-stdin", "--log", "info", "--config"])
            .arg(config)
            .env_remove("RUST_LOG")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        self.servers[at].child = Some(child);
    }

    pub(crate) async fn until_ready(&mut self, at: usize) {
        let end = Instant::now() + PATIENCE;
        while !matches!(self.try_get(at, "/ready").await, Some((200, _))) {
            let child = self.servers[at].child.as_mut().expect("it was not started");
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none(), "server {at} ended: {}", self.said_by(at));
            assert!(Instant::now() < end, "server {at} is not ready: {}", self.said_by(at));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// SIGKILL.
    pub(crate) async fn kill(&mut self, at: usize) {
        self.servers[at].child.take().expect("it does not run").kill().await.unwrap();
    }

    /// SIGTERM.
    pub(crate) async fn terminate(&self, at: usize) {
        self.signal(at, "TERM").await;
    }

    pub(crate) async fn signal(&self, at: usize, name: &str) {
        let child = self.servers[at].child.as_ref().expect("it does not run");
        let id = child.id().expect("it has ended");
        let sent = Command::new("sh").arg("-c").arg(format!("kill -{name} {id}")).status().await;
        assert!(sent.unwrap().success());
    }

    /// Closes the server's standard input.
    pub(crate) fn end_stdin(&mut self, at: usize) {
        let child = self.servers[at].child.as_mut().expect("it does not run");
        drop(child.stdin.take());
    }

    /// Waits until the server has ended by itself.
    pub(crate) async fn until_ended(&mut self, at: usize) -> ExitStatus {
        let mut child = self.servers[at].child.take().expect("it does not run");
        // Waiting would close it, which is a reason to stop.
        let _open = child.stdin.take();
        let ended = tokio::time::timeout(PATIENCE, child.wait()).await;
        ended.unwrap_or_else(|_| panic!("server {at} did not end: {}", self.said_by(at))).unwrap()
    }

    fn log(&self, at: usize) -> PathBuf {
        self.folder.path().join(format!("server-{at}.log"))
    }

    /// The server's log.
    pub(crate) fn said_by(&self, at: usize) -> String {
        std::fs::read_to_string(self.log(at)).unwrap_or_default()
    }

    pub(crate) fn url(&self, at: usize, path: &str) -> String {
        format!("http://{}{path}", self.servers[at].http)
    }

    async fn try_get(&self, at: usize, path: &str) -> Option<(u16, Value)> {
        let response = self.http.get(self.url(at, path)).send().await.ok()?;
        let status = response.status().as_u16();
        Some((status, response.json().await.unwrap_or_default()))
    }

    /// Sends a request with a body as it is, and gives status and JSON (null if there is none).
    pub(crate) async fn send(
        &self,
        method: &str,
        at: usize,
        path: &str,
        body: &str,
    ) -> (u16, Value) {
        let method = method.parse::<reqwest::Method>().unwrap();
        let request = self.http.request(method, self.url(at, path)).body(body.to_string());
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        if text.is_empty() {
            return (status, Value::Null);
        }
        (status, serde_json::from_str(&text).unwrap_or_else(|_| panic!("no JSON: {text}")))
    }

    pub(crate) async fn get(&self, at: usize, path: &str) -> (u16, Value) {
        self.send("GET", at, path, "").await
    }

    /// Makes a session and gives its token.
    pub(crate) async fn create(&self, at: usize, body: &str) -> String {
        let (status, made) = self.send("POST", at, "/sessions?acks=all", body).await;
        assert_eq!(status, 201, "{made}");
        token(&made)
    }

    /// The attributes that a server shows.
    pub(crate) async fn attributes(&self, at: usize, token: &str) -> Value {
        let (status, shown) = self.get(at, &format!("/sessions/{token}")).await;
        assert_eq!(status, 200, "{shown}");
        shown["session"]["attributes"].clone()
    }

    /// Waits until all servers are ready and identical, with this many sessions.
    pub(crate) async fn until_level(&self, sessions: u64) {
        until("all servers are ready and identical", async || {
            let mut digests = BTreeMap::new();
            for at in 0..self.servers.len() {
                let (ready, _) = self.try_get(at, "/ready").await?;
                let (_, digest) = self.try_get(at, "/digest").await?;
                (ready == 200 && digest["sessions"] == sessions).then_some(())?;
                digests.insert(digest["hash"].as_str()?.to_string(), at);
            }
            (digests.len() == 1).then_some(())
        })
        .await;
    }

    /// How `at` sees the server with this number.
    pub(crate) async fn state_of(&self, at: usize, number: u16) -> Option<String> {
        let (_, farm) = self.try_get(at, "/farm").await?;
        let members = farm["members"].as_array()?;
        let member = members.iter().find(|member| member["server"] == number)?;
        Some(member["state"].as_str()?.to_string())
    }
}

pub(crate) fn token(body: &Value) -> String {
    body["token"].as_str().unwrap_or_else(|| panic!("no token in {body}")).to_string()
}
