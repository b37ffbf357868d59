//! Codecs: the domain's values to bytes and back, and the framings that carry those bytes.
//!
//! Everything here is a function of what it is given: no socket, no clock, no thread. Bytes from outside never panic
//! it; what cannot be read is an error with the close code that the connection deserves.

pub mod decode;
pub mod encode;
pub mod failure;
pub mod frame;
pub mod peek;
pub mod wire;

pub use decode::{DecodeError, decode};
pub use encode::{answer, append_peer, notice, peer_len};
pub use failure::FailureForm;
pub use peek::{Head, envelope, peek};
