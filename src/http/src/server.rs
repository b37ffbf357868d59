//! The two servers: connections handed over by the reactors, and the admin side's own listener.
//!
//! Owns how many there may be at once and how they end. Must not know what the routes say.

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tidegate_domain::app::App;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use crate::admin::{self, Admin, Tokens};
use crate::places::{GivenUp, Place, Places};
use crate::public::{self, Journeys, Page, Peer, Public};
use crate::stream::Served;
use crate::{HttpRuntime, HttpStream, StartError};

/// What the operator chose.
#[derive(Debug, Clone)]
pub struct Options {
    /// `http(s)://host[:port]`: what `/v1/route` tells, in place of the request's own host and scheme.
    pub public_url: Option<Box<str>>,
    /// Seconds that an SDK may keep what `/v1/route` told.
    pub route_ttl_s: u32,
    /// Plain HTTP connections served at once; for one more, the one that has been idle for longest is ended. It is
    /// answered 503 where none is.
    pub connections: usize,
    /// The longest wait for a request's head, idle keep-alive included, on either side.
    pub head_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Options { public_url: None, route_ttl_s: 3600, connections: 1024, head_timeout: Duration::from_secs(30) }
    }
}

/// What the rest of the server lends.
#[derive(Default)]
pub struct Deps {
    pub apps: Vec<App>,
    /// Served as they are; empty outside development.
    pub pages: Vec<Page>,
    /// `None` outside development: the path does not exist then.
    pub journeys: Option<Arc<dyn Journeys>>,
    /// The admin side, and where it listens, from [`bind_admin`]: beyond loopback only with tokens.
    pub admin: Option<(TcpListener, Arc<dyn Admin>)>,
    /// What lets in there.
    pub admin_tokens: Tokens,
    /// What the admin side serves as it is.
    pub admin_pages: Vec<Page>,
}

/// Takes the admin side's address before anything is started that it would have to show. Port 0 takes a free one.
pub fn bind_admin(address: SocketAddr) -> Result<TcpListener, StartError> {
    let refused = |source| StartError::Listen { address, source };
    let listener = TcpListener::bind(address).map_err(refused)?;
    listener.set_nonblocking(true).map_err(refused)?;
    Ok(listener)
}

/// Connections to the admin side at once: scrapers, engineers and scripts; one more is answered 503.
const ADMIN_CONNECTIONS: usize = 64;
/// For the answer of whoever makes room for somebody else.
const FAREWELL: Duration = Duration::from_millis(100);

/// The running HTTP side. It lives on the runtime; dropped, it drains.
pub struct HttpSide {
    handle: Handle,
    public: Router,
    places: Arc<Places>,
    leaving: watch::Sender<bool>,
    head_timeout: Duration,
    admin: Option<SocketAddr>,
}

impl HttpSide {
    /// Begins to serve the admin side; the public one serves what it is handed.
    pub fn start(runtime: &HttpRuntime, options: Options, deps: Deps) -> Result<Self, StartError> {
        let handle = runtime.handle();
        let told = options.public_url.as_deref().map(public::socket_url).transpose()?;
        let public = public::router(Public {
            apps: deps.apps.iter().map(|app| app.id.clone()).collect(),
            told,
            ttl_s: options.route_ttl_s,
            pages: deps.pages.into_iter().map(|page| (page.path, page)).collect(),
            journeys: deps.journeys,
        });
        let admin = match deps.admin {
            Some((listener, admin)) => {
                let routes = admin::router(admin, deps.admin_pages, &deps.admin_tokens);
                Some(serve_admin(&handle, listener, routes, options.head_timeout)?)
            }
            None => None,
        };
        Ok(HttpSide {
            handle,
            public,
            places: Places::new(options.connections),
            leaving: watch::Sender::new(false),
            head_timeout: options.head_timeout,
            admin,
        })
    }

    /// Where the admin side listens, with the port that was really taken.
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// Serves one connection until either side ends it. Never blocks.
    pub fn accept(&self, stream: HttpStream) {
        let (mut place, places) = (self.places.take(), self.places.clone());
        let HttpStream { head, from_socket, to_socket, peer, tls } = stream;
        let (public, leaving, head_timeout) = (self.public.clone(), self.leaving.subscribe(), self.head_timeout);
        self.handle.spawn(async move {
            if place.is_none() {
                place = places.wait().await;
            }
            let Some((place, given_up)) = place else {
                _ = to_socket.send(full()).await;
                return;
            };
            let stream = Served::new(head, from_socket, to_socket);
            serve(stream, Peer { ip: peer, tls }, public, (place, given_up), leaving, head_timeout).await;
        });
    }

    /// No connection outlives its request from now on. The admin side goes on, for `/readyz` has to say so.
    pub fn drain(&self) {
        self.leaving.send_replace(true);
    }
}

/// The whole answer to a connection too many.
fn full() -> Bytes {
    const BODY: &str = r#"{"code":503,"error":"Too many HTTP connections. Try later."}"#;
    let head = "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nconnection: close";
    format!("{head}\r\ncontent-length: {}\r\n\r\n{BODY}", BODY.len()).into()
}

async fn serve(
    stream: Served,
    peer: Peer,
    public: Router,
    (place, mut given_up): (Place, GivenUp),
    mut leaving: watch::Receiver<bool>,
    head_timeout: Duration,
) {
    let routes = TowerToHyperService::new(public);
    let place = Arc::new(place);
    let service = hyper::service::service_fn(move |mut request: hyper::Request<Incoming>| {
        place.asks();
        request.extensions_mut().insert(peer);
        let answer = hyper::service::Service::call(&routes, request);
        let place = place.clone();
        async move {
            let answer = answer.await.unwrap_or_else(|never| match never {});
            // Where the processor is short, messages go before the requests of anybody who likes to ask.
            std::thread::yield_now();
            place.is_answered();
            Ok::<_, Infallible>(answer)
        }
    });
    // Who comes while the server leaves is served once: the router's answer, say.
    let is_leaving = *leaving.borrow();
    let connection = patient(head_timeout).keep_alive(!is_leaving).serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = async { leaving.wait_for(|leaving| *leaving).await.ok(); }, if !is_leaving => {
            connection.as_mut().graceful_shutdown();
            tokio::select! { ended = connection => ended, _ = &mut given_up => Ok(()) }
        }
        _ = &mut given_up => {
            log::debug!("http connection of {} ends: others need its place", peer.ip);
            // It may have been answered this very moment, and the answer be on its way still.
            connection.as_mut().graceful_shutdown();
            timeout(FAREWELL, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        log::debug!("http connection of {} ended: {error}", peer.ip);
    }
}

/// Whoever sends no whole head in time, or nothing more on a kept connection, is hung up on.
fn patient(head_timeout: Duration) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(head_timeout);
    builder
}

fn serve_admin(
    handle: &Handle,
    listener: TcpListener,
    routes: Router,
    head_timeout: Duration,
) -> Result<SocketAddr, StartError> {
    let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
    let bound = listener.local_addr().map_err(|source| StartError::Listen { address: nowhere, source })?;
    let _inside = handle.enter();
    let listener =
        tokio::net::TcpListener::from_std(listener).map_err(|source| StartError::Listen { address: bound, source })?;
    handle.spawn(async move {
        let room = Arc::new(Semaphore::new(ADMIN_CONNECTIONS));
        loop {
            let Ok((stream, peer)) = listener.accept().await else {
                // Out of descriptors, say: the listener itself does not end.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let Ok(place) = room.clone().try_acquire_owned() else {
                tokio::spawn(async move {
                    // A fresh socket has room for so little; who is gone already hears nothing.
                    if stream.writable().await.is_ok() {
                        stream.try_write(&full()).ok();
                    }
                });
                continue;
            };
            let routes = TowerToHyperService::new(admin::for_peer(routes.clone(), peer));
            let connection = patient(head_timeout).serve_connection(TokioIo::new(stream), routes);
            tokio::spawn(async move {
                if let Err(error) = connection.await {
                    log::debug!("admin connection of {peer} ended: {error}");
                }
                drop(place);
            });
        }
    });
    Ok(bound)
}
