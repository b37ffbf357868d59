//! What the judge goes by: plain numbers of some seconds, however they were found.

/// All of it. Averages are over `seconds`; a number of threads or processors is such an average too: 0.5 is one for half
/// of the time.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    pub seconds: f64,
    /// In the topology's order.
    pub stages: Vec<Stage>,
    /// `None` where the system does not tell.
    pub machine: Option<Machine>,
    pub synced: Synced,
    pub hooks: Vec<Calls>,
    pub pushes: Vec<Calls>,
    pub clients: Clients,
    pub reactors: usize,
}

/// One stage.
#[derive(Debug, Clone, Default)]
pub struct Stage {
    pub name: String,
    pub module: String,
    pub pool: Pool,
    /// Threads that may be inside at once.
    pub workers: usize,
    /// Events taken in one go, at most.
    pub batch: usize,
    /// Events begun a second.
    pub rate: f64,
    /// Events refused at its door a second.
    pub refused: f64,
    /// Threads inside batches.
    pub busy: f64,
    /// Events that waited in the queue.
    pub queued: f64,
    /// From being queued to being begun, in ms.
    pub wait_ms: f64,
    /// Of a batch, in ms.
    pub service_ms: f64,
    /// Events of a batch.
    pub batch_size: f64,
    /// Events that waited for an answer.
    pub held: f64,
    /// The share of time with work and without room, and whose room it was.
    pub blocked: f64,
    pub blocked_by: Option<String>,
    /// Of what was found waiting, the share of one key. 0 where too little waited to say.
    pub hottest: f64,
}

/// The pool that serves a stage.
#[derive(Debug, Clone, Default)]
pub struct Pool {
    pub name: String,
    /// Whether other stages may share it.
    pub is_shared: bool,
    pub workers: usize,
    /// Threads inside batches, of whichever of its stages.
    pub busy: f64,
    pub threads: Threads,
}

/// What some threads did, as the system sees it: on a processor, or ready and waiting for one.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Threads {
    pub on_cpu: f64,
    pub waiting: f64,
}

/// The processors.
#[derive(Debug, Clone, Default)]
pub struct Machine {
    pub cores: f64,
    /// Processors that had nothing to do.
    pub idle: f64,
    /// All threads of this process.
    pub ours: Threads,
    /// The reactor that was on a processor most.
    pub busiest_reactor: Threads,
}

/// Commits that synced.
#[derive(Debug, Clone, Copy, Default)]
pub struct Synced {
    /// A second.
    pub commits: f64,
    /// Threads inside them.
    pub busy: f64,
}

/// One webhook's calls.
#[derive(Debug, Clone, Default)]
pub struct Calls {
    pub name: String,
    /// Waiting for a place, pausing, or on their way.
    pub pending: f64,
    pub in_flight: f64,
    /// Calls that may be on their way at once.
    pub concurrency: usize,
    /// Calls that ended, a second.
    pub rate: f64,
    /// Of these, with no answer of use.
    pub failed: f64,
    /// Calls that were never made, a second.
    pub unsent: f64,
    /// Of a call, from when it was sent to its end. 0 where none ended.
    pub mean_ms: f64,
}

/// The connections.
#[derive(Debug, Clone, Copy, Default)]
pub struct Clients {
    pub connections: f64,
    /// Of these, how many take no more at present.
    pub blocked: f64,
    /// Frames written, a second.
    pub frames_out: f64,
    /// Notices dropped because their client did not take them, a second.
    pub dropped: f64,
    /// Connections closed because of that, in these seconds.
    pub closed: f64,
    /// Pieces of mail waiting for the reactors.
    pub mailbox: f64,
}

impl Stage {
    /// Busy time of its workers, as a share of what they could have worked (0 to 1).
    pub fn utilisation(&self) -> f64 {
        (self.busy / self.workers.max(1) as f64).min(1.0)
    }

    /// Whether its threads were inside batches, and none of these ended.
    pub fn is_stuck(&self) -> bool {
        self.batch_size == 0.0 && self.busy > 0.0
    }

    /// Events that waited or were worked on: what a message's time in it comes from.
    pub fn inside(&self) -> f64 {
        self.queued + self.busy * self.batch_size
    }
}

impl Threads {
    /// Of the time in which they wanted a processor, the share without.
    pub fn kept_waiting(&self) -> f64 {
        self.waiting / (self.on_cpu + self.waiting).max(1e-9)
    }
}

impl Calls {
    /// Whether calls wait for others to end.
    pub fn is_crowded(&self) -> bool {
        self.pending > self.concurrency as f64 * 0.95 || self.unsent > 0.0
    }
}
