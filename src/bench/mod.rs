//! `tidegate bench`: a load over the real wire, so that a change of the pipeline shows something.
//!
//! `client` speaks the wire; `pairs` is the load. What is received is checked: loss, repeats and order are counted.

mod client;
mod pairs;

use std::net::SocketAddr;

use clap::{Args, ValueEnum};

pub use pairs::pairs;

#[derive(Debug, Args)]
pub struct PairsArgs {
    /// The server's address; for ws its HTTP port, for tcp its TCP port
    #[arg(long, value_name = "ADDR")]
    pub server: Option<SocketAddr>,
    /// The app to log in to; signatures must be off
    #[arg(long, default_value = "tidegate-dev")]
    pub app: String,
    /// Pairs of clients, a sender and a receiver each
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=5000))]
    pub pairs: u32,
    /// Messages that each sender keeps unacknowledged
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=60))]
    pub outstanding: u32,
    /// How long to go on, in seconds
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=86400))]
    pub seconds: u64,
    /// Bytes of each message
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u32).range(32..=4096))]
    pub size: u32,
    #[arg(long, default_value = "tcp")]
    pub transport: Transport,
    /// Transient messages: acknowledged without the disk
    #[arg(long)]
    pub transient: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Transport {
    Ws,
    Tcp,
}
