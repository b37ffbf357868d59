//! A conversation's attributes: made by one JSON text, changed by others (one a line), kept and read back as they were.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_domain::command::Start;
use tidegate_domain::conversation::Conversation;
use tidegate_domain::ids::{ClientId, ConvId};
use tidegate_store::codec;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut lines = text.lines();
    let ask = Start {
        members: vec!["jerry".into()],
        attr: lines.next().map(Into::into),
        transient: false,
        unique: false,
        temporary: false,
        temporary_ttl: None,
        signature: None,
    };
    let tom = ClientId::from("tom");
    let id = ConvId::parse("559d08a1e4b0a35bc5062ba1");
    let Ok(mut conversation) = Conversation::start(id, &tom, &ask, 1) else { return };
    for line in lines {
        let before = conversation.clone();
        if conversation.update("tom", Some(line), true, 2).is_err() {
            assert_eq!(conversation, before, "all or nothing");
        }
    }
    conversation.to_query_json("tom", false, None, None);
    let kept = codec::write_conversation(&conversation);
    assert_eq!(codec::read_conversation(id, &kept), Ok(conversation));
});
