//! Reactors over real sockets, with clients written on the standard library, tungstenite and rustls.

mod bounds;
mod deliveries;
mod framings;
mod hostile;
mod http;
mod leaving;
mod support;
mod tls;
