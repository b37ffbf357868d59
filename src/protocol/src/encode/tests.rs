use super::*;
use crate::wire::{CommandType, GenericCommand, OpType};
use proptest::prelude::*;
use tidegate_domain::command::{Body, Gate, Mentions};
use tidegate_domain::conversation::Kind;
use tidegate_domain::error::{Code, Failure};
use tidegate_domain::ids::{ConvId, MessageId};
use tidegate_domain::reply::{Changed, LogItem, MemberMarks, Message, Unread};

const NOW: Millis = 1_790_000_000_123;
const ISO: &str = "2026-09-21T14:13:20.123Z";
const CID: &str = "559d08a1e4b0a35bc5062ba1";

fn cid() -> ConvId {
    ConvId::parse(CID)
}

fn mid() -> MessageId {
    MessageId::new(NOW, 7, 99)
}

fn read(frame: &[u8]) -> GenericCommand {
    GenericCommand::decode(frame).unwrap()
}

/// The answer to a request with `i` 0, which is a number like any other.
fn answered(value: &Answer) -> GenericCommand {
    read(&answer(Some(0), Some("Tom"), NOW, value))
}

fn conv(value: &Answer) -> (OpType, crate::wire::ConvCommand) {
    let envelope = answered(value);
    assert_eq!(envelope.cmd(), CommandType::Conv);
    (envelope.op(), *envelope.conv_message.unwrap())
}

fn noticed(value: &Notice) -> GenericCommand {
    read(&notice(NOW, value))
}

fn text(text: &'static str) -> Body {
    Body::Text(Bytes::from_static(text.as_bytes()))
}

fn item(body: Body) -> LogItem {
    LogItem {
        mid: mid(),
        from: "Jerry".into(),
        at: 5,
        body,
        delivered_at: None,
        read_at: None,
        patched_at: None,
        mentions: Mentions::default(),
        kind: Kind::Normal,
    }
}

fn message(body: Body) -> Message {
    Message {
        cid: cid(),
        mid: mid(),
        from: "Jerry".into(),
        at: 5,
        body,
        transient: false,
        mentions: Mentions::default(),
        kind: Kind::Normal,
        offline: false,
        has_more: false,
        patched_at: None,
    }
}

fn changed() -> Changed {
    let failed = vec![(Failure::because(Code::ConversationFull, "500 is the most"), vec!["b".into(), "c".into()])];
    Changed { cid: cid(), allowed: vec!["a".into()], failed, updated: NOW }
}

fn every_answer() -> Vec<Answer> {
    let gate = Gate { service: Some(1), installation: Some("x".into()) };
    vec![
        Answer::Echo,
        Answer::LoggedIn(gate.clone()),
        Answer::LoggedOut(gate),
        Answer::Opened { token: "st".into(), ttl_s: 172_800 },
        Answer::Closed,
        Answer::Refreshed { token: "st".into(), ttl_s: 1 },
        Answer::Online(vec!["a".into()]),
        Answer::Watched { add: true },
        Answer::Reported,
        Answer::Started { cid: cid(), created: NOW, updated: None, unique_id: None, existing: false },
        Answer::Added(changed()),
        Answer::Removed(changed()),
        Answer::Results { json: "[]".into() },
        Answer::Updated { cid: cid(), updated: NOW, attr: "{}".into(), modified: "{}".into() },
        Answer::Muted { cid: cid(), updated: NOW },
        Answer::Count { cid: cid(), count: 0 },
        Answer::Members { cid: cid(), members: vec![] },
        Answer::MaxRead { cid: cid(), read: None, delivered: None },
        Answer::MaxReadOfAll { cid: cid(), members: vec![] },
        Answer::IsMember { json: "{}".into() },
        Answer::Sent { mid: mid(), at: NOW, cid: cid() },
        Answer::NotSent { failure: Failure::new(Code::InvalidTarget), mid: mid(), at: NOW },
        Answer::Logs { cid: cid(), items: vec![] },
        Answer::Failed(Failure::new(Code::SessionRequired)),
    ]
}

fn every_notice() -> Vec<Notice> {
    let by = || "Jerry".into();
    vec![
        Notice::Message(message(text("hi"))),
        Notice::Joined { cid: cid(), by: by(), updated: NOW },
        Notice::MembersJoined { cid: cid(), members: vec!["a".into()], by: by(), updated: NOW },
        Notice::Left { cid: cid(), by: by(), updated: NOW },
        Notice::MembersLeft { cid: cid(), members: vec!["a".into()], by: by(), updated: NOW },
        Notice::Updated { cid: cid(), by: by(), updated: NOW, attr: "{}".into(), modified: "{}".into() },
        Notice::Receipt { cid: cid(), mid: mid(), at: 9, by: by(), read: false },
        Notice::Unread { convs: vec![], as_of: NOW },
        Notice::SessionClosed(Failure::new(Code::SessionConflict)),
        Notice::GoAway,
    ]
}

/// Derived by hand from wire.md 2.5.
#[test]
fn golden_frames_are_written() {
    assert_eq!(&answer(Some(5), None, 1, &Answer::Echo)[..], [0x08, 14, 0x28, 5, 0x48, 1]);
    let mut goaway = notice(1, &Notice::GoAway).to_vec();
    append_peer(&mut goaway, "Tom");
    assert_eq!(goaway, b"\x08\x15\x40\x02\x48\x01\x22\x03Tom");

    let sent = answer(Some(5), Some("Tom"), 1, &Answer::Sent { mid: MessageId([0; 16]), at: 2, cid: cid() });
    let ack = b"\xca\x06\x34\x22\x18559d08a1e4b0a35bc5062ba1\x28\x02\x32\x16----------------------";
    assert_eq!(&sent[..], [&b"\x08\x03\x22\x03Tom\x28\x05\x48\x01"[..], ack].concat());
}

#[test]
fn every_answer_carries_i_peer_and_time_and_no_service_of_pushes() {
    for value in every_answer() {
        let envelope = answered(&value);
        assert!(envelope.cmd.is_some(), "{value:?}");
        assert_eq!((envelope.i, envelope.peer_id(), envelope.server_ts), (Some(0), "Tom", Some(NOW)), "{value:?}");
        assert_ne!(envelope.service, Some(2), "{value:?}");
        let bare = read(&answer(None, None, NOW, &value));
        assert_eq!((bare.i, bare.peer_id), (None, None), "{value:?}");
    }
}

#[test]
fn a_success_has_no_code() {
    for value in every_answer() {
        let (failed, envelope) = (matches!(value, Answer::NotSent { .. } | Answer::Failed(_)), answered(&value));
        assert_eq!(envelope.error_message.is_some(), matches!(value, Answer::Failed(_)), "{value:?}");
        if let Some(ack) = envelope.ack_message {
            assert_eq!((ack.code.is_some(), ack.reason.is_some(), ack.app_code), (failed, failed, None));
        }
        if let Some(session) = envelope.session_message {
            assert_eq!((session.code, session.reason), (None, None), "{value:?}");
        }
    }
}

#[test]
fn every_notice_carries_service_and_time_and_never_i() {
    for value in every_notice() {
        let mut frame = notice(NOW, &value).to_vec();
        let envelope = read(&frame);
        assert_eq!((envelope.i, envelope.service, envelope.server_ts), (None, Some(2), Some(NOW)), "{value:?}");
        assert_eq!(envelope.peer_id, None, "{value:?}");
        let permanent = matches!(value, Notice::Joined { .. } | Notice::Left { .. });
        assert_eq!(envelope.notification_type, permanent.then_some(1), "{value:?}");

        let before = frame.len();
        append_peer(&mut frame, "Tom");
        assert_eq!(frame.len(), before + peer_len("Tom"));
        assert_eq!(read(&frame), GenericCommand { peer_id: Some("Tom".into()), ..envelope });
    }
}

#[test]
fn sessions_are_answered() {
    let opened = answered(&Answer::Opened { token: "st".into(), ttl_s: 172_800 });
    assert_eq!((opened.cmd, opened.op()), (Some(0), OpType::Opened), "0 is said, too");
    let body = opened.session_message.unwrap();
    assert_eq!((body.st(), body.st_ttl()), ("st", 172_800));
    assert_eq!(answered(&Answer::Closed).op(), OpType::Closed);
    assert_eq!(answered(&Answer::Refreshed { token: "x".into(), ttl_s: 1 }).op(), OpType::Refreshed);
    let online = answered(&Answer::Online(vec!["a".into()]));
    assert_eq!(
        (online.op(), online.session_message.unwrap().online_session_peer_ids),
        (OpType::QueryResult, vec!["a".to_owned()])
    );
    assert_eq!(answered(&Answer::Watched { add: false }).op(), OpType::Removed);
    assert_eq!(answered(&Answer::Reported).op(), OpType::Uploaded);
}

#[test]
fn a_gate_answers_live_query_and_stops_javas_push() {
    let live = answered(&Answer::LoggedIn(Gate { service: Some(1), installation: Some("x".into()) }));
    assert_eq!((live.cmd(), live.service, live.installation_id()), (CommandType::Loggedin, Some(1), "x"));
    assert_eq!(live.loggedin_message, None);
    let java = read(&answer(None, None, NOW, &Answer::LoggedIn(Gate::default())));
    assert_eq!((java.service, java.loggedin_message.unwrap().push_disabled()), (Some(0), true));
    let out = answered(&Answer::LoggedOut(Gate { service: Some(1), installation: None }));
    assert_eq!((out.cmd(), out.service), (CommandType::Loggedout, Some(1)));
}

#[test]
fn a_start_says_only_what_is_so() {
    let fresh = Answer::Started { cid: cid(), created: NOW, updated: None, unique_id: None, existing: false };
    let (op, body) = conv(&fresh);
    assert_eq!((op, body.cid(), body.cdate()), (OpType::Started, CID, ISO));
    assert_eq!((body.udate, body.unique_id, body.existing), (None, None, None));
    let unique_id = Some("00112233445566778899aabbccddeeff".into());
    let (_, body) = conv(&Answer::Started { cid: cid(), created: 0, updated: Some(NOW), unique_id, existing: true });
    assert_eq!((body.udate(), body.existing), (ISO, Some(true)));
}

#[test]
fn a_change_of_members_tells_who_and_why_not() {
    let (op, body) = conv(&Answer::Added(changed()));
    assert_eq!((op, body.udate(), &body.allowed_pids[..]), (OpType::Added, ISO, &["a".to_owned()][..]));
    let failed = &body.failed_pids[0];
    assert_eq!((failed.code, &*failed.reason, failed.detail()), (4304, "CONVERSATION_FULL", "500 is the most"));
    assert_eq!(failed.pids, ["b", "c"]);
    assert_eq!(conv(&Answer::Removed(changed())).0, OpType::Removed);
}

#[test]
fn the_other_answers_of_conversations() {
    let (op, body) = conv(&Answer::Results { json: "[1]".into() });
    assert_eq!((op, body.results.unwrap().data.as_str()), (OpType::Results, "[1]"));
    let updated = Answer::Updated { cid: cid(), updated: NOW, attr: "{\"a\":1}".into(), modified: "{\"b\":2}".into() };
    let (op, body) = conv(&updated);
    assert_eq!((op, body.udate(), &*body.attr.as_ref().unwrap().data), (OpType::Updated, ISO, "{\"a\":1}"));
    assert_eq!(body.attr_modified.unwrap().data, "{\"b\":2}");
    let (op, body) = conv(&Answer::Muted { cid: cid(), updated: NOW });
    assert_eq!((op, body.udate(), &body.attr), (OpType::Updated, ISO, &None));
    let (op, body) = conv(&Answer::Count { cid: cid(), count: 0 });
    assert_eq!((op, body.count), (OpType::Result, Some(0)));
    let (op, body) = conv(&Answer::Members { cid: cid(), members: vec!["a".into()] });
    assert_eq!((op, &body.m[..]), (OpType::Members, &["a".to_owned()][..]));
    let (op, body) = conv(&Answer::MaxRead { cid: cid(), read: None, delivered: Some(3) });
    assert_eq!((op, body.max_read_timestamp, body.max_ack_timestamp), (OpType::MaxRead, None, Some(3)));
    let members = vec![MemberMarks { client: "a".into(), read: Some(4), delivered: None }];
    let (_, body) = conv(&Answer::MaxReadOfAll { cid: cid(), members });
    let marks = &body.max_read_tuples[0];
    assert_eq!((marks.pid(), marks.max_read_timestamp, marks.max_ack_timestamp), ("a", Some(4), None));
    let (op, body) = conv(&Answer::IsMember { json: "{}".into() });
    assert_eq!((op, body.results.unwrap().data.as_str()), (OpType::IsMember, "{}"));
}

#[test]
fn a_refused_message_is_told_by_ack_with_id_and_time() {
    let failure = Failure {
        code: Code::MessageRejectedByApp,
        detail: Some("never sent in an ack".into()),
        app: Some((-1, "no".into())),
    };
    let ack = answered(&Answer::NotSent { failure, mid: mid(), at: 9 }).ack_message.unwrap();
    assert_eq!(
        (ack.code, ack.reason(), ack.uid(), ack.t),
        (Some(4402), "MESSAGE_REJECTED_BY_APP", &*mid().to_string(), Some(9))
    );
    assert_eq!((ack.app_code, ack.app_msg()), (Some(-1), "no"));
    let expired = Answer::NotSent { failure: Code::TemporaryExpired.into(), mid: mid(), at: 9 };
    let ack = answered(&expired).ack_message.unwrap();
    assert_eq!((ack.code, ack.reason), (Some(4323), None), "JS has its own words for it");
}

#[test]
fn other_failures_are_errors() {
    let failure = Failure::because(Code::ConversationQueryFailed, "no such operator");
    let envelope = answered(&Answer::Failed(failure));
    assert_eq!(envelope.cmd(), CommandType::Error);
    let error = envelope.error_message.unwrap();
    assert_eq!((error.code, &*error.reason, error.detail()), (4310, "CONVERSATION_QUERY_FAILED", "no such operator"));
    assert!(error.pids.is_empty() && error.app_code.is_none());
}

#[test]
fn history_tells_text_from_bytes_and_known_from_unknown() {
    let read_item = LogItem {
        delivered_at: Some(6),
        read_at: Some(7),
        patched_at: Some(8),
        mentions: Mentions { all: true, clients: vec!["a".into()] },
        ..item(Body::Binary(Bytes::from_static(&[0, 255])))
    };
    let envelope = answered(&Answer::Logs { cid: cid(), items: vec![item(text("hi")), read_item] });
    assert_eq!((envelope.cmd(), envelope.op), (CommandType::Logs, None));
    let logs = envelope.logs_message.unwrap();
    assert_eq!(logs.cid(), CID);
    let [plain, binary] = &logs.logs[..] else { panic!() };
    assert_eq!((plain.data.as_deref(), plain.bin, plain.ack_at, plain.read_at), (Some(&b"hi"[..]), None, None, None));
    assert_eq!((plain.patch_timestamp, plain.mention_all, plain.conv_type), (None, None, Some(1)));
    assert_eq!((plain.msg_id(), plain.from(), plain.timestamp), (&*mid().to_string(), "Jerry", Some(5)));
    assert_eq!((binary.data.as_deref(), binary.bin), (Some(&b"AP8="[..]), Some(true)));
    assert_eq!((binary.ack_at, binary.read_at, binary.patch_timestamp), (Some(6), Some(7), Some(8)));
    assert_eq!((binary.mention_all, &binary.mention_pids[..]), (Some(true), &["a".to_owned()][..]));
}

#[test]
fn a_receipt_is_read_or_says_nothing_of_it() {
    for (read, said) in [(false, None), (true, Some(true))] {
        let rcp =
            noticed(&Notice::Receipt { cid: cid(), mid: mid(), at: 9, by: "a".into(), read }).rcp_message.unwrap();
        assert_eq!((rcp.read, rcp.from(), rcp.t, rcp.cid()), (said, "a", Some(9), CID));
    }
}

#[test]
fn unread_comes_with_the_last_message_whole() {
    let unread = |last| Unread { cid: cid(), count: 0, mentioned: false, kind: Kind::System, last };
    let binary = Unread { mentioned: true, ..unread(Some(item(Body::Binary(Bytes::from_static(b"b"))))) };
    let notice = noticed(&Notice::Unread { convs: vec![unread(None), unread(Some(item(text("")))), binary], as_of: 3 });
    let body = notice.unread_message.unwrap();
    assert_eq!(body.notif_time, Some(3));
    let [bare, empty, binary] = &body.convs[..] else { panic!() };
    assert_eq!((&*bare.cid, bare.unread, bare.mentioned, bare.conv_type), (CID, 0, None, Some(3)));
    assert_eq!((&bare.mid, &bare.data, &bare.binary_msg), (&None, &None, &None));
    assert_eq!((empty.data.as_deref(), empty.timestamp, empty.from()), (Some(&b""[..]), Some(5), "Jerry"));
    assert_eq!((&binary.data, binary.binary_msg.as_deref(), binary.mentioned), (&None, Some(&b"b"[..]), Some(true)));
}

#[test]
fn a_closed_session_learns_why() {
    let closed = noticed(&Notice::SessionClosed(Failure::new(Code::SessionConflict)));
    let body = closed.session_message.as_ref().unwrap();
    assert_eq!((closed.op(), body.code, body.reason()), (OpType::Closed, Some(4111), "SESSION_CONFLICT"));
    let goaway = noticed(&Notice::GoAway);
    assert_eq!((goaway.cmd(), goaway.op), (CommandType::Goaway, None));
}

fn bodies() -> impl Strategy<Value = Body> {
    prop_oneof![
        ".*".prop_map(|text| Body::Text(text.into())),
        any::<Vec<u8>>().prop_map(|bytes| Body::Binary(bytes.into())),
    ]
}

fn convs() -> impl Strategy<Value = ConvId> {
    prop_oneof![
        any::<[u8; 12]>().prop_map(ConvId::Object),
        any::<[u8; 16]>().prop_map(ConvId::Temporary),
        Just(ConvId::Nowhere),
    ]
}

prop_compose! {
    fn messages()(
        body in bodies(), cid in convs(), mid: [u8; 16], from in ".*", at: i64, flags: [bool; 4],
        clients in prop::collection::vec(".*", 0..4), patched_at in prop::option::of(any::<i64>()),
    ) -> Message {
        let [transient, offline, has_more, all] = flags;
        let mentions = Mentions { all, clients: clients.into_iter().map(Into::into).collect() };
        Message {
            cid, mid: MessageId(mid), from: from.into(), at, body, transient, mentions, kind: Kind::Room, offline, has_more,
            patched_at,
        }
    }
}

/// One allocation of the right size shows in what the bytes give back.
fn is_exact(frame: Bytes) -> bool {
    let len = frame.len();
    Vec::from(frame).capacity() == len
}

proptest! {
    #[test]
    fn the_hot_ack_is_the_generated_one(
        i in prop::option::of(any::<i32>()), peer in prop::option::of(".*"), now: i64, mid: [u8; 16], at: i64, cid in convs(),
    ) {
        let sent = Answer::Sent { mid: MessageId(mid), at, cid };
        let plain = GenericCommand { i, peer_id: peer.clone(), server_ts: Some(now), ..super::answer::envelope_of(&sent) };
        let frame = answer(i, peer.as_deref(), now, &sent);
        prop_assert_eq!(&frame[..], plain.encode_to_vec());
        prop_assert!(is_exact(frame));
    }

    #[test]
    fn the_hot_message_is_the_generated_one(now: i64, message in messages()) {
        let pushed = Notice::Message(message);
        let plain = GenericCommand { service: Some(2), server_ts: Some(now), ..super::notice::envelope_of(&pushed) };
        let frame = notice(now, &pushed);
        prop_assert_eq!(&frame[..], plain.encode_to_vec());
        prop_assert!(is_exact(frame));
    }

    #[test]
    fn the_hot_page_is_the_generated_one(
        i in prop::option::of(any::<i32>()), peer in prop::option::of(".*"), now: i64, cid in convs(),
        items in prop::collection::vec((messages(), prop::option::of(any::<i64>()), prop::option::of(any::<i64>())), 0..4),
    ) {
        let item = |(message, delivered_at, read_at): (Message, _, _)| LogItem {
            mid: message.mid, from: message.from, at: message.at, body: message.body, delivered_at, read_at,
            patched_at: message.patched_at, mentions: message.mentions, kind: message.kind,
        };
        let page = Answer::Logs { cid, items: items.into_iter().map(item).collect() };
        let plain = GenericCommand { i, peer_id: peer.clone(), server_ts: Some(now), ..super::answer::envelope_of(&page) };
        let frame = answer(i, peer.as_deref(), now, &page);
        prop_assert_eq!(&frame[..], plain.encode_to_vec());
        prop_assert!(is_exact(frame));
    }

    #[test]
    fn a_receiver_reads_a_message_as_it_was(message in messages(), peer in ".*") {
        let mut frame = notice(1, &Notice::Message(message.clone())).to_vec();
        append_peer(&mut frame, &peer);
        let envelope = read(&frame);
        let direct = envelope.direct_message.unwrap();
        prop_assert_eq!(envelope.peer_id, Some(peer));
        prop_assert!(direct.binary_msg.as_ref().is_none_or(|bytes| !bytes.is_empty()));
        prop_assert!(direct.msg.is_some() != direct.binary_msg.is_some());
        prop_assert_eq!(direct.msg.or(direct.binary_msg).unwrap(), message.body.bytes());
        prop_assert_eq!(direct.transient, message.transient.then_some(true));
        prop_assert_eq!((direct.id.unwrap(), direct.cid.unwrap()), (message.mid.to_string(), message.cid.to_string()));
    }
}
