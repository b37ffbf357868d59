//! A connection whose socket somebody else keeps, as something that hyper can serve.
//!
//! The reactor owns the socket, its TLS and its bounds; here it is two bounded channels. Owns the adaption to
//! `AsyncRead` and `AsyncWrite`, nothing else. Must not know reactors.

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures_core::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A connection handed over after its first bytes turned out to be plain HTTP.
pub struct HttpStream {
    /// What was read from the socket already.
    pub head: Bytes,
    /// What comes after; bounded by its sender. Closed: the peer sends no more.
    pub from_socket: flume::Receiver<Bytes>,
    /// The way back. Dropped when the last byte has been handed over: the socket may close then.
    pub to_socket: Box<dyn ToSocket>,
    /// The peer, behind trusted proxies already resolved.
    pub peer: IpAddr,
    pub tls: bool,
}

/// The bounded way to a socket.
pub trait ToSocket: Send + 'static {
    /// Resolves once `bytes` are taken: at once while there is room. An error says that the socket is gone.
    fn send(&self, bytes: Bytes) -> Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

    /// Called after a piece was taken out of `from_socket`, so that a reactor which paused reading goes on.
    fn took(&self) {}
}

/// The plain [`ToSocket`]: a channel, and something to wake its reader with.
pub struct Piped {
    pub sender: flume::Sender<Bytes>,
    /// Called after bytes were put into the channel, and after a piece was taken out of the other one.
    pub wake: Arc<dyn Fn() + Send + Sync>,
}

impl ToSocket for Piped {
    fn send(&self, bytes: Bytes) -> Pin<Box<dyn Future<Output = io::Result<()>> + Send>> {
        let (sender, wake) = (self.sender.clone(), self.wake.clone());
        Box::pin(async move {
            sender.send_async(bytes).await.map_err(|_| gone())?;
            wake();
            Ok(())
        })
    }

    fn took(&self) {
        (self.wake)();
    }
}

impl Drop for Piped {
    /// The reader learns of the end only by looking.
    fn drop(&mut self) {
        let (nobody, _) = flume::bounded(0);
        drop(std::mem::replace(&mut self.sender, nobody));
        (self.wake)();
    }
}

/// One piece towards the socket is at most this long, so that the channel's bound is one of bytes too.
const PIECE: usize = 16 * 1024;

pub(crate) struct Served {
    unread: Bytes,
    from_socket: flume::r#async::RecvStream<'static, Bytes>,
    to_socket: Option<Box<dyn ToSocket>>,
    /// The one piece that waits for room.
    sending: Option<Pin<Box<dyn Future<Output = io::Result<()>> + Send>>>,
}

impl Served {
    pub fn new(head: Bytes, from_socket: flume::Receiver<Bytes>, to_socket: Box<dyn ToSocket>) -> Self {
        Served { unread: head, from_socket: from_socket.into_stream(), to_socket: Some(to_socket), sending: None }
    }

    fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(sending) = &mut self.sending {
            let sent = ready!(sending.as_mut().poll(cx));
            self.sending = None;
            sent?;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Served {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while this.unread.is_empty() {
            match ready!(Pin::new(&mut this.from_socket).poll_next(cx)) {
                Some(bytes) => this.unread = bytes,
                None => return Poll::Ready(Ok(())),
            }
            if let Some(to_socket) = &this.to_socket {
                to_socket.took();
            }
        }
        let n = this.unread.len().min(buf.remaining());
        buf.put_slice(&this.unread[..n]);
        this.unread.advance(n);
        if this.unread.is_empty() {
            // Even an empty rest keeps the whole piece, and with it the sender's room, until it is dropped.
            this.unread = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Served {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_sent(cx))?;
        let Some(to_socket) = &self.to_socket else { return Poll::Ready(Err(gone())) };
        let piece = &buf[..buf.len().min(PIECE)];
        self.sending = Some(to_socket.send(Bytes::copy_from_slice(piece)));
        // Started now, finished by the next write or flush; an error shows at once.
        if let Poll::Ready(Err(error)) = self.poll_sent(cx) {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(piece.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_sent(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_sent(cx))?;
        self.to_socket = None;
        Poll::Ready(Ok(()))
    }
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the socket is gone")
}
