//! A client of the wire: asks and waits for its answer, keeps what was pushed meanwhile.
//!
//! One connection may carry several clients; the names of all methods that take one end in `_as`. Every method that
//! waits panics after [`PATIENCE`] with what came instead.

use std::collections::VecDeque;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::Value;
use tidegate_protocol::wire::*;

use super::{APP, PATIENCE, Server, Via, Wire, eventually};

/// Until what was refused is asked again.
const AGAIN: Duration = Duration::from_millis(50);

pub struct Client {
    pub wire: Wire,
    /// Whose commands are sent where none is named.
    pub id: String,
    pub app: String,
    /// Of the last log-in.
    pub token: String,
    next: i32,
    held: VecDeque<GenericCommand>,
}

/// A message as its sender knows it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Sent {
    pub id: String,
    pub at: i64,
}

/// A refusal by `error` or by `ack`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    pub code: i32,
    pub reason: String,
    pub detail: Option<String>,
    /// A hook's own.
    pub app: Option<(i32, String)>,
}

impl Client {
    /// Connected, and nobody logged in.
    pub fn connect(server: &Server, via: Via) -> Client {
        let wire = Wire::connect(server, via).unwrap_or_else(|failed| panic!("connecting by {via:?}: {failed}"));
        Client::over(wire)
    }

    pub fn over(wire: Wire) -> Client {
        let (id, token) = (String::new(), String::new());
        Client { wire, id, app: APP.to_owned(), token, next: 0, held: VecDeque::new() }
    }

    /// Connected by TCP and logged in.
    pub fn tcp(server: &Server, id: &str) -> Client {
        Client::login(server, Via::Tcp, id)
    }

    pub fn login(server: &Server, via: Via, id: &str) -> Client {
        let mut client = Client::connect(server, via);
        client.open(id);
        client
    }

    pub fn login_to(server: &Server, app: &str, id: &str) -> Client {
        let mut client = Client::connect(server, Via::Tcp);
        client.app = app.to_owned();
        client.open(id);
        client
    }

    // ---- Sessions ----

    /// Logs in; where the server is too busy (on a machine that tests share it may be), again.
    pub fn open(&mut self, id: &str) {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.try_open(id, SessionCommand::default()) {
                Ok(_) => return self.settle(),
                Err(refused) if refused.code == 4116 && Instant::now() < until => thread::sleep(AGAIN),
                Err(refused) => panic!("{id} was not let in: {refused:?}"),
            }
        }
    }

    /// Waits until whatever this client asks is let in again, as it is a second after a rush.
    pub fn wait_for_calm(&mut self) {
        eventually("a rush to be over", || {
            let is_calm = (0..30).all(|_| {
                thread::sleep(AGAIN);
                self.conv(OpType::Query, ConvCommand { limit: Some(0), ..ConvCommand::default() }).is_ok()
            });
            is_calm.then_some(())
        });
    }

    /// Waits until the server knows what this session missed: what comes from then on is delivered, and not counted. A
    /// query takes the same way as that look, behind it.
    fn settle(&mut self) {
        let _ = self.conv(OpType::Query, ConvCommand { limit: Some(0), ..ConvCommand::default() });
    }

    /// Logged in by TCP, however often it takes: the server may refuse, and the connection may end.
    pub fn come_in(server: &Server, id: &str) -> Client {
        eventually("a log-in", || {
            let mut client = Client::connect(server, Via::Tcp);
            client.id = id.to_owned();
            let ask = client.open_command(SessionCommand::default());
            client.attempt(ask).ok()?.ok()?;
            Some(client)
        })
    }

    fn open_command(&self, session: SessionCommand) -> GenericCommand {
        let session = SessionCommand { ua: Some("tidegate-tests/1".into()), config_bitmap: Some(187), ..session };
        let app_id = Some(self.app.clone());
        let session_message = Some(Box::new(session));
        GenericCommand { app_id, session_message, ..command(CommandType::Session, Some(OpType::Open)) }
    }

    pub fn try_open(&mut self, id: &str, session: SessionCommand) -> Result<GenericCommand, Refused> {
        let ask = self.open_command(session);
        let opened = self.ask_as(id, ask)?;
        assert_eq!((opened.cmd(), opened.op()), (CommandType::Session, OpType::Opened), "{opened:?}");
        let session = opened.session_message.as_ref().expect("opened has a session");
        assert!(session.code.is_none() && session.st_ttl.is_some_and(|ttl| ttl >= 600), "{session:?}");
        self.token = session.st.clone().expect("opened has a token");
        assert!(opened.server_ts.is_some(), "opened has the server's time");
        self.id = opened.peer_id.clone().expect("opened names its client");
        assert_eq!(self.id, id);
        Ok(opened)
    }

    /// Logs in again with a token, as SDKs do on a new connection.
    pub fn reopen(&mut self, id: &str, token: &str) -> Result<GenericCommand, Refused> {
        self.try_open(id, SessionCommand { r: Some(true), st: Some(token.into()), ..SessionCommand::default() })
    }

    pub fn close(&mut self) {
        let closed = self.ask(command(CommandType::Session, Some(OpType::Close))).expect("a session may be closed");
        assert_eq!(closed.op(), OpType::Closed, "{closed:?}");
    }

    pub fn online(&mut self, ids: &[&str]) -> Vec<String> {
        let mut ask = command(CommandType::Session, Some(OpType::Query));
        ask.session_message =
            Some(Box::new(SessionCommand { session_peer_ids: strings(ids), ..SessionCommand::default() }));
        let answer = self.ask(ask).expect("who is online may be asked");
        let mut online = answer.session_message.unwrap().online_session_peer_ids;
        online.sort();
        online
    }

    /// Goes to the server and back, so that what was sent before has been read.
    pub fn echo(&mut self) {
        let answer = self.ask(command(CommandType::Echo, None)).expect("an echo comes back");
        assert_eq!(answer.cmd(), CommandType::Echo);
    }

    // ---- Conversations ----

    /// A new conversation, never a reused one.
    pub fn start(&mut self, members: &[&str]) -> String {
        self.try_start(ConvCommand { m: strings(members), ..ConvCommand::default() }).expect("it may be started")
    }

    pub fn room(&mut self) -> String {
        self.try_start(ConvCommand { transient: Some(true), ..ConvCommand::default() }).expect("it may be started")
    }

    pub fn try_start(&mut self, conv: ConvCommand) -> Result<String, Refused> {
        let started = self.conv(OpType::Start, conv)?;
        assert!(started.cdate.is_some(), "{started:?}");
        Ok(started.cid.expect("started has a cid"))
    }

    /// Any `conv` command; its answer's body.
    pub fn conv(&mut self, op: OpType, conv: ConvCommand) -> Result<ConvCommand, Refused> {
        let mut ask = command(CommandType::Conv, Some(op));
        ask.conv_message = Some(Box::new(conv));
        self.ask(ask).map(|answer| *answer.conv_message.expect("a conv answer has a body"))
    }

    pub fn add(&mut self, cid: &str, members: &[&str]) -> Result<ConvCommand, Refused> {
        self.conv(OpType::Add, ConvCommand { cid: some(cid), m: strings(members), ..ConvCommand::default() })
    }

    pub fn remove(&mut self, cid: &str, members: &[&str]) -> Result<ConvCommand, Refused> {
        self.conv(OpType::Remove, ConvCommand { cid: some(cid), m: strings(members), ..ConvCommand::default() })
    }

    pub fn query(&mut self, filter: Value) -> Vec<Value> {
        let filter = Some(JsonObjectMessage { data: filter.to_string() });
        let limit = Some(100);
        let answer = self.conv(OpType::Query, ConvCommand { r#where: filter, limit, ..ConvCommand::default() });
        let data = answer.expect("the query is well formed").results.expect("results have data").data;
        serde_json::from_str(&data).unwrap()
    }

    // ---- Messages ----

    pub fn send(&mut self, cid: &str, text: &str) -> Sent {
        let sent = self.try_send(DirectCommand { cid: some(cid), msg: body(text), ..DirectCommand::default() });
        sent.unwrap_or_else(|refused| panic!("{:?} to {cid}: {refused:?}", text))
    }

    pub fn try_send(&mut self, direct: DirectCommand) -> Result<Sent, Refused> {
        let answer = self.ask(direct_command(direct))?;
        let ack = answer.ack_message.expect("a message is answered by an ack");
        Ok(Sent { id: ack.uid.expect("an ack has a uid"), at: ack.t.expect("an ack has a time") })
    }

    /// Sends and does not wait; gives the `i` under which the answer will come.
    pub fn post(&mut self, direct: DirectCommand) -> i32 {
        let id = self.id.clone();
        self.put_as(&id, direct_command(direct))
    }

    /// The next message that was pushed, whatever else came before it.
    pub fn message(&mut self) -> DirectCommand {
        let push = self.push("a message", |c| c.direct_message.is_some());
        push.direct_message.unwrap()
    }

    /// The text of the next message.
    pub fn text(&mut self) -> String {
        text(&self.message())
    }

    /// The receiver says that it has these (no answer).
    pub fn delivered(&mut self, cid: &str, from: i64, to: i64) {
        let mut say = command(CommandType::Ack, None);
        say.ack_message =
            Some(AckCommand { cid: some(cid), fromts: Some(from), tots: Some(to), ..AckCommand::default() });
        self.tell(say);
    }

    /// The client has read up to there (no answer).
    pub fn read(&mut self, cid: &str, message: &Sent) {
        let mut say = command(CommandType::Read, None);
        let tuple = ReadTuple { cid: cid.into(), timestamp: Some(message.at), mid: some(&message.id) };
        say.read_message = Some(ReadCommand { convs: vec![tuple], ..ReadCommand::default() });
        self.tell(say);
    }

    pub fn logs(&mut self, logs: LogsCommand) -> Result<Vec<LogItem>, Refused> {
        let mut ask = command(CommandType::Logs, None);
        ask.logs_message = Some(Box::new(logs));
        self.ask(ask).map(|answer| answer.logs_message.map(|logs| logs.logs).unwrap_or_default())
    }

    /// The whole history, page after page from the beginning.
    pub fn history(&mut self, cid: &str) -> Vec<LogItem> {
        let mut all: Vec<LogItem> = Vec::new();
        loop {
            let last = all.last();
            let page = self.logs(LogsCommand {
                cid: some(cid),
                limit: Some(100),
                direction: Some(logs_command::QueryDirection::New as i32),
                t: last.and_then(|item| item.timestamp),
                mid: last.and_then(|item| item.msg_id.clone()),
                ..LogsCommand::default()
            });
            let page = page.expect("a member may read the history");
            let whole = page.len() == 100;
            all.extend(page);
            if !whole {
                return all;
            }
        }
    }

    /// The same; `None`: there is no such conversation.
    pub fn history_if_there(&mut self, cid: &str) -> Option<Vec<LogItem>> {
        let found = self.query(serde_json::json!({ "objectId": cid }));
        (!found.is_empty()).then(|| self.history(cid))
    }

    // ---- Under all of it ----

    /// Asks in the name of this client, and waits for the answer.
    pub fn ask(&mut self, ask: GenericCommand) -> Result<GenericCommand, Refused> {
        let id = self.id.clone();
        self.ask_as(&id, ask)
    }

    pub fn ask_as(&mut self, id: &str, ask: GenericCommand) -> Result<GenericCommand, Refused> {
        let i = self.put_as(id, ask);
        self.answer(i)
    }

    /// The answer under this `i`.
    pub fn answer(&mut self, i: i32) -> Result<GenericCommand, Refused> {
        let answer = self.push(&format!("the answer to {i}"), |c| c.i == Some(i));
        assert!(answer.server_ts.is_some(), "every answer has the server's time: {answer:?}");
        match refusal(&answer) {
            Some(refused) => Err(refused),
            None => Ok(answer),
        }
    }

    /// As [`Client::ask`], where the connection may end meanwhile, which is the outer error. What is pushed is dropped.
    pub fn attempt(&mut self, mut ask: GenericCommand) -> io::Result<Result<GenericCommand, Refused>> {
        self.next += 1;
        (ask.i, ask.peer_id) = (Some(self.next), some(&self.id));
        self.wire.send(&ask)?;
        let until = Instant::now() + PATIENCE;
        loop {
            match self.wire.next(until)? {
                Some(came) if came.i == ask.i => return Ok(refusal(&came).map_or(Ok(came), Err)),
                Some(_) => {}
                None => panic!("{} waited {PATIENCE:?} for an answer to {ask:?}", self.id),
            }
        }
    }

    pub fn put_as(&mut self, id: &str, mut ask: GenericCommand) -> i32 {
        self.next += 1;
        ask.i = Some(self.next);
        ask.peer_id = (!id.is_empty()).then(|| id.to_owned());
        self.wire.send(&ask).unwrap_or_else(|gone| panic!("sending {ask:?}: {gone}"));
        self.next
    }

    /// Says something that has no answer.
    pub fn tell(&mut self, mut say: GenericCommand) {
        say.peer_id = some(&self.id);
        self.wire.send(&say).unwrap_or_else(|gone| panic!("sending {say:?}: {gone}"));
    }

    /// The next command that is the one, held back or still to come.
    pub fn push(&mut self, what: &str, is_it: impl Fn(&GenericCommand) -> bool) -> GenericCommand {
        if let Some(at) = self.held.iter().position(&is_it) {
            return self.held.remove(at).unwrap();
        }
        let until = Instant::now() + PATIENCE;
        loop {
            match self.wire.next(until) {
                Ok(Some(came)) if is_it(&came) => return came,
                Ok(Some(came)) => self.held.push_back(came),
                Ok(None) => panic!("{} waited {PATIENCE:?} for {what}; what came: {:#?}", self.id, self.held),
                Err(gone) => {
                    panic!("{} lost its connection ({gone}) waiting for {what}; what came: {:#?}", self.id, self.held)
                }
            }
        }
    }

    /// A push about a conversation.
    pub fn notice(&mut self, op: OpType) -> ConvCommand {
        let push = self.push(&format!("{op:?}"), |c| c.i.is_none() && c.cmd() == CommandType::Conv && c.op() == op);
        assert_eq!((push.service, &push.peer_id), (Some(2), &Some(self.id.clone())), "{push:?}");
        *push.conv_message.unwrap()
    }

    pub fn receipt(&mut self) -> RcpCommand {
        self.push("a receipt", |c| c.rcp_message.is_some()).rcp_message.unwrap()
    }

    pub fn unread(&mut self) -> Vec<UnreadTuple> {
        self.push("unread counts", |c| c.unread_message.is_some()).unread_message.unwrap().convs
    }

    /// What was pushed and nobody asked for yet.
    pub fn held(&self) -> impl Iterator<Item = &GenericCommand> {
        self.held.iter()
    }

    pub fn forget(&mut self) {
        self.held.clear();
    }

    /// Waits for the end of the connection, and says what was said about it.
    pub fn gone(&mut self) -> io::Error {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.wire.next(until) {
                Ok(Some(came)) => self.held.push_back(came),
                Ok(None) => {
                    panic!("{} still has its connection after {PATIENCE:?}; what came: {:#?}", self.id, self.held)
                }
                Err(gone) => return gone,
            }
        }
    }

    /// All that comes until nothing has come for `quiet`. For figures in failures, never for a condition.
    pub fn drain(&mut self, quiet: Duration) -> Vec<GenericCommand> {
        while let Ok(Some(came)) = self.wire.next(Instant::now() + quiet) {
            self.held.push_back(came);
        }
        self.held.drain(..).collect()
    }
}

pub fn command(cmd: CommandType, op: Option<OpType>) -> GenericCommand {
    GenericCommand { cmd: Some(cmd as i32), op: op.map(|op| op as i32), ..GenericCommand::default() }
}

pub fn direct_command(direct: DirectCommand) -> GenericCommand {
    GenericCommand { direct_message: Some(direct), ..command(CommandType::Direct, None) }
}

/// The refusal that an answer is, if it is one.
pub fn refusal(answer: &GenericCommand) -> Option<Refused> {
    if let Some(error) = &answer.error_message {
        let app = error.app_code.map(|code| (code, error.app_msg.clone().unwrap_or_default()));
        return Some(Refused { code: error.code, reason: error.reason.clone(), detail: error.detail.clone(), app });
    }
    let ack = answer.ack_message.as_ref()?;
    let code = ack.code?;
    // A failed message has its id and time all the same (wire.md 3.8.2).
    assert!(ack.uid.is_some() && ack.t.is_some(), "{ack:?}");
    let app = ack.app_code.map(|code| (code, ack.app_msg.clone().unwrap_or_default()));
    Some(Refused { code, reason: ack.reason.clone().unwrap_or_default(), detail: None, app })
}

/// An error's code, for assertions.
pub fn code<T: std::fmt::Debug>(outcome: Result<T, Refused>) -> i32 {
    match outcome {
        Ok(done) => panic!("this was to be refused: {done:?}"),
        Err(refused) => refused.code,
    }
}

pub fn text(message: &DirectCommand) -> String {
    String::from_utf8(message.msg.as_ref().expect("a text message").to_vec()).unwrap()
}

pub fn texts(items: &[LogItem]) -> Vec<String> {
    items.iter().map(|item| String::from_utf8(item.data.as_ref().unwrap().to_vec()).unwrap()).collect()
}

pub fn body(text: &str) -> Option<Bytes> {
    Some(Bytes::copy_from_slice(text.as_bytes()))
}

pub fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

pub fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}
