//! What limits the server now, as the admin API tells it: the place, the cause, the numbers behind it, what to do.

use serde::Serialize;

/// The answer of `/bottleneck`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// The stage that it shows in; `null` where it is none's.
    pub stage: Option<String>,
    pub cause: Cause,
    /// Numbers that a person can check, a sentence each; what speaks most for it comes first.
    pub evidence: Vec<String>,
    /// With the command, where there is one.
    pub suggestion: String,
}

/// Why it is not faster. Names are a contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// A stage has too few threads, and the machine has processors left.
    Workers,
    /// The machine has no processor left.
    Cpu,
    /// One conversation has nearly all that waits, and its events go one after the other.
    LaneSkew,
    /// Commits wait for the disk.
    Fsync,
    /// The app's own server is slow to answer.
    Hook,
    /// Notifications come faster than the push webhook takes them.
    PushProvider,
    /// Clients do not take what is sent to them.
    SlowClients,
    /// The threads that own the sockets are busy, and the machine has processors left.
    Reactors,
    /// Nothing: more could come.
    UpstreamIdle,
}
