//! Streams on madsim's reliable channels. What its own streams lack is made up for here: a writer waits
//! when too much is under way, a write is sent without being flushed, and an end travels like data: it is
//! seen when all before it has come, and not across a link that is cut.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use ::madsim::net::{Endpoint, Payload, Receiver, Sender};
use bytes::{Buf as _, Bytes};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How much may be under way in one direction, or wait to be read: beyond that the writer waits.
const WINDOW: usize = 64 << 10;

/// What one side of a stream has written and the other has not read yet.
#[derive(Debug, Default)]
struct Window(Mutex<(usize, Option<Waker>)>);

impl Window {
    /// Takes room for at most so many bytes; if there is none, the task is woken when there is.
    fn take(&self, wanted: usize, context: &Context<'_>) -> Poll<usize> {
        let (taken, waiting) = &mut *self.0.lock();
        let room = WINDOW - *taken;
        if room == 0 && wanted > 0 {
            *waiting = Some(context.waker().clone());
            return Poll::Pending;
        }
        let got = wanted.min(room);
        *taken += got;
        Poll::Ready(got)
    }

    fn give_back(&self, bytes: usize) {
        let (taken, waiting) = &mut *self.0.lock();
        *taken -= bytes;
        waiting.take().into_iter().for_each(Waker::wake);
    }
}

/// What travels. No bytes: the end.
struct Segment {
    bytes: Bytes,
    window: Arc<Window>,
}

impl Segment {
    /// Bytes of strangers, who have no windows, come as they are.
    fn of(payload: Payload) -> Option<Self> {
        let stranger = match payload.downcast::<Self>() {
            Ok(segment) => return Some(*segment),
            Err(payload) => payload.downcast::<Vec<u8>>().ok()?,
        };
        let window = Arc::new(Window(Mutex::new((stranger.len(), None))));
        Some(Self { bytes: Bytes::from(*stranger), window })
    }
}

pub(crate) struct TcpListener {
    endpoint: Endpoint,
    address: SocketAddr,
}

impl TcpListener {
    pub(crate) async fn bind(address: SocketAddr) -> io::Result<Self> {
        let endpoint = Endpoint::bind(address).await?;
        let address = endpoint.local_addr()?;
        Ok(Self { endpoint, address })
    }

    pub(crate) const fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }

    pub(crate) async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (sender, receiver, peer) = self.endpoint.accept1().await?;
        Ok((TcpStream::new(sender, receiver, self.address, peer), peer))
    }
}

/// A connection. Dropping it closes it.
#[derive(Debug)]
pub(crate) struct TcpStream {
    reader: OwnedReadHalf,
    writer: OwnedWriteHalf,
    address: SocketAddr,
    peer: SocketAddr,
}

impl TcpStream {
    /// Madsim refuses at once where nobody listens, and where a link is cut.
    pub(crate) async fn connect(peer: SocketAddr) -> io::Result<Self> {
        let endpoint = Endpoint::bind(super::ANY_PORT).await?;
        let address = endpoint.local_addr()?;
        let (sender, receiver) = endpoint.connect1(peer).await?;
        Ok(Self::new(sender, receiver, address, peer))
    }

    fn new(sender: Sender, receiver: Receiver, address: SocketAddr, peer: SocketAddr) -> Self {
        let reader = OwnedReadHalf { receiver, unread: None, ended: false };
        let writer = OwnedWriteHalf { sender, window: Arc::default(), ended: false };
        Self { reader, writer, address, peer }
    }

    pub(crate) const fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }

    pub(crate) const fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.peer)
    }

    /// Nothing is ever held back here.
    pub(crate) const fn set_nodelay(&self, _: bool) -> io::Result<()> {
        Ok(())
    }

    pub(crate) fn into_split(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        (self.reader, self.writer)
    }
}

pub(crate) struct OwnedReadHalf {
    receiver: Receiver,
    unread: Option<Segment>,
    ended: bool,
}

impl fmt::Debug for OwnedReadHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedReadHalf").field("ended", &self.ended).finish_non_exhaustive()
    }
}

impl AsyncRead for OwnedReadHalf {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.unread.is_none() && !this.ended {
            // Asking again is asking on: nothing is lost with the future.
            let came = std::task::ready!(pin!(this.receiver.recv()).poll(context));
            let segment = came.ok().and_then(Segment::of);
            this.unread = segment.filter(|segment| !segment.bytes.is_empty());
            this.ended = this.unread.is_none();
        }
        if let Some(segment) = &mut this.unread {
            let taken = segment.bytes.len().min(out.remaining());
            out.put_slice(&segment.bytes[..taken]);
            segment.bytes.advance(taken);
            segment.window.give_back(taken);
            if segment.bytes.is_empty() {
                this.unread = None;
            }
        }
        Poll::Ready(Ok(()))
    }
}

pub(crate) struct OwnedWriteHalf {
    sender: Sender,
    window: Arc<Window>,
    ended: bool,
}

impl fmt::Debug for OwnedWriteHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedWriteHalf").field("ended", &self.ended).finish_non_exhaustive()
    }
}

impl OwnedWriteHalf {
    /// Sends a segment. If nobody is there to take it any more, it is gone: that they have closed is
    /// learned as anything is, when their end arrives.
    fn send(&self, bytes: Bytes) {
        let segment = Segment { bytes, window: Arc::clone(&self.window) };
        let sending = pin!(self.sender.send(Box::new(segment)));
        let _gone = sending.poll(&mut Context::from_waker(Waker::noop()));
    }

    fn end(&mut self) {
        if !std::mem::replace(&mut self.ended, true) {
            self.send(Bytes::new());
        }
    }
}

impl AsyncWrite for OwnedWriteHalf {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.ended {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let taken = std::task::ready!(self.window.take(bytes.len(), context));
        if taken > 0 {
            self.send(Bytes::copy_from_slice(&bytes[..taken]));
        }
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.end();
        Poll::Ready(Ok(()))
    }
}

impl Drop for OwnedWriteHalf {
    fn drop(&mut self) {
        self.end();
    }
}

impl AsyncRead for TcpStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.reader).poll_read(context, out)
    }
}

impl AsyncWrite for TcpStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.writer).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_shutdown(context)
    }
}
