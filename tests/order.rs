//! Many senders at full speed while pools, batches, bounds and policies change at random: every member of a conversation
//! gets its messages in the order of its history, none lost and none twice, in each layout of stages on threads.
//!
//! TIDEGATE_ORDER_MESSAGES sets how many are sent in each layout (200,000); TIDEGATE_SEED repeats a run's choices.

mod common;

use std::collections::{HashMap, HashSet};
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::client::{body, direct_command, refusal, some};
use common::{Client, Sent, Server, Via, http, seed};
use fastrand::Rng;
use serde_json::json;
use tidegate_protocol::wire::*;

const CONNECTIONS: usize = 8;
const CLIENTS: usize = 4;
const CONVERSATIONS: usize = 48;
const MEMBERS: usize = 3;
/// Commands of one connection under way; more than its credits would only wait in its socket.
const WINDOW: usize = 48;

/// A pool of its own for each stage.
const OWN: &str = "";

/// One pool for what computes, one for what waits for the disk.
const SHARED: &str = r#"
[pools.compute]
workers = 2
[pools.disk]
workers = 2
[stages.decode]
pool = "compute"
[stages.authenticate]
pool = "compute"
[stages.route]
pool = "compute"
[stages.read]
pool = "disk"
[stages.persist]
pool = "disk"
[stages.fan_out]
pool = "compute"
[stages.hook]
pool = "compute"
[stages.push]
pool = "compute"
"#;

const MIXED: &str = r#"
[pools.front]
workers = 2
[stages.decode]
pool = "front"
[stages.authenticate]
pool = "front"
[stages.route]
pool = "front"
workers = 2
[stages.read]
[stages.persist]
workers = 2
[stages.fan_out]
workers = 2
[stages.hook]
[stages.push]
"#;

#[test]
fn order_holds_with_pools_of_their_own() {
    run(OWN, &[]);
}

#[test]
fn order_holds_with_one_pool_for_computing_and_one_for_the_disk() {
    run(SHARED, &["compute", "disk"]);
}

#[test]
fn order_holds_with_a_mix_of_pools() {
    run(MIXED, &["front"]);
}

fn run(layout: &str, pools: &[&str]) {
    let goal = std::env::var("TIDEGATE_ORDER_MESSAGES").ok().and_then(|n| n.parse().ok()).unwrap_or(200_000);
    let mut random = Rng::with_seed(seed());
    let server = Server::with(layout);
    let (mut connections, conversations) = set_up(&server, &mut random);

    let (sent, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let changes = std::thread::scope(|threads| {
        let changing = threads.spawn(|| change(&server, pools, random.fork(), &stop));
        let senders: Vec<_> =
            connections.iter_mut().map(|connection| threads.spawn(|| connection.send_all(&sent, goal))).collect();
        let ends: Vec<_> = senders.into_iter().map(|sender| sender.join()).collect();
        // Before one that failed is told of: the scope waits for who changes things, and would for ever.
        stop.store(true, Ordering::Relaxed);
        let changes = changing.join();
        ends.into_iter().for_each(|end| end.unwrap_or_else(|failed| resume_unwind(failed)));
        changes.unwrap_or_else(|failed| resume_unwind(failed))
    });

    // A last message for each conversation: who has it has all before it.
    let mut watcher = Client::tcp(&server, "watcher");
    watcher.wait_for_calm();
    let mut last = HashMap::new();
    for conversation in &conversations {
        let member = &conversation.members[0];
        let connection = connections.iter_mut().find(|connection| connection.clients.contains(member)).unwrap();
        last.insert(conversation.cid.clone(), connection.say_last(member, &conversation.cid));
    }
    for connection in &mut connections {
        connection.hear_until(&last);
    }

    let acked: HashMap<String, Acked> = connections.iter_mut().flat_map(|c| c.acked.drain()).collect();
    let refused: HashSet<String> = connections.iter_mut().flat_map(|c| c.refused.drain(..)).collect();
    let mut kept = 0;
    for conversation in &conversations {
        watcher.open(&conversation.members[0]);
        let history = watcher.history(&conversation.cid);
        kept += history.len();
        check_history(&history, &acked, &refused);
        for member in &conversation.members {
            let connection = connections.iter().find(|connection| connection.clients.contains(member)).unwrap();
            let heard = connection.heard.get(&(member.clone(), conversation.cid.clone()));
            let others = history.iter().filter(|item| item.from.as_ref() != Some(member));
            let others: Vec<_> = others.map(|item| item.msg_id.as_deref().unwrap()).collect();
            let heard: Vec<_> = heard.map(|ids| ids.iter().map(String::as_str).collect()).unwrap_or_default();
            same(&heard, &others, member);
        }
    }
    assert_eq!(kept, acked.len(), "each acknowledged message is in a history, and nothing else");
    assert!(acked.len() as u64 >= goal && changes >= 5, "{} sent, {changes} changes", acked.len());
    println!("{} messages, {} refused, {changes} changes", acked.len(), refused.len());
}

/// What the sender was told of its message.
struct Acked {
    sent: Sent,
    words: String,
}

struct Conversation {
    cid: String,
    members: Vec<String>,
}

/// Several clients on one connection, which send and listen at once.
struct Connection {
    client: Client,
    clients: Vec<String>,
    /// Whose they are, by client.
    conversations: HashMap<String, Vec<String>>,
    random: Rng,
    counts: HashMap<String, u64>,
    /// `i` to the words that wait for their answer.
    under_way: HashMap<i32, String>,
    acked: HashMap<String, Acked>,
    refused: Vec<String>,
    /// Client and conversation to the ids that came, in their order.
    heard: HashMap<(String, String), Vec<String>>,
}

fn set_up(server: &Server, random: &mut Rng) -> (Vec<Connection>, Vec<Conversation>) {
    let mut connections: Vec<_> = (0..CONNECTIONS).map(|n| Connection::new(server, n, random.fork())).collect();
    let everyone: Vec<String> = connections.iter().flat_map(|c| c.clients.clone()).collect();
    let mut conversations = Vec::new();
    for _ in 0..CONVERSATIONS {
        let members = random.choose_multiple(everyone.iter().cloned(), MEMBERS);
        let starter = connections.iter_mut().find(|connection| connection.clients.contains(&members[0])).unwrap();
        starter.client.id = members[0].clone();
        let cid = starter.client.start(&members.iter().map(String::as_str).collect::<Vec<_>>());
        for member in &members {
            let connection = connections.iter_mut().find(|connection| connection.clients.contains(member)).unwrap();
            connection.conversations.entry(member.clone()).or_default().push(cid.clone());
        }
        conversations.push(Conversation { cid, members });
    }
    (connections, conversations)
}

impl Connection {
    fn new(server: &Server, n: usize, random: Rng) -> Connection {
        let mut client = Client::connect(server, Via::Tcp);
        let clients: Vec<_> = (0..CLIENTS).map(|at| format!("client-{n}-{at}")).collect();
        clients.iter().for_each(|id| client.open(id));
        Connection {
            client,
            clients,
            conversations: HashMap::new(),
            random,
            counts: HashMap::new(),
            under_way: HashMap::new(),
            acked: HashMap::new(),
            refused: Vec::new(),
            heard: HashMap::new(),
        }
    }

    fn send_all(&mut self, sent: &AtomicU64, goal: u64) {
        loop {
            while self.under_way.len() < WINDOW && sent.load(Ordering::Relaxed) < goal {
                self.send_one();
            }
            if self.under_way.is_empty() {
                return;
            }
            if self.hear() {
                sent.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn send_one(&mut self) {
        let with_any: Vec<_> = self.conversations.keys().collect();
        let Some(from) = self.random.choice(with_any) else { return };
        let from = from.clone();
        let cid = self.random.choice(self.conversations[&from].iter()).unwrap().clone();
        let count = self.counts.entry(from.clone()).or_default();
        *count += 1;
        let words = format!("{from} {count}");
        self.put(&from, &cid, words);
    }

    fn put(&mut self, from: &str, cid: &str, words: String) -> i32 {
        let direct = DirectCommand { cid: some(cid), msg: body(&words), ..DirectCommand::default() };
        let i = self.client.put_as(from, direct_command(direct));
        self.under_way.insert(i, words);
        i
    }

    /// Takes the next thing that comes; whether it acknowledged a message.
    fn hear(&mut self) -> bool {
        let came = self.client.wire.next(Instant::now() + common::PATIENCE).expect("the connection lives");
        let came = came.unwrap_or_else(|| panic!("nothing came; {} messages wait for answers", self.under_way.len()));
        if let Some(message) = came.direct_message {
            assert!(message.offline.is_none(), "{message:?}");
            let place = (came.peer_id.unwrap(), message.cid.unwrap());
            self.heard.entry(place).or_default().push(message.id.unwrap());
            return false;
        }
        let Some(words) = came.i.and_then(|i| self.under_way.remove(&i)) else { return false };
        if let Some(refused) = refusal(&came) {
            assert_eq!(refused.code, 4116, "only overload may refuse: {refused:?}");
            self.refused.push(words);
            return false;
        }
        let ack = came.ack_message.unwrap();
        let sent = Sent { id: ack.uid.unwrap(), at: ack.t.unwrap() };
        let twice = self.acked.insert(sent.id.clone(), Acked { sent, words });
        assert!(twice.is_none(), "an id was given twice");
        true
    }

    /// Sends until it is let in, and gives its id.
    fn say_last(&mut self, from: &str, cid: &str) -> String {
        loop {
            let count = self.counts.entry(from.to_owned()).or_default();
            *count += 1;
            let words = format!("{from} {count}");
            let i = self.put(from, cid, words.clone());
            while self.under_way.contains_key(&i) {
                self.hear();
            }
            if let Some(acked) = self.acked.values().find(|acked| acked.words == words) {
                return acked.sent.id.clone();
            }
        }
    }

    /// Listens until each client here has the last message of each of its conversations.
    fn hear_until(&mut self, last: &HashMap<String, String>) {
        let mut wanted: HashSet<(String, String)> = HashSet::new();
        for (client, cids) in &self.conversations {
            wanted.extend(cids.iter().map(|cid| (client.clone(), cid.clone())));
        }
        loop {
            wanted.retain(|place| {
                let id = &last[&place.1];
                let mine = self.acked.contains_key(id) && self.acked[id].words.starts_with(&format!("{} ", place.0));
                !mine && self.heard.get(place).and_then(|heard| heard.last()) != Some(id)
            });
            if wanted.is_empty() {
                return;
            }
            self.hear();
        }
    }
}

/// A history is what was acknowledged, in strictly growing time, and each sender's in the order of sending.
fn check_history(history: &[LogItem], acked: &HashMap<String, Acked>, refused: &HashSet<String>) {
    let mut counts: HashMap<String, u64> = HashMap::new();
    for pair in history.windows(2) {
        assert!(pair[0].timestamp < pair[1].timestamp, "{pair:?}");
    }
    for item in history {
        let words = String::from_utf8(item.data.as_ref().unwrap().to_vec()).unwrap();
        let told = acked.get(item.msg_id.as_ref().unwrap());
        let told = told.unwrap_or_else(|| panic!("{words:?} is kept and was not acknowledged"));
        assert!(!refused.contains(&words), "{words:?} was refused and is kept");
        assert_eq!((Some(told.sent.at), &told.words), (item.timestamp, &words));
        let (from, count) = words.split_once(' ').unwrap();
        assert_eq!(item.from.as_deref(), Some(from));
        let before = counts.insert(from.to_owned(), count.parse().unwrap());
        assert!(before < Some(count.parse().unwrap()), "{words:?} after {before:?}");
    }
}

/// Says where two lists part, rather than printing both.
fn same(heard: &[&str], history: &[&str], member: &str) {
    if heard != history {
        let at = heard.iter().zip(history).take_while(|(a, b)| a == b).count();
        let unique: HashSet<_> = heard.iter().collect();
        panic!(
            "{member} heard {} of {} messages ({} twice); the first difference is at {at}: heard {:?}, history {:?}",
            heard.len(),
            history.len(),
            heard.len() - unique.len(),
            &heard[at..(at + 3).min(heard.len())],
            &history[at..(at + 3).min(history.len())],
        );
    }
}

/// Changes things at random until it is told to stop; how many changes were made.
fn change(server: &Server, pools: &[&str], mut random: Rng, stop: &AtomicBool) -> usize {
    const LINE: [&str; 5] = ["decode", "authenticate", "route", "persist", "fan_out"];
    let mut changes = 0;
    while !stop.load(Ordering::Relaxed) {
        let (path, body) = if !pools.is_empty() && random.u8(..4) == 0 {
            (format!("/pools/{}", random.choice(pools).unwrap()), json!({ "workers": random.u8(1..5) }))
        } else {
            let body = match random.u8(..5) {
                0 => json!({ "workers": random.u8(1..5) }),
                1 => json!({ "batch": random.choice([1, 2, 7, 64, 200]) }),
                2 => json!({ "bound": random.choice([64, 300, 1000, 8192]) }),
                3 => json!({ "policy": random.choice(["block", "shed", "drop-oldest"]) }),
                _ => json!({ "workers": random.u8(1..4), "batch": random.u8(1..65), "bound": random.u16(500..9000) }),
            };
            (format!("/stages/{}", random.choice(LINE).unwrap()), body)
        };
        let answer = http::patch(server.admin(), &path, &body.to_string());
        match answer.status {
            200 => {
                let now = answer.json();
                for (key, value) in body.as_object().unwrap() {
                    assert_eq!(&now[key], value, "{path} {body} gave {now}");
                }
                changes += 1;
            }
            // A bound that a batch, its own or one before it, does not fit into, or a policy that would lose what was promised.
            422 => {}
            _ => panic!("PATCH {path} {body}: {answer:?}"),
        }
        std::thread::sleep(Duration::from_millis(random.u64(1..40)));
    }
    changes
}
