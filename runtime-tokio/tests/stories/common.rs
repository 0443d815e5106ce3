//! A farm of three on this machine, and waiting without sleeping for luck.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;

use grapevine_tokio::{
    Builder, Create, Farm, Grapevine, Key, LinkStatus, Served, Shown, StartError, State,
};

/// How long a condition may take to come true, on a machine with much else to do.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until a condition holds, and says what did not come if it doesn't.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
        panic!("waited {PATIENCE:?} in vain until {what}");
    }
}

/// Settings that let tests see silences within a second.
pub(crate) fn quick(size: u16) -> Farm {
    Farm {
        size,
        heartbeat_every: Duration::from_millis(50),
        suspect_after: Duration::from_millis(400),
        down_after: Duration::from_secs(1),
        ..Farm::default()
    }
}

/// Free ports, kept by listening on them.
pub(crate) fn sockets<const N: usize>() -> [(TcpListener, SocketAddr); N] {
    std::array::from_fn(|_| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    })
}

/// A server with this number and these peers, not started.
pub(crate) fn server(number: u16, peers: impl IntoIterator<Item = SocketAddr>) -> Builder {
    let peers: Vec<_> = peers.into_iter().collect();
    let builder = Grapevine::builder(number).farm(quick(peers.len() as u16 + 1));
    peers.iter().fold(builder, |builder, peer| builder.peer(peer.to_string()))
}

/// Three servers that know each other's addresses.
pub(crate) struct Trio {
    pub(crate) servers: Vec<Grapevine>,
    pub(crate) addresses: Vec<SocketAddr>,
}

impl Trio {
    /// Starts them, and waits until each has heard from the others.
    pub(crate) async fn start() -> Self {
        Self::start_with(|_, builder| builder).await
    }

    pub(crate) async fn start_with(adjust: impl Fn(usize, Builder) -> Builder) -> Self {
        let sockets = sockets::<3>();
        let addresses: Vec<_> = sockets.iter().map(|&(_, address)| address).collect();
        let mut starting = Vec::new();
        for (n, (listener, _)) in sockets.into_iter().enumerate() {
            let builder = adjust(n, Self::builder(&addresses, n)).listener(listener);
            starting.push(tokio::spawn(builder.start()));
        }
        let mut servers = Vec::new();
        for started in starting {
            servers.push(started.await.unwrap().unwrap());
        }
        let trio = Self { servers, addresses };
        trio.all_alive().await;
        trio
    }

    fn builder(addresses: &[SocketAddr], n: usize) -> Builder {
        let others = addresses.iter().enumerate().filter(|&(other, _)| other != n);
        server(n as u16 + 1, others.map(|(_, &address)| address))
    }

    /// Ends a server as a crash would: nothing is said, nothing is kept.
    pub(crate) async fn kill(&mut self, n: usize) {
        let server = self.servers.remove(n);
        let address = server.local_addr();
        drop(server);
        until("the killed server's port is free", async || TcpListener::bind(address).is_ok())
            .await;
    }

    /// Starts a killed server again, empty. Somebody's client may have the port for a moment.
    pub(crate) async fn restart(&mut self, n: usize) {
        let mut started = None;
        until("the port is free and the server starts", async || {
            let builder = Self::builder(&self.addresses, n).listen(self.addresses[n]);
            match builder.start().await {
                Err(StartError::Listen { .. }) => false,
                result => {
                    started = Some(result.unwrap());
                    true
                }
            }
        })
        .await;
        self.servers.insert(n, started.unwrap());
    }

    pub(crate) async fn all_alive(&self) {
        for server in &self.servers {
            until("all servers see each other alive and none is joining", async || {
                sees_all(server, self.servers.len() - 1).await
            })
            .await;
        }
    }

    /// Waits until all servers hold the same, and returns how many sessions that are.
    pub(crate) async fn level(&self) -> u64 {
        let digests = || self.servers.iter().map(Grapevine::digest).collect::<Vec<_>>();
        until("all servers hold identical sessions", async || {
            digests().windows(2).all(|pair| pair[0] == pair[1])
        })
        .await;
        self.servers[0].digest().sessions
    }
}

pub(crate) async fn sees_all(server: &Grapevine, others: usize) -> bool {
    let status = server.status().await.unwrap();
    let alive = status.members.iter().filter(|m| m.state == State::Alive && m.reachable);
    !status.joining && alive.count() == others
}

/// A new session with these attributes.
pub(crate) fn with(attributes: &[(&str, &str)]) -> Create {
    let attribute = |&(key, value): &(&str, &str)| (Key::new(key).unwrap(), value.into());
    Create { attributes: attributes.iter().map(attribute).collect(), ..Create::default() }
}

pub(crate) fn text(served: &Served, key: &str) -> Option<String> {
    match served.session.get(key)? {
        Shown::Bytes(bytes) => Some(String::from_utf8(bytes.to_vec()).unwrap()),
        Shown::Count(count) => Some(count.to_string()),
    }
}

pub(crate) fn count(links: &LinkStatus, reason: &str) -> u64 {
    *links.reasons.get(reason).unwrap_or_else(|| panic!("there is no reason `{reason}`"))
}

/// Stands between a publisher and its peer, and can stop reading, or swallow what it reads.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    running: watch::Sender<bool>,
    /// Connections made before the latest of these swallow all.
    swallowed: watch::Sender<u32>,
}

impl Proxy {
    pub(crate) async fn to(peer: SocketAddr) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (running, swallowed) = (watch::Sender::new(true), watch::Sender::new(0));
        let (gate, swallower) = (running.clone(), swallowed.clone());
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let Ok(far) = TcpStream::connect(peer).await else { continue };
                let (near_read, near_write) = near.into_split();
                let (far_read, far_write) = far.into_split();
                for (from, to) in [(near_read, far_write), (far_read, near_write)] {
                    let (gate, swallower) = (gate.subscribe(), swallower.subscribe());
                    tokio::spawn(Self::forward(from, to, gate, swallower));
                }
            }
        });
        Self { address, running, swallowed }
    }

    /// Every connection that there is swallows all from now on, also its end, and tells nobody; as a path
    /// does whose translator has forgotten it. New ones are as ever.
    pub(crate) fn swallow(&self) {
        self.swallowed.send_modify(|times| *times += 1);
    }

    /// Reads nothing from now on.
    pub(crate) fn pause(&self) {
        self.running.send_replace(false);
    }

    /// Reads again.
    pub(crate) fn resume(&self) {
        self.running.send_replace(true);
    }

    async fn forward(
        mut from: OwnedReadHalf,
        mut to: OwnedWriteHalf,
        mut running: watch::Receiver<bool>,
        swallowed: watch::Receiver<u32>,
    ) {
        let mut buffer = vec![0; 16 << 10];
        let born = *swallowed.borrow();
        let swallows = || *swallowed.borrow() > born;
        while running.wait_for(|&on| on).await.is_ok() {
            match from.read(&mut buffer).await {
                Ok(read) if read > 0 && swallows() => {}
                _ if swallows() => std::future::pending().await,
                Ok(read) if read > 0 && to.write_all(&buffer[..read]).await.is_ok() => {}
                _ => break,
            }
        }
    }
}
