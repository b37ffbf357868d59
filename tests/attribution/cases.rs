//! The faults: each a server, something wrong with it or its surroundings, and a load; and the cause that is true then.

use super::load::{Act, Pace};

/// A name of `/bottleneck`.
pub type Cause = &'static str;

#[derive(Debug, Clone)]
pub struct Case {
    pub name: String,
    pub cause: Cause,
    /// The stage that must be named, where it is one's.
    pub stage: Option<&'static str>,
    /// Lines of stages' tables beside patience.
    pub stages: Vec<(&'static str, String)>,
    /// The default door, which refuses what would wait; else it waits.
    pub refuses: bool,
    /// Other tables.
    pub tables: String,
    pub fault: Vec<Fault>,
    pub load: Load,
    /// One of those that run always.
    pub quick: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// Each sync takes so many ms longer.
    SlowSync(u32),
    /// Each event of this stage takes so many microseconds longer, without work.
    Slow(&'static str, u32),
    /// So many programs beside it that only compute.
    Burners(usize),
    /// A webhook for these events that takes so many ms, asked so often at once.
    Hook { event: &'static str, ms: u64, concurrency: usize },
    /// One that answers nothing.
    DeadHook,
    /// A push webhook that takes so many ms.
    Push(u64),
    /// One that fails after so many ms.
    FailingPush(u64),
}

#[derive(Debug, Clone)]
pub enum Load {
    /// Nobody is there.
    None,
    /// Clients who have logged in and do nothing.
    Idle(usize),
    /// Users in conversations of their own; a share of them in one.
    Talk { users: usize, act: Act, pace: Pace, hot: f64, absent: usize },
    /// A room, and who does not read there what is said.
    Room { members: usize, slow: usize, per_sweep: usize, bytes: usize, per_second: usize },
    /// The same in one conversation of messages that are kept.
    Group { members: usize, slow: usize, bytes: usize, per_second: usize },
    /// Users who look through all conversations.
    Search { users: usize, conversations: usize, pace: Pace },
}

const SAY: Act = Act::Say { bytes: 100, transient: false };
const HINT: Act = Act::Say { bytes: 100, transient: true };

fn case(cause: Cause, name: impl Into<String>) -> Case {
    Case {
        name: format!("{cause}-{}", name.into()),
        cause,
        stage: None,
        stages: Vec::new(),
        refuses: false,
        tables: String::new(),
        fault: Vec::new(),
        load: Load::None,
        quick: false,
    }
}

fn talk(users: usize, act: Act, pace: Pace) -> Load {
    Load::Talk { users, act, pace, hot: 0.0, absent: 0 }
}

fn hot(users: usize, act: Act, pace: Pace) -> Load {
    Load::Talk { users, act, pace, hot: 0.95, absent: 0 }
}

impl Case {
    fn at(mut self, stage: &'static str) -> Case {
        self.stage = Some(stage);
        self
    }

    fn with(mut self, stage: &'static str, lines: impl Into<String>) -> Case {
        self.stages.push((stage, lines.into()));
        self
    }

    fn tables(mut self, tables: &str) -> Case {
        self.tables += tables;
        self
    }

    fn fault(mut self, fault: Fault) -> Case {
        self.fault.push(fault);
        self
    }

    fn load(mut self, load: Load) -> Case {
        self.load = load;
        self
    }

    /// With the default door.
    fn refusing(mut self) -> Case {
        self.refuses = true;
        self
    }
}

pub fn all() -> Vec<Case> {
    [idle(), fsync(), hook(), push_provider(), workers(), lane_skew(), cpu(), reactors(), slow_clients()].concat()
}

fn idle() -> Vec<Case> {
    let idle = |name: &str| case("upstream_idle", name);
    let mut cases = vec![
        idle("nobody"),
        idle("100-clients").load(Load::Idle(100)),
        idle("echoes-200").load(talk(10, Act::Echo, Pace::PerSecond(200))),
        idle("hints-500").load(talk(10, HINT, Pace::PerSecond(500))),
        idle("history-100").load(talk(10, Act::History, Pace::PerSecond(100))),
        idle("unsynced-300").tables("[store]\nsync = \"off\"\n").load(talk(10, SAY, Pace::PerSecond(300))),
        idle("quick-hook-50").fault(Fault::Hook { event: "messageReceived", ms: 0, concurrency: 32 }).load(talk(
            10,
            SAY,
            Pace::PerSecond(50),
        )),
        idle("quick-push-50").fault(Fault::Push(0)).load(Load::Talk {
            users: 10,
            act: SAY,
            pace: Pace::PerSecond(50),
            hot: 0.0,
            absent: 1,
        }),
        idle("room-of-50").load(Load::Room { members: 50, slow: 0, per_sweep: 0, bytes: 200, per_second: 50 }),
        idle("one-conversation-50").load(hot(10, SAY, Pace::PerSecond(50))),
    ];
    for rate in [5, 20, 80] {
        cases.push(idle(&format!("messages-{rate}")).load(talk(10, SAY, Pace::PerSecond(rate))));
    }
    cases[12].quick = true;
    cases
}

fn fsync() -> Vec<Case> {
    let slow = |ms: u32, name: String| case("fsync", name).at("persist").fault(Fault::SlowSync(ms));
    let mut cases = Vec::new();
    for ms in [10, 25, 50, 100, 200] {
        for users in [8, 64] {
            cases.push(slow(ms, format!("{ms}ms-{users}-users")).load(talk(users, SAY, Pace::Window(4))));
        }
    }
    for (ms, rate) in [(20, 200), (40, 100), (100, 50)] {
        cases.push(slow(ms, format!("{ms}ms-paced-{rate}")).load(talk(32, SAY, Pace::PerSecond(rate))));
    }
    cases.push(slow(25, "25ms-one-conversation".into()).load(hot(32, SAY, Pace::Window(8))));
    cases.push(slow(25, "25ms-refusing".into()).refusing().with("persist", "batch = 16").load(talk(
        64,
        SAY,
        Pace::PerSecond(1_500),
    )));
    cases.push(slow(25, "25ms-two-workers".into()).with("persist", "workers = 2").load(talk(64, SAY, Pace::Window(4))));
    cases.push(slow(60, "60ms-beside-a-burner".into()).fault(Fault::Burners(1)).load(talk(32, SAY, Pace::Window(4))));
    cases[3].quick = true;
    cases
}

fn hook() -> Vec<Case> {
    let asked = |ms, concurrency, name: String| {
        let fault = Fault::Hook { event: "messageReceived", ms, concurrency };
        case("hook", name).at("hook").fault(fault)
    };
    let mut cases = Vec::new();
    for ms in [30, 100, 400] {
        for concurrency in [2, 8, 64] {
            cases.push(asked(ms, concurrency, format!("{ms}ms-{concurrency}-at-once")).load(talk(
                32,
                SAY,
                Pace::Window(2),
            )));
        }
    }
    for (ms, rate) in [(100, 100), (250, 40), (1_000, 10)] {
        cases.push(asked(ms, 64, format!("{ms}ms-paced-{rate}")).load(talk(32, SAY, Pace::PerSecond(rate))));
    }
    cases.push(asked(50, 32, "50ms-one-conversation".into()).load(hot(32, SAY, Pace::Window(4))));
    cases.push(case("hook", "dead").at("hook").fault(Fault::DeadHook).load(talk(32, SAY, Pace::PerSecond(20))));
    cases.push(
        case("hook", "told-100ms-2-at-once")
            .at("hook")
            .fault(Fault::Hook { event: "messageSent", ms: 100, concurrency: 2 })
            .load(talk(16, SAY, Pace::PerSecond(100))),
    );
    let absent = Load::Talk { users: 16, act: SAY, pace: Pace::PerSecond(80), hot: 0.0, absent: 1 };
    cases.push(
        case("hook", "offline-200ms-4-at-once")
            .at("hook")
            .fault(Fault::Push(0))
            .fault(Fault::Hook { event: "receiversOffline", ms: 200, concurrency: 4 })
            .load(absent),
    );
    cases[4].quick = true;
    cases
}

fn push_provider() -> Vec<Case> {
    let pushed = |rate| Load::Talk { users: 16, act: SAY, pace: Pace::PerSecond(rate), hot: 0.0, absent: 1 };
    let slow = |ms: u64, rate| {
        let name = format!("{ms}ms-{rate}");
        case("push_provider", name).at("push").fault(Fault::Push(ms)).load(pushed(rate))
    };
    let pairs = [(300, 100), (500, 50), (500, 100), (1_000, 20), (1_000, 50), (2_000, 10), (2_000, 40), (4_000, 10)];
    let mut cases: Vec<Case> = pairs.into_iter().map(|(ms, rate)| slow(ms, rate)).collect();
    cases.push(slow(8_000, 20)); // later than its time-out
    for ms in [0, 200] {
        let failing = case("push_provider", format!("failing-after-{ms}ms")).at("push");
        cases.push(failing.fault(Fault::FailingPush(ms)).load(pushed(40)));
    }
    cases[2].quick = true;
    cases
}

fn workers() -> Vec<Case> {
    let slow = |stage: &'static str, us: u32, workers: usize| {
        let (name, lines) = (format!("{stage}-{us}us-{workers}"), format!("workers = {workers}"));
        case("workers", name).at(stage).fault(Fault::Slow(stage, us)).with(stage, lines)
    };
    let mut cases = Vec::new();
    for us in [2_000, 5_000] {
        for workers in [1, 2] {
            cases.push(slow("fan_out", us, workers).load(talk(64, SAY, Pace::Window(4))));
            cases.push(slow("read", us, workers).load(talk(32, Act::History, Pace::Window(2))));
        }
        cases.push(slow("authenticate", us, 1).load(talk(64, Act::Online, Pace::Window(2))));
        cases.push(slow("decode", us, 1).load(talk(64, Act::Echo, Pace::Window(2))));
        cases.push(slow("route", us, 1).load(talk(64, HINT, Pace::Window(2))));
        let mut persist = slow("persist", us, 1).load(talk(64, SAY, Pace::Window(4)));
        persist.stages = vec![("persist", "workers = 1\nbatch = 4".into())];
        cases.push(persist.tables("[store]\nsync = \"off\"\n"));
    }
    cases.push(case("workers", "queries").at("read").load(Load::Search {
        users: 8,
        conversations: 1_000,
        pace: Pace::Window(1),
    }));
    let in_pool = |us: u32| {
        let mut case = slow("fan_out", us, 4).load(talk(64, SAY, Pace::Window(4)));
        case.name = format!("workers-shared-pool-{us}us");
        case.stages =
            ["route", "fan_out", "authenticate"].map(|stage| (stage, "pool = \"line\"\nworkers = 4".into())).into();
        case.tables("[pools.line]\nworkers = 1\nreactors = false\n")
    };
    // In a shared pool the threads have the pool's name.
    for us in [2_000, 5_000] {
        let mut case = in_pool(us);
        case.fault = vec![Fault::Slow("line", us)];
        case.stage = None;
        cases.push(case);
    }
    cases[1].quick = true;
    cases
}

fn lane_skew() -> Vec<Case> {
    let slow = |stage: &'static str, us: u32, workers: usize, act| {
        let (name, lines) = (format!("{stage}-{us}us-{workers}"), format!("workers = {workers}"));
        let case = case("lane_skew", name).at(stage).fault(Fault::Slow(stage, us)).with(stage, lines);
        case.load(hot(40, act, Pace::Window(4)))
    };
    let mut cases = Vec::new();
    for us in [2_000, 5_000] {
        for workers in [1, 2, 4] {
            cases.push(slow("fan_out", us, workers, SAY));
            cases.push(slow("route", us, workers, HINT));
        }
    }
    for (ms, workers) in [(5, 4), (20, 4), (20, 8)] {
        let lines = format!("workers = {workers}\nbatch = 4");
        let name = format!("commits-{ms}ms-{workers}");
        let case = case("lane_skew", name).at("persist").fault(Fault::SlowSync(ms)).with("persist", lines);
        cases.push(case.load(hot(40, SAY, Pace::Window(4))));
    }
    cases[2].quick = true;
    cases
}

fn cpu() -> Vec<Case> {
    let burnt = |burners, name: &str| case("cpu", format!("{burners}-burners-{name}")).fault(Fault::Burners(burners));
    let mut cases = Vec::new();
    for burners in [4, 8, 12] {
        cases.push(burnt(burners, "hints-1000").load(talk(16, HINT, Pace::PerSecond(1_000))));
        cases.push(burnt(burners, "hints-closed").load(talk(32, HINT, Pace::Window(4))));
        let unsynced = |name| burnt(burners, name).tables("[store]\nsync = \"off\"\n");
        cases.push(unsynced("unsynced-closed").load(talk(32, SAY, Pace::Window(4))));
        cases.push(unsynced("unsynced-1000").load(talk(32, SAY, Pace::PerSecond(1_000))));
    }
    // With few of them the disk is as much to blame.
    cases.push(burnt(12, "messages-closed").load(talk(32, SAY, Pace::Window(4))));
    cases.push(
        case("cpu", "queries-on-all-cores")
            .with("read", format!("workers = {}", 2 * std::thread::available_parallelism().map_or(2, usize::from)))
            .load(Load::Search { users: 16, conversations: 1_000, pace: Pace::Window(1) }),
    );
    cases[1].quick = true;
    cases
}

fn reactors() -> Vec<Case> {
    let room = |members, per_second, bytes| Load::Room { members, slow: 0, per_sweep: 0, bytes, per_second };
    let mut cases = Vec::new();
    // What is due in one step of the load is written to each member at once, so it is members that make work.
    for (members, per_second, bytes) in [
        (2_000, 1_000, 20),
        (1_500, 500, 20),
        (1_500, 1_000, 20),
        (2_000, 250, 50),
        (2_000, 500, 20),
        (2_500, 300, 20),
        (2_500, 1_000, 20),
        (3_000, 1_000, 20),
    ] {
        let name = format!("room-of-{members}-{per_second}-of-{bytes}");
        cases.push(case("reactors", name).load(room(members, per_second, bytes)));
    }
    cases[7].quick = true;
    cases
}

fn slow_clients() -> Vec<Case> {
    let mut cases = Vec::new();
    for (members, slow) in [(4, 1), (10, 1), (10, 5), (40, 4), (40, 20), (40, 40)] {
        // They read nothing, or a little.
        for per_sweep in [0, 512] {
            let name = format!("room-{slow}-of-{members}-read-{per_sweep}");
            // The system takes some megabytes for each before its connection takes no more.
            let per_second = if members > 10 { 300 } else { 500 };
            let load = Load::Room { members, slow, per_sweep, bytes: 4_000, per_second };
            cases.push(case("slow_clients", name).load(load));
        }
    }
    for (members, slow) in [(4, 1), (10, 5)] {
        let name = format!("group-{slow}-of-{members}");
        cases.push(case("slow_clients", name).load(Load::Group { members, slow, bytes: 4_000, per_second: 300 }));
    }
    cases[4].quick = true;
    cases
}
