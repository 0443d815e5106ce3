//! HTTP within a simulation: what tests of a service need that speaks it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use turmoil::net::{TcpListener, TcpStream};

/// Simulated connections: `axum::serve` takes it as it takes a listener of tokio's.
pub struct Listener(TcpListener);

impl Listener {
    /// Listens at a port of this host.
    ///
    /// # Errors
    /// If somebody listens there already.
    pub async fn bind(port: u16) -> io::Result<Self> {
        Ok(Self(TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await?))
    }
}

impl axum::serve::Listener for Listener {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            if let Ok(accepted) = self.0.accept().await {
                return accepted;
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// What a service answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The first cookie that it set, as it is to be sent back; empty if it set none.
    pub cookie: String,
    /// The body.
    pub body: String,
}

/// Asks a service, as `ask("server-1", 80, "GET /cart", &cookie)`: on a connection of its own, without a body.
///
/// # Errors
/// If no connection comes up, or it breaks, or what comes is not HTTP.
pub async fn ask(host: &str, port: u16, what: &str, cookie: &str) -> io::Result<Answer> {
    let mut stream = TcpStream::connect((host, port)).await?;
    let cookie = if cookie.is_empty() { String::new() } else { format!("cookie: {cookie}\r\n") };
    let asked = format!("{what} HTTP/1.1\r\nhost: {host}\r\n{cookie}connection: close\r\n\r\n");
    stream.write_all(asked.as_bytes()).await?;
    let mut told = String::new();
    stream.read_to_string(&mut told).await?;
    answer(&told).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, told))
}

fn answer(told: &str) -> Option<Answer> {
    let (head, body) = told.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let set = head.lines().find_map(|line| line.strip_prefix("set-cookie: "));
    // What follows the first `;` says how long it is kept, and where.
    let cookie = set.and_then(|set| set.split(';').next()).unwrap_or_default().to_owned();
    Some(Answer { status, cookie, body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_a_status_a_cookie_and_a_body() {
        let told = "HTTP/1.1 200 OK\r\nset-cookie: cart=7; HttpOnly\r\n\r\ntea\r\n\r\n";
        let answer = answer(told).expect("an answer");
        assert_eq!((answer.status, &*answer.cookie, &*answer.body), (200, "cart=7", "tea\r\n\r\n"));
    }

    #[test]
    fn what_is_no_answer_is_none() {
        for told in ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 20\r\n\r\n", "tea\r\n\r\n"] {
            assert!(answer(told).is_none(), "{told}");
        }
    }
}
