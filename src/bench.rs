//! `tidegate bench`: a first, small load over the real wire.

use clap::{Args, ValueEnum};

use crate::cli::Stop;

#[derive(Debug, Args)]
pub struct PairsArgs {
    /// Pairs of clients, a sender and a receiver each
    #[arg(long, default_value_t = 50)]
    pub pairs: usize,
    /// Messages that each sender keeps unacknowledged
    #[arg(long, default_value_t = 8)]
    pub outstanding: usize,
    /// How long to go on, in seconds
    #[arg(long, default_value_t = 10)]
    pub seconds: u64,
    #[arg(long, default_value = "tcp")]
    pub transport: Transport,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Transport {
    Ws,
    Tcp,
}

pub fn pairs(_: &PairsArgs) -> Result<(), Stop> {
    Err(Stop::because("not yet"))
}
