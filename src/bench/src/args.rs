//! What all scenarios are told in the same words: which server, for how long, and where the results go.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// How commands travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Transport {
    /// Length-prefixed commands on a socket
    Tcp,
    /// WebSocket
    Ws,
    /// Tcp inside TLS
    Tls,
    /// WebSocket inside TLS
    Wss,
}

impl Transport {
    pub fn is_ws(self) -> bool {
        matches!(self, Transport::Ws | Transport::Wss)
    }

    pub fn is_tls(self) -> bool {
        matches!(self, Transport::Tls | Transport::Wss)
    }

    /// As it is typed.
    pub fn name(self) -> &'static str {
        match self {
            Transport::Tcp => "tcp",
            Transport::Ws => "ws",
            Transport::Tls => "tls",
            Transport::Wss => "wss",
        }
    }
}

/// The server to load.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "The server")]
pub struct Target {
    /// The server's address; for ws and wss its HTTP port (7700), for tcp and tls its TCP port (7701)
    #[arg(long, value_name = "ADDR", value_parser = address)]
    pub server: Option<SocketAddr>,
    /// The app to log in to; it must not ask for signatures
    #[arg(long, default_value = "tidegate-dev")]
    pub app: String,
    /// How commands travel
    #[arg(long, default_value = "tcp")]
    pub transport: Transport,
    /// With tls and wss: the certificate authority to trust (default: data/tls/ca.pem, where `tidegate run` leaves its own)
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// With tls and wss: trust whatever certificate the server shows
    #[arg(long, conflicts_with = "ca")]
    pub insecure: bool,
    /// Logged-in clients that share one connection, told apart by their peerId
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub per_connection: u32,
    /// Seconds between a connection's heartbeats, as SDKs send them
    #[arg(long, value_name = "S", default_value_t = 180, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub heartbeat: u64,
    /// The server's process, for its memory and CPU (default: whoever on this machine listens on the port)
    #[arg(long)]
    pub pid: Option<u32>,
}

impl Target {
    /// Where to connect to.
    pub fn address(&self) -> SocketAddr {
        let port = if self.transport.is_ws() { 7700 } else { 7701 };
        self.server.unwrap_or(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port))
    }

    /// The same again for another process of this program; the server's process is ours to look at.
    pub fn arguments(&self) -> Vec<OsString> {
        let mut all: Vec<OsString> = Vec::new();
        let (address, per) = (self.address().to_string(), self.per_connection.to_string());
        let heartbeat = self.heartbeat.to_string();
        for (name, value) in [
            ("--server", &address[..]),
            ("--app", &self.app),
            ("--transport", self.transport.name()),
            ("--per-connection", &per),
            ("--heartbeat", &heartbeat),
        ] {
            all.extend([name.into(), value.into()]);
        }
        if let Some(ca) = &self.ca {
            all.extend(["--ca".into(), ca.into()]);
        }
        if self.insecure {
            all.push("--insecure".into());
        }
        all
    }
}

/// An address as it is typed, with a number or a name in front.
fn address(text: &str) -> Result<SocketAddr, String> {
    const FORM: &str = "write HOST:PORT, as in 127.0.0.1:7701";
    if !text.contains(':') || text.contains("://") {
        return Err(FORM.to_owned());
    }
    let found = text.to_socket_addrs().map_err(|error| format!("{error}: {FORM}"))?.next();
    found.ok_or_else(|| format!("nobody is called that: {FORM}"))
}

/// How long, and how large.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "The load")]
pub struct Timing {
    /// How long to measure, in seconds
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub seconds: u64,
    /// The same load before that, not measured, in seconds
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(0..=3_600))]
    pub warm: u64,
    /// Bytes of each message
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u32).range(48..=4096))]
    pub size: u32,
}

/// Where the results go, beside the table.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "The results")]
pub struct Output {
    /// Also as JSON, to a file or (-) to stdout, where the table then makes room
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Every second's latencies as an HdrHistogram interval log
    #[arg(long, value_name = "FILE")]
    pub hlog: Option<PathBuf>,
    /// Do not measure the machine's own floor first
    #[arg(long)]
    pub no_floor: bool,
    /// Where the floor of the disk is measured: a folder on the disk that the server writes to (default: beside its data)
    #[arg(long, value_name = "DIR")]
    pub floor_dir: Option<PathBuf>,
}
