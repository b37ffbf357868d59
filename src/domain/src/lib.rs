//! The domain: ids, sessions, conversations, messages and their rules; commands and answers as values.
//!
//! No I/O, no clock, no thread: every rule here is a function of what it is given, tested without sockets.
//! Knows none of our other crates.

pub mod app;
pub mod command;
pub mod conversation;
pub mod day;
pub mod directory;
pub mod error;
pub mod filter;
pub mod history;
pub mod hook;
pub mod ids;
pub mod login;
pub mod marks;
pub mod message;
pub mod nonces;
pub mod query;
pub mod regex_translate;
pub mod reply;
pub mod signature;
pub mod time;
pub mod token;
pub mod unread;
