//! The wire's own types, generated from `schema/messages.proto`. Enums are plain numbers, so that unknown ones survive.
//!
//! The server meets them in `decode` and `encode` only; clients (tests, the load generator) build commands of them.

#![allow(missing_docs, clippy::all)]

include!(concat!(env!("OUT_DIR"), "/push_server.messages2.rs"));
