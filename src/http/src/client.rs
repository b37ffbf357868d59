//! One `POST` to somebody else's server, with connections kept for the next.
//!
//! Owns TLS towards them and the bound of an answer. It follows no redirect and sends no cookie. Must not know what is
//! asked; time-outs are the caller's.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::{Request, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::{ClientConfig, RootCertStore};

use crate::StartError;

/// Cheap to clone; clones share their connections.
#[derive(Clone)]
pub(crate) struct Client(hyper_util::client::legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>);

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum PostError {
    /// Not reached, or the connection broke before an answer.
    Unreachable(String),
    /// It answered, but not with success. `retry_after`: when it wants to be asked again, where it said so in seconds.
    Status {
        status: u16,
        retry_after: Option<Duration>,
    },
    TooLong,
}

/// A kept connection that nobody used for so long is closed.
const IDLE: Duration = Duration::from_secs(30);
/// Kept connections to one host.
const KEPT: usize = 32;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const AGENT: HeaderValue = HeaderValue::from_static(concat!("tidegate/", env!("CARGO_PKG_VERSION")));
const JSON: HeaderValue = HeaderValue::from_static("application/json");

impl Client {
    /// Trusts what the system trusts. `secure`: whether any address is https; else nothing is read from the system.
    pub fn new(secure: bool) -> Result<Self, StartError> {
        let mut roots = RootCertStore::empty();
        if secure {
            let (trusted, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if trusted == 0 {
                log::warn!("this system has no trusted certificates (package ca-certificates): calls to https:// fail");
            }
        }
        Client::trusting(roots)
    }

    fn trusting(roots: RootCertStore) -> Result<Self, StartError> {
        let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(StartError::Tls)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(connector);
        let client = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(KEPT)
            .build(connector);
        Ok(Client(client))
    }

    /// Sends JSON and takes an answer of at most `most` bytes.
    pub async fn post(
        &self,
        uri: &Uri,
        headers: impl IntoIterator<Item = (HeaderName, HeaderValue)>,
        body: Bytes,
        most: usize,
    ) -> Result<Bytes, PostError> {
        let mut request = Request::post(uri.clone()).header(CONTENT_TYPE, JSON).header(USER_AGENT, AGENT);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(body)).map_err(|error| PostError::Unreachable(error.to_string()))?;
        let answer = self.0.request(request).await.map_err(|error| PostError::Unreachable(whole_story(&error)))?;
        let status = answer.status();
        let retry_after = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        // Read to its end even when it is a refusal, so that the connection can be kept.
        let body = Limited::new(answer.into_body(), most).collect().await;
        if !status.is_success() {
            return Err(PostError::Status {
                status: status.as_u16(),
                retry_after: retry_after.map(Duration::from_secs),
            });
        }
        body.map(|body| body.to_bytes()).map_err(|error| match error.downcast_ref::<LengthLimitError>() {
            Some(_) => PostError::TooLong,
            None => PostError::Unreachable(whole_story(&*error)),
        })
    }
}

/// Whether any of these addresses needs TLS.
pub(crate) fn any_secure<'a>(mut uris: impl Iterator<Item = &'a Uri>) -> bool {
    uris.any(|uri| uri.scheme_str() == Some("https"))
}

/// An address that can be called: http or https, with a host.
pub(crate) fn callable(url: &str) -> Option<Uri> {
    let uri: Uri = url.parse().ok()?;
    let known = matches!(uri.scheme_str(), Some("http" | "https"));
    (known && uri.host().is_some_and(|host| !host.is_empty())).then_some(uri)
}

/// An error with what caused it: "client error (Connect)" alone tells nobody anything.
fn whole_story(error: &dyn std::error::Error) -> String {
    let mut story = error.to_string();
    let mut cause = error.source();
    while let Some(deeper) = cause {
        story = format!("{story}: {deeper}");
        cause = deeper.source();
    }
    story
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    /// Answers one request over TLS, and gives its port and certificate.
    fn tls_server() -> (u16, rustls::pki_types::CertificateDer<'static>) {
        let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let (cert, key) = (own.cert.der().clone(), own.signing_key.serialize_der());
        let key = rustls::pki_types::PrivateKeyDer::Pkcs8(key.into());
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![cert.clone()], key)
            .expect("a configuration");
        let listener = TcpListener::bind("localhost:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        std::thread::spawn(move || {
            let (socket, _) = listener.accept().expect("a caller");
            let tls = rustls::ServerConnection::new(Arc::new(config)).expect("a connection");
            let mut stream = rustls::StreamOwned::new(tls, socket);
            let (mut read, mut request) = (0, [0; 4096]);
            while !request[..read].ends_with(b"{}") {
                // An error is the caller's that does not trust us; nothing to answer then.
                let Ok(n) = stream.read(&mut request[read..]) else { return };
                read += n;
            }
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\nsafe";
            stream.write_all(answer).and_then(|()| stream.flush()).expect("sent");
        });
        (port, cert)
    }

    #[test]
    fn tls_goes_to_those_who_are_trusted_only() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        for trusted in [true, false] {
            let (port, cert) = tls_server();
            let mut roots = RootCertStore::empty();
            if trusted {
                roots.add(cert).expect("a root");
            }
            let client = Client::trusting(roots).expect("a client");
            let uri = format!("https://localhost:{port}/").parse().expect("an address");
            let answer = runtime.block_on(client.post(&uri, None, Bytes::from_static(b"{}"), 100));
            match answer {
                Ok(body) => assert!(trusted && body == "safe"),
                Err(PostError::Unreachable(why)) => assert!(!trusted && why.contains("certificate"), "{why}"),
                Err(other) => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn only_http_addresses_are_callable() {
        for url in ["http://127.0.0.1:80/x", "https://example.com", "https://example.com/a?b=c"] {
            assert!(callable(url).is_some(), "{url}");
        }
        for url in ["", "example.com", "/x", "ftp://example.com", "file:///etc/passwd", "http://"] {
            assert!(callable(url).is_none(), "{url}");
        }
    }
}
