//! The HTTP side of the port: a request that is no WebSocket handshake goes to the HTTP door as a stream of bytes.
//!
//! The reactor keeps the socket (and its TLS); the HTTP side sees two bounded queues. Towards it every chunk carries a
//! credit that returns when the chunk is dropped, so a reader that is slow is not read for; from it a full queue makes
//! the sender wait until the socket took more.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use tidegate_domain::ids::ConnId;

use crate::credit::Credit;
use crate::mailbox::Post;

/// Chunks that may wait for the socket.
const WAITING: usize = 8;

/// Serves what is HTTP on the shared port.
pub trait HttpDoor: Send + Sync {
    /// Takes over a connection; called on a reactor's thread, never waits.
    fn accept(&self, stream: HttpStream);
}

/// One HTTP connection, from its first request on.
pub struct HttpStream {
    /// What was read so far: at least one whole request head, perhaps more.
    pub head: Bytes,
    /// What comes after `head`. The channel closes when the client stops sending. Keep no chunk longer than needed:
    /// the room it takes is given back when it is dropped.
    pub from_socket: flume::Receiver<Bytes>,
    /// Towards the client; dropping it closes the connection once all was sent.
    pub to_socket: HttpSender,
    /// The client's own address, behind trusted proxies.
    pub peer: IpAddr,
    pub tls: bool,
}

/// The connection is gone; what was not sent is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpGone;

impl std::fmt::Display for HttpGone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the HTTP client is gone")
    }
}

impl std::error::Error for HttpGone {}

/// The way to an HTTP client's socket: bounded, and it wakes the reactor. The connection closes when the last clone is
/// dropped and what was queued is out.
#[derive(Clone)]
pub struct HttpSender {
    queue: Option<flume::Sender<Bytes>>,
    conn: ConnId,
    post: Arc<Post>,
}

impl HttpSender {
    pub(crate) fn new(conn: ConnId, post: Arc<Post>) -> (Self, flume::Receiver<Bytes>) {
        let (queue, rest) = flume::bounded(WAITING);
        (HttpSender { queue: Some(queue), conn, post }, rest)
    }

    /// Queues a chunk; resolves at once while there is room, else when the socket has taken more.
    pub fn send(&self, chunk: Bytes) -> impl Future<Output = Result<(), HttpGone>> + Send + 'static {
        let way = self.clone();
        async move {
            let Some(queue) = &way.queue else { return Err(HttpGone) };
            queue.send_async(chunk).await.map_err(|_| HttpGone)?;
            way.post.attend(way.conn);
            Ok(())
        }
    }

    /// Queues a chunk if there is room, and gives it back otherwise.
    pub fn try_send(&self, chunk: Bytes) -> Result<Option<Bytes>, HttpGone> {
        let Some(queue) = &self.queue else { return Err(HttpGone) };
        match queue.try_send(chunk) {
            Ok(()) => {
                self.post.attend(self.conn);
                Ok(None)
            }
            Err(flume::TrySendError::Full(chunk)) => Ok(Some(chunk)),
            Err(flume::TrySendError::Disconnected(_)) => Err(HttpGone),
        }
    }

    /// Queues a chunk, waiting for room; for threads.
    pub fn send_blocking(&self, chunk: Bytes) -> Result<(), HttpGone> {
        let Some(queue) = &self.queue else { return Err(HttpGone) };
        queue.send(chunk).map_err(|_| HttpGone)?;
        self.post.attend(self.conn);
        Ok(())
    }
}

impl Drop for HttpSender {
    fn drop(&mut self) {
        // If this was the last, the reactor must find the queue's end when it looks.
        self.queue = None;
        self.post.attend(self.conn);
    }
}

/// A chunk of a request and the credit that it holds.
pub(crate) struct Chunk {
    pub(crate) bytes: Vec<u8>,
    pub(crate) _credit: Credit,
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}
