//! A peer made by hand from the description of the handshake, to do what no server does.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use grapevine_tokio::{Farm, LOOPBACK_KEY, ServerId, Timestamp};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub(crate) const HELLO_BYTES: usize = 74;

pub(crate) struct Raw {
    pub(crate) stream: TcpStream,
    pub(crate) server: ServerId,
}

/// A frame with this body.
pub(crate) fn framed(mut body: Vec<u8>) -> Vec<u8> {
    grapevine_core::wire::seal(&mut body);
    [&(body.len() as u32).to_le_bytes()[..], &body].concat()
}

/// What a server says about a refusal: its code and its words.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) code: u8,
    pub(crate) text: String,
}

/// A hello as server `server` of a farm would send it.
pub(crate) fn hello(server: ServerId, farm: &Farm) -> Vec<u8> {
    let mut hello = b"grapevin".to_vec();
    hello.extend(grapevine_core::wire::WIRE_VERSION.to_le_bytes());
    hello.extend(farm.fingerprint());
    hello.extend(server.to_bits().to_le_bytes());
    hello.extend(77u64.to_le_bytes());
    hello.extend([9; 32]);
    assert_eq!(hello.len(), HELLO_BYTES);
    hello
}

pub(crate) fn process(number: u16, boot_ms: u64) -> ServerId {
    ServerId::new(number, Timestamp::from_millis(boot_ms))
}

impl Raw {
    pub(crate) async fn dial(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        Self { stream, server: ServerId::ZERO }
    }

    /// Shakes hands as this server.
    pub(crate) async fn join(
        address: SocketAddr,
        server: ServerId,
        farm: &Farm,
    ) -> Result<Self, Refused> {
        Self::join_with(address, server, farm, &LOOPBACK_KEY).await
    }

    pub(crate) async fn join_with(
        address: SocketAddr,
        server: ServerId,
        farm: &Farm,
        key: &[u8; 32],
    ) -> Result<Self, Refused> {
        let mut raw = Self::dial(address).await;
        let ours = hello(server, farm);
        raw.send(&ours).await;
        raw.expect(1).await?;
        let mut theirs = [0; HELLO_BYTES];
        raw.stream.read_exact(&mut theirs).await.unwrap();
        raw.server = ServerId::from_bits(u64::from_le_bytes(theirs[26..34].try_into().unwrap()));
        let mut proof = [0; 32];
        raw.stream.read_exact(&mut proof).await.unwrap();
        let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
        mac.update(b"grapevine publisher 1");
        mac.update(&ours);
        mac.update(&theirs);
        let proof = mac.finalize().into_bytes();
        raw.send(&proof).await;
        raw.expect(3).await?;
        Ok(raw)
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        // The other side may have closed already; what it says of that is looked at elsewhere.
        let _closed = self.stream.write_all(bytes).await;
    }

    async fn expect(&mut self, kind: u8) -> Result<(), Refused> {
        loop {
            match self.stream.read_u8().await.unwrap() {
                read if read == kind => return Ok(()),
                2 => {
                    let code = self.stream.read_u8().await.unwrap();
                    let _about = self.stream.read_u64_le().await.unwrap();
                    let mut text = vec![0; self.stream.read_u16_le().await.unwrap().into()];
                    self.stream.read_exact(&mut text).await.unwrap();
                    return Err(Refused { code, text: String::from_utf8(text).unwrap() });
                }
                4 => _ = self.stream.read_u64_le().await.unwrap(),
                other => panic!("neither {kind} nor a refusal: {other}"),
            }
        }
    }

    /// The number of the other side's next pulse.
    pub(crate) async fn pulse(&mut self) -> std::io::Result<u64> {
        assert_eq!(self.stream.read_u8().await?, 4, "no pulse");
        self.stream.read_u64_le().await
    }

    /// Echoes a pulse, as a living server does.
    pub(crate) async fn echo(&mut self, number: u64) {
        self.send(&framed([&[255][..], &number.to_le_bytes()].concat())).await;
    }

    /// The refusal with which the other side closes.
    pub(crate) async fn refused(&mut self) -> Refused {
        self.expect(0).await.unwrap_err()
    }

    /// Waits until the other side has closed. Whatever it still says is ignored.
    pub(crate) async fn closed(&mut self) {
        let mut waste = [0; 1024];
        let reading = async {
            loop {
                match self.stream.read(&mut waste).await {
                    Ok(0) => break,
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
                    Err(error) => panic!("{error}"),
                }
            }
        };
        let late = tokio::time::timeout(Duration::from_secs(30), reading).await;
        late.expect("the connection is still open");
    }
}
