use super::*;
use crate::wire::{
    AckCommand, ConvCommand, DirectCommand, JsonObjectMessage, LogsCommand, ReadCommand, ReadTuple, SessionCommand,
};
use proptest::prelude::*;
use tidegate_domain::command::{Body, Bound, Delivered, Direction, Mentions, Open, Priority, Query, ReadUpTo, Start};
use tidegate_domain::ids::{ConvId, MessageId};

const CID: &str = "559d08a1e4b0a35bc5062ba1";

fn cmd(cmd: CommandType) -> GenericCommand {
    GenericCommand { cmd: Some(cmd as i32), ..Default::default() }
}

fn request(envelope: GenericCommand) -> Request {
    decode(Bytes::from(envelope.encode_to_vec())).unwrap()
}

fn session(op: OpType, body: SessionCommand) -> Command {
    request(GenericCommand { op: Some(op as i32), session_message: Some(Box::new(body)), ..cmd(CommandType::Session) })
        .command
}

fn conv(op: OpType, body: ConvCommand) -> Command {
    request(GenericCommand { op: Some(op as i32), conv_message: Some(Box::new(body)), ..cmd(CommandType::Conv) })
        .command
}

fn direct(body: DirectCommand) -> tidegate_domain::command::Send {
    match request(GenericCommand { direct_message: Some(body), ..cmd(CommandType::Direct) }).command {
        Command::Send(send) => send,
        other => panic!("{other:?}"),
    }
}

fn mid() -> MessageId {
    MessageId::new(1_790_000_000_000, 7, 99)
}

fn text(text: &'static str) -> Option<Bytes> {
    Some(Bytes::from_static(text.as_bytes()))
}

/// Derived by hand from wire.md 2.5: an echo with `i` 5, and a message "hi" of Tom with `i` -1.
#[test]
fn golden_frames_are_read() {
    let echo = decode(Bytes::from_static(&[0x08, 14, 0x28, 5])).unwrap();
    assert_eq!(echo, Request { i: Some(5), app: None, peer: None, command: Command::Echo });

    let mut frame = b"\x08\x02\x22\x03Tom\x28\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\xc2\x06\x20".to_vec();
    frame.extend_from_slice(b"\x0a\x02hi\x50\x01\x5a\x18559d08a1e4b0a35bc5062ba1");
    let message = decode(Bytes::from(frame)).unwrap();
    assert_eq!((message.i, message.peer.as_deref()), (Some(-1), Some("Tom")));
    let Command::Send(send) = message.command else { panic!("not a message") };
    assert_eq!((send.cid, send.receipt), (ConvId::parse(CID), true));
    assert_eq!(send.body, Body::Text(Bytes::from_static(b"hi")));
}

#[test]
fn presence_in_the_envelope_survives() {
    let bare = request(cmd(CommandType::Echo));
    assert_eq!((bare.i, bare.app, bare.peer), (None, None, None));
    let zeroes = GenericCommand {
        i: Some(0),
        peer_id: Some(String::new()),
        app_id: Some(String::new()),
        ..cmd(CommandType::Echo)
    };
    let zeroes = request(zeroes);
    assert_eq!((zeroes.i, zeroes.app.as_deref(), zeroes.peer.as_deref()), (Some(0), Some(""), Some("")));
}

#[test]
fn a_log_in_keeps_what_it_was_given() {
    assert_eq!(session(OpType::Open, SessionCommand::default()), Command::Open(Open::default()));
    let body = SessionCommand {
        r: Some(true),
        tag: Some("phone".into()),
        device_token: Some("token".into()),
        st: Some("sealed".into()),
        s: Some("abc".into()),
        t: Some(12),
        n: Some("once".into()),
        last_unread_notif_time: Some(3),
        last_patch_time: Some(4),
        config_bitmap: Some(187),
        ..Default::default()
    };
    let both = SessionCommand { device_id: Some("id".into()), ..body.clone() };
    let signature = Some(Signature { text: "abc".into(), timestamp: 12, nonce: "once".into() });
    let open = Open {
        reopen: true,
        tag: Some("phone".into()),
        device: Some("token".into()),
        signature: signature.clone(),
        token: Some("sealed".into()),
        last_unread: Some(3),
        last_patch: Some(4),
        config_bitmap: Some(187),
    };
    assert_eq!(session(OpType::Open, body.clone()), Command::Open(open.clone()));
    assert_eq!(session(OpType::Open, both), Command::Open(Open { device: Some("id".into()), ..open }));
    assert_eq!(session(OpType::Refresh, body), Command::Refresh { token: Some("sealed".into()), signature });
}

#[test]
fn an_empty_signature_is_none_and_half_a_one_is_checked() {
    let signed =
        |s: Option<&str>| SessionCommand { s: s.map(str::to_owned), n: Some("n".into()), ..Default::default() };
    let Command::Open(none) = session(OpType::Open, signed(Some(""))) else { panic!() };
    assert_eq!(none.signature, None);
    let Command::Open(half) = session(OpType::Open, signed(Some("x"))) else { panic!() };
    assert_eq!(half.signature.unwrap().timestamp, 0);
}

#[test]
fn the_other_session_commands() {
    let asked = SessionCommand { session_peer_ids: vec!["a".into(), "b".into()], ..Default::default() };
    assert_eq!(session(OpType::Query, asked), Command::Online(vec!["a".into(), "b".into()]));
    assert_eq!(session(OpType::Close, SessionCommand::default()), Command::Close);
    assert_eq!(session(OpType::Add, SessionCommand::default()), Command::Watch { add: true });
    assert_eq!(session(OpType::Remove, SessionCommand::default()), Command::Watch { add: false });
}

#[test]
fn conversations_are_started_and_changed() {
    let body = ConvCommand {
        m: vec!["a".into()],
        cid: Some(CID.into()),
        attr: Some(JsonObjectMessage { data: "{}".into() }),
        unique: Some(true),
        temp_conv: Some(false),
        temp_conv_ttl: Some(60),
        limit: Some(9),
        query_all_members: Some(true),
        cids: vec!["x".into()],
        ..Default::default()
    };
    let cid = ConvId::parse(CID);
    let start = Start {
        members: vec!["a".into()],
        attr: Some("{}".into()),
        unique: true,
        temporary_ttl: Some(60),
        ..Start::default()
    };
    assert_eq!(conv(OpType::Start, body.clone()), Command::Start(start));
    let Command::Add(add) = conv(OpType::Add, body.clone()) else { panic!() };
    assert_eq!((add.cid, &add.members[..]), (cid, &["a".into()][..]));
    assert!(matches!(conv(OpType::Remove, body.clone()), Command::Remove(remove) if remove == add));
    assert_eq!(conv(OpType::Update, body.clone()), Command::Update { cid, attr: Some("{}".into()) });
    assert_eq!(conv(OpType::Mute, body.clone()), Command::Mute { cid, on: true });
    assert_eq!(conv(OpType::Unmute, body.clone()), Command::Mute { cid, on: false });
    assert_eq!(conv(OpType::Count, body.clone()), Command::Count { cid });
    assert_eq!(conv(OpType::Members, body.clone()), Command::Members { cid, limit: Some(9) });
    assert_eq!(conv(OpType::MaxRead, body.clone()), Command::MaxRead { cid, all_members: true });
    assert_eq!(conv(OpType::IsMember, body), Command::IsMember { cids: vec!["x".into()] });
    let nowhere = Command::Update { cid: ConvId::Nowhere, attr: None };
    assert_eq!(conv(OpType::Update, ConvCommand::default()), nowhere);
}

#[test]
fn a_query_tells_zero_from_absent() {
    assert_eq!(conv(OpType::Query, ConvCommand::default()), Command::Query(Query::default()));
    let body = ConvCommand {
        r#where: Some(JsonObjectMessage { data: "{\"a\":1}".into() }),
        sort: Some("-lm".into()),
        skip: Some(0),
        limit: Some(0),
        flag: Some(2),
        temp_conv_ids: vec!["_tmp:1".into()],
        ..Default::default()
    };
    let query = Query {
        filter: Some("{\"a\":1}".into()),
        sort: Some("-lm".into()),
        skip: Some(0),
        limit: Some(0),
        compact: false,
        last_message: true,
        temporary_ids: vec!["_tmp:1".into()],
    };
    assert_eq!(conv(OpType::Query, body.clone()), Command::Query(query.clone()));
    let compact = Query { compact: true, last_message: false, ..query };
    assert_eq!(conv(OpType::Query, ConvCommand { flag: Some(5), ..body }), Command::Query(compact));
}

#[test]
fn bytes_beat_text_and_empty_messages_are_messages() {
    let both = DirectCommand { msg: text("t"), binary_msg: text("b"), ..Default::default() };
    assert_eq!(direct(both).body, Body::Binary(Bytes::from_static(b"b")));
    let hollow = DirectCommand { msg: text("t"), binary_msg: text(""), ..Default::default() };
    assert_eq!(direct(hollow).body, Body::Text(Bytes::from_static(b"t")));
    for msg in [None, text("")] {
        assert_eq!(direct(DirectCommand { msg, ..Default::default() }).body, Body::Text(Bytes::new()));
    }
}

#[test]
fn a_message_keeps_its_wishes() {
    let plain = direct(DirectCommand { dt: Some(String::new()), push_data: Some(String::new()), ..Default::default() });
    assert_eq!((plain.cid, plain.dedupe, plain.push_data), (ConvId::Nowhere, None, None));
    assert!(!plain.transient && !plain.receipt && !plain.will && plain.mentions.is_empty());
    let full = direct(DirectCommand {
        transient: Some(true),
        r: Some(true),
        will: Some(true),
        dt: Some("token".into()),
        push_data: Some("{}".into()),
        mention_all: Some(true),
        mention_pids: vec!["a".into()],
        ..Default::default()
    });
    assert!(full.transient && full.receipt && full.will);
    assert_eq!((full.dedupe.as_deref(), full.push_data.as_deref()), (Some("token"), Some("{}")));
    assert_eq!(full.mentions, Mentions { all: true, clients: vec!["a".into()] });
}

#[test]
fn a_body_shares_the_frames_bytes() {
    let body = DirectCommand { msg: text("a body long enough to be seen"), ..Default::default() };
    let frame = Bytes::from(GenericCommand { direct_message: Some(body), ..cmd(CommandType::Direct) }.encode_to_vec());
    let Command::Send(send) = decode(frame.clone()).unwrap().command else { panic!() };
    assert!(frame.as_ptr_range().contains(&send.body.bytes().as_ptr()));
}

#[test]
fn text_that_is_not_utf8_cannot_be_read() {
    let body = DirectCommand { msg: Some(Bytes::from_static(b"\xff")), ..Default::default() };
    let frame = GenericCommand { direct_message: Some(body), ..cmd(CommandType::Direct) }.encode_to_vec();
    assert_eq!(decode(Bytes::from(frame)), Err(DecodeError::NotUtf8));
    assert!(matches!(decode(Bytes::from_static(b"\x22\x01\xff")), Err(DecodeError::Malformed(_))));
    assert!(matches!(decode(Bytes::from_static(b"\x22\x09x")), Err(DecodeError::Malformed(_))));
}

#[test]
fn priorities_have_three_numbers() {
    for (number, meant) in
        [(None, Priority::Normal), (Some(1), Priority::High), (Some(2), Priority::Normal), (Some(3), Priority::Low)]
    {
        let envelope = GenericCommand { priority: number, ..cmd(CommandType::Direct) };
        assert!(matches!(request(envelope).command, Command::Send(send) if send.priority == meant));
    }
}

fn ack(body: AckCommand) -> Command {
    request(GenericCommand { ack_message: Some(body), ..cmd(CommandType::Ack) }).command
}

#[test]
fn a_receiver_acknowledges_one_message_or_a_range() {
    let cid = ConvId::parse(CID);
    let of = || AckCommand { cid: Some(CID.into()), ..Default::default() };
    let delivered = |mid, from, to| Command::Delivered(Delivered { cid, mid, from, to });
    let one = AckCommand { mid: Some(mid().to_string()), ..of() };
    assert_eq!(ack(one), delivered(Some(mid()), None, None));
    assert_eq!(ack(AckCommand { fromts: Some(1), tots: Some(2), ..of() }), delivered(None, Some(1), Some(2)));
    assert_eq!(ack(AckCommand { tots: Some(2), ..of() }), delivered(None, None, Some(2)));
    for nothing in [
        of(),
        AckCommand { fromts: Some(1), tots: Some(0), ..of() },
        AckCommand { mid: Some("not ours".into()), ..of() },
        AckCommand { ids: vec!["a".into()], ..Default::default() },
    ] {
        assert_eq!(ack(nothing), Command::Nothing);
    }
}

#[test]
fn reading_has_a_form_of_today_and_two_of_old() {
    let tuple = |timestamp, mid: Option<&str>| ReadTuple { cid: CID.into(), timestamp, mid: mid.map(str::to_owned) };
    let mid_text = mid().to_string();
    let body = ReadCommand {
        cid: Some("one".into()),
        cids: vec!["two".into()],
        convs: vec![
            tuple(Some(5), Some(&mid_text)),
            tuple(Some(6), Some("not ours")),
            tuple(None, None),
            tuple(None, Some("not ours")),
        ],
    };
    let command = request(GenericCommand { read_message: Some(body), ..cmd(CommandType::Read) }).command;
    let up_to = |timestamp, mid| ReadUpTo { cid: ConvId::parse(CID), timestamp, mid };
    let whole = ReadUpTo { cid: ConvId::Nowhere, timestamp: None, mid: None };
    let expected = vec![up_to(Some(5), Some(mid())), up_to(Some(6), None), up_to(None, None), whole.clone(), whole];
    assert_eq!(command, Command::Read(expected), "a mark at an unknown message is none, never all");
}

fn logs(body: LogsCommand) -> tidegate_domain::command::Logs {
    match request(GenericCommand { logs_message: Some(Box::new(body)), ..cmd(CommandType::Logs) }).command {
        Command::Logs(logs) => logs,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_page_of_history_has_two_ends() {
    let newest = logs(LogsCommand { cid: Some(CID.into()), t: Some(0), tt: Some(0), ..Default::default() });
    assert_eq!((newest.start, newest.end, newest.limit, newest.direction), (None, None, None, Direction::Old));
    let page = logs(LogsCommand {
        t: Some(10),
        mid: Some(mid().to_string()),
        t_included: Some(true),
        tt: Some(5),
        l: Some(0),
        direction: Some(2),
        lctype: Some(-1),
        ..Default::default()
    });
    assert_eq!(page.start, Some(Bound { timestamp: 10, mid: Some(mid()), included: true }));
    assert_eq!(page.end, Some(Bound { timestamp: 5, mid: None, included: false }));
    assert_eq!((page.limit, page.direction, page.kind), (Some(0), Direction::New, Some(-1)));
    assert_eq!(logs(LogsCommand { limit: Some(7), direction: Some(9), ..Default::default() }).limit, Some(7));
}

#[test]
fn what_is_not_offered_has_its_documented_code() {
    let code = |cmd: i32, op: Option<i32>| match request(GenericCommand { cmd: Some(cmd), op, ..Default::default() })
        .command
    {
        Command::Unsupported(code, _) => code.number(),
        other => panic!("{cmd} {op:?}: {other:?}"),
    };
    for (cmd, op, expected) in [
        (CommandType::Conv, Some(OpType::Status), 4300),
        (CommandType::Conv, Some(OpType::MemberInfoUpdate), 4325),
        (CommandType::Conv, Some(OpType::AddShutup), 4325),
        (CommandType::Conv, Some(OpType::CheckShutup), 4325),
        (CommandType::Conv, Some(OpType::Open), 4114),
        (CommandType::Conv, None, 4114),
        (CommandType::Session, Some(OpType::Opened), 4114),
        (CommandType::Session, None, 4114),
        (CommandType::Patch, Some(OpType::Modify), 4406),
        (CommandType::Blacklist, Some(OpType::Block), 4544),
        (CommandType::Room, Some(OpType::Join), 4114),
        (CommandType::Presence, None, 4114),
        (CommandType::Pubsub, Some(OpType::Subscribe), 4114),
        (CommandType::Goaway, None, 4114),
        (CommandType::Report, None, 4114),
    ] {
        assert_eq!(code(cmd as i32, op.map(|op| op as i32)), expected, "{cmd:?} {op:?}");
    }
    let recall = crate::wire::PatchItem { recall: Some(true), ..Default::default() };
    let patch = crate::wire::PatchCommand { patches: vec![recall], ..Default::default() };
    let recalled = GenericCommand {
        op: Some(OpType::Modify as i32),
        patch_message: Some(patch.into()),
        ..cmd(CommandType::Patch)
    };
    assert!(matches!(request(recalled).command, Command::Unsupported(Code::MessageRecallDisabled, _)));
    assert_eq!((code(99, None), code(-1, None), code(0, Some(-7))), (4114, 4114, 4114));
    assert_eq!(request(GenericCommand::default()).command, unknown("this type of command is not known"));
}

#[test]
fn what_needs_no_answer_is_nothing() {
    let modified = GenericCommand { op: Some(OpType::Modified as i32), ..cmd(CommandType::Patch) };
    assert_eq!(request(modified).command, Command::Nothing);
    assert_eq!(request(cmd(CommandType::Data)).command, Command::Nothing);
    let upload = GenericCommand { op: Some(OpType::Upload as i32), ..cmd(CommandType::Report) };
    assert_eq!(request(upload).command, Command::Report);
}

#[test]
fn a_gate_keeps_service_and_installation() {
    let login = GenericCommand { service: Some(1), installation_id: Some("x".into()), ..cmd(CommandType::Login) };
    let gate = Gate { service: Some(1), installation: Some("x".into()) };
    assert_eq!(request(login.clone()).command, Command::Login(gate.clone()));
    assert_eq!(request(GenericCommand { cmd: Some(16), ..login }).command, Command::Logout(gate));
}

/// Java puts raw bytes into a text field of a patch, and unknown fields are to be ignored.
#[test]
fn readers_are_lenient_where_clients_are_sloppy() {
    let patch = b"\x08\x12\x10\x96\x01\x92\x07\x05\x0a\x03\x2a\x01\xff";
    assert!(matches!(decode(Bytes::from_static(patch)).unwrap().command, Command::Unsupported(..)));
    assert_eq!(decode(Bytes::from_static(b"\x08\x0e\xfa\x3f\x02hi")).unwrap().command, Command::Echo);
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(frame in any::<Vec<u8>>()) {
        let _ = decode(Bytes::from(frame));
    }

    #[test]
    fn a_damaged_frame_never_panics(at in any::<prop::sample::Index>(), byte: u8, cut in any::<prop::sample::Index>()) {
        let body = DirectCommand { msg: text("hello"), cid: Some(CID.into()), mention_pids: vec!["a".into()], ..Default::default() };
        let conv = ConvCommand { m: vec!["a".into()], attr: Some(JsonObjectMessage { data: "{}".into() }), ..Default::default() };
        let mut frame = GenericCommand {
            direct_message: Some(body), conv_message: Some(Box::new(conv)), i: Some(4), ..cmd(CommandType::Direct)
        }.encode_to_vec();
        let at = at.index(frame.len());
        frame[at] = byte;
        frame.truncate(cut.index(frame.len()) + 1);
        let _ = crate::peek(&frame);
        let _ = decode(Bytes::from(frame));
    }

    #[test]
    fn a_message_reads_back_as_a_client_sent_it(
        msg in ".*", binary in any::<Vec<u8>>(), i: i32, peer in ".+", dt in prop::option::of(".+"), transient: bool,
    ) {
        let body = DirectCommand {
            cid: Some(CID.into()), msg: Some(Bytes::from(msg.clone())), binary_msg: Some(Bytes::from(binary.clone())),
            dt: dt.clone(), transient: Some(transient), ..Default::default()
        };
        let envelope = GenericCommand {
            i: Some(i), peer_id: Some(peer.clone()), direct_message: Some(body), ..cmd(CommandType::Direct)
        };
        let got = request(envelope);
        let expected = if binary.is_empty() { Body::Text(msg.into()) } else { Body::Binary(binary.into()) };
        prop_assert_eq!((got.i, got.peer.as_deref()), (Some(i), Some(&*peer)));
        let Command::Send(send) = got.command else { return Err(TestCaseError::fail("not a message")) };
        prop_assert_eq!((send.body, send.dedupe.as_deref(), send.transient), (expected, dt.as_deref(), transient));
    }
}
