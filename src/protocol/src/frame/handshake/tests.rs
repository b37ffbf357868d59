use super::*;

const GOOD: [(&str, &[u8]); 5] = [
    ("Host", b"localhost:7700"),
    ("Upgrade", b"websocket"),
    ("Connection", b"keep-alive, Upgrade"),
    ("Sec-WebSocket-Version", b"13"),
    ("Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ=="),
];

type Headers<'a> = Vec<(&'a str, &'a [u8])>;

/// A good head, with some of its headers replaced or added.
fn head<'a>(target: &'a str, changed: &[(&'a str, &'a [u8])]) -> Head<'a, Headers<'a>> {
    let kept = GOOD.into_iter().filter(|(name, _)| changed.iter().all(|(other, _)| !other.eq_ignore_ascii_case(name)));
    Head { method: "GET", target, minor_version: 1, headers: kept.chain(changed.iter().copied()).collect() }
}

fn offering(offer: &str) -> Result<Accepted, Refused> {
    accept(&head("/", &[("sec-websocket-protocol", offer.as_bytes())]))
}

#[test]
fn the_example_of_the_rfc_is_answered_as_there() {
    let accepted = offering("lc.protobuf2.3").unwrap();
    assert_eq!(accepted.subprotocol, Subprotocol::Binary { offline_pushed: false });
    assert_eq!(
        String::from_utf8(accepted.response).unwrap(),
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: lc.protobuf2.3\r\n\r\n"
    );
}

#[test]
fn the_first_known_subprotocol_is_taken() {
    assert_eq!(offering("chat, lc.proto2base64.3 ,lc.protobuf2.3").unwrap().subprotocol, Subprotocol::Base64);
    assert_eq!(offering("lc.protobuf2.1").unwrap().subprotocol, Subprotocol::Binary { offline_pushed: true });
    for offer in ["lc.json.3", "lc.protobuf2.2", "LC.PROTOBUF2.3", "lc.protobuf2.3.1", "\"lc.protobuf2.3\""] {
        assert_eq!(offering(offer), Err(Refused::UnknownSubprotocol), "{offer}");
    }
}

#[test]
fn several_headers_are_one_list() {
    let headers: [(&str, &[u8]); 2] =
        [("Sec-WebSocket-Protocol", b"chat"), ("SEC-WEBSOCKET-PROTOCOL", b"lc.protobuf2.3")];
    assert!(accept(&head("/", &headers)).is_ok());
}

#[test]
fn the_query_names_it_only_where_none_is_offered() {
    for target in ["/?subprotocol=lc.protobuf2.3", "/x?a=1&subprotocol=lc%2Eprotobuf2%2e3&b"] {
        let accepted = accept(&head(target, &[])).unwrap();
        assert_eq!(accepted.subprotocol, Subprotocol::Binary { offline_pushed: false });
        assert!(
            !String::from_utf8(accepted.response).unwrap().contains("Protocol:"),
            "what was not offered is not said"
        );
    }
    for target in ["/", "/?subprotocol=lc.json.3", "/?subprotocol=%", "/?subprotocol=%f", "/subprotocol=lc.protobuf2.3"]
    {
        assert_eq!(accept(&head(target, &[])), Err(Refused::UnknownSubprotocol), "{target}");
    }
    let both = head("/?subprotocol=lc.protobuf2.3", &[("Sec-WebSocket-Protocol", b"lc.json.3")]);
    assert_eq!(accept(&both), Err(Refused::UnknownSubprotocol));
}

#[test]
fn compression_is_never_agreed_to() {
    let offers: [(&str, &[u8]); 2] = [
        ("Sec-WebSocket-Extensions", b"permessage-deflate; client_max_window_bits"),
        ("Sec-WebSocket-Protocol", b"lc.protobuf2.3"),
    ];
    let response = accept(&head("/", &offers)).unwrap().response;
    assert!(!String::from_utf8(response).unwrap().to_lowercase().contains("extensions"));
}

#[test]
fn each_fault_is_refused_in_words() {
    let faults: [(&str, &[u8], Refused); 8] = [
        ("Upgrade", b"h2c", Refused::NoUpgrade),
        ("Connection", b"keep-alive", Refused::NoUpgrade),
        ("Sec-WebSocket-Version", b"8", Refused::WrongVersion),
        ("Sec-WebSocket-Version", b"13, 8", Refused::WrongVersion),
        ("Sec-WebSocket-Key", b"", Refused::BadKey),
        ("Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25j", Refused::BadKey),
        ("Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ==,", Refused::BadKey),
        ("Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25-ZQ==", Refused::BadKey),
    ];
    for (name, value, refused) in faults {
        assert_eq!(accept(&head("/", &[(name, value)])), Err(refused), "{name}");
    }
    let twice: [(&str, &[u8]); 2] = [GOOD[4], GOOD[4]];
    assert_eq!(accept(&head("/", &twice)), Err(Refused::BadKey));
    assert_eq!(accept(&Head { method: "POST", ..head("/", &[]) }), Err(Refused::NotGet));
    assert_eq!(accept(&Head { minor_version: 0, ..head("/", &[]) }), Err(Refused::OldHttp));
}

#[test]
fn a_refusal_is_a_whole_response_of_its_status() {
    use Refused::*;
    for refused in [NotGet, OldHttp, NoUpgrade, WrongVersion, BadKey, UnknownSubprotocol] {
        let response = String::from_utf8(refused.response()).unwrap();
        assert!(response.starts_with(&format!("HTTP/1.1 {} ", refused.status())));
        let (head, body) = response.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}", body.len())) && head.contains("Connection: close"));
    }
    assert!(String::from_utf8(WrongVersion.response()).unwrap().contains("Sec-WebSocket-Version: 13\r\n"));
}
