//! What is watched, and how each is called and counted.

/// One figure of the whole server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Messages accepted a second.
    Messages,
    /// p99 from the read of a message to the write of each delivery, in milliseconds.
    Latency,
    /// The share of commands that are refused, whatever the code.
    Errors,
    /// Connections that come or go, a second.
    Churn,
}

/// How many there are.
pub const SIGNALS: usize = 4;

impl Signal {
    /// Each at its own place.
    pub const ALL: [Signal; SIGNALS] = [Signal::Messages, Signal::Latency, Signal::Errors, Signal::Churn];

    /// As the admin API and metrics call it.
    pub fn name(self) -> &'static str {
        match self {
            Signal::Messages => "messages",
            Signal::Latency => "latency",
            Signal::Errors => "errors",
            Signal::Churn => "churn",
        }
    }

    pub fn unit(self) -> &'static str {
        match self {
            Signal::Messages => "messages/s",
            Signal::Latency => "ms",
            Signal::Errors => "share",
            Signal::Churn => "connections/s",
        }
    }

    /// Whether too little of it is odd, too: nobody minds a server that has become fast.
    pub fn may_fall(self) -> bool {
        self == Signal::Messages
    }
}
