//! Codecs: the domain's values to bytes and back, and the framings that carry those bytes.
//!
//! Everything here is a function of what it is given: no socket, no clock, no thread. Bytes from outside never panic
//! it; what cannot be read is an error with the close code that the connection deserves.

pub mod frame;
