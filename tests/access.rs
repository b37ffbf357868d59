//! Who may do what at the admin side of the real binary: tokens to look and to change, as a program and as a browser sends
//! them, and that no token shows anywhere.

mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Output;
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use common::http::{Response, request_with};
use common::server::signal;
use common::{Server, Setup, eventually, tidegate};
use serde_json::{Value, json};

const READ: &str = "may-look-and-no-more";
const WRITE: &str = "may-change-everything";
const WRONG: &str = "may-do-nothing-at-all";

fn tokens(read: bool, write: bool) -> String {
    let line = |name: &str, token: &str, set: bool| if set { format!("{name} = \"{token}\"\n") } else { String::new() };
    format!("[admin]\n{}{}", line("read_token", READ, read), line("write_token", WRITE, write))
}

fn guarded() -> Server {
    Server::with(tokens(true, true))
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

fn basic(name: &str, token: &str) -> String {
    format!("Authorization: Basic {}\r\n", STANDARD.encode(format!("{name}:{token}")))
}

fn ask(server: &Server, method: &str, path: &str, headers: &str, body: &str) -> Response {
    request_with(server.admin(), method, path, headers, body)
        .unwrap_or_else(|failed| panic!("{method} {path}: {failed}"))
}

fn get(server: &Server, path: &str) -> Value {
    ask(server, "GET", path, &bearer(WRITE), "").json()
}

const TO_LOOK: [&str; 19] = [
    "/",
    "/dashboard/app.js",
    "/metrics",
    "/stages",
    "/stages/route",
    "/stages/nobody",
    "/pools",
    "/pools/route",
    "/changes",
    "/bottleneck",
    "/config",
    "/topology",
    "/history",
    "/days",
    "/journeys?stage=route",
    "/trace?client=tom",
    "/record",
    "/nothing",
    "/undo",
];

const TO_CHANGE: [(&str, &str, &str); 10] = [
    ("PATCH", "/stages/route", r#"{"workers":2}"#),
    ("PATCH", "/stages/route?dry_run=true", r#"{"workers":3}"#),
    ("PATCH", "/pools/route", r#"{"workers":3}"#),
    ("POST", "/undo", ""),
    ("POST", "/config/save?dry_run=true", ""),
    ("POST", "/config/save", ""),
    ("POST", "/config/reload", ""),
    ("POST", "/record?seconds=0.1", ""),
    ("POST", "/nothing", ""),
    ("DELETE", "/stages/route", ""),
];

fn is_refused(answer: &Response, status: u16) {
    let error = answer.json();
    assert_eq!((answer.status, &error["code"]), (status, &json!(status)), "{answer:?}");
    // It says what to do.
    assert!(error["error"].as_str().unwrap().contains("_token"), "{error}");
    let asks: Vec<_> =
        answer.head.lines().filter(|line| line.to_ascii_lowercase().starts_with("www-authenticate:")).collect();
    match status {
        401 => assert!(
            asks.len() == 2 && asks[0].contains("Basic realm=") && asks[1].contains("Bearer realm="),
            "{asks:?}"
        ),
        _ => assert!(asks.is_empty(), "a browser would ask again: {asks:?}"),
    }
}

#[test]
fn every_path_wants_a_token_and_a_change_the_one_that_may_change() {
    let server = guarded();
    let strangers =
        [String::new(), bearer(WRONG), basic("ann", WRONG), basic(WRITE, ""), bearer(""), bearer(&READ[1..])];
    for who in &strangers {
        for path in TO_LOOK {
            is_refused(&ask(&server, "GET", path, who, ""), 401);
        }
        for (method, path, body) in TO_CHANGE {
            is_refused(&ask(&server, method, path, who, body), 401);
        }
        assert_eq!(ask(&server, "GET", "/readyz", who, "").status, 200, "balancers have no token");
    }
    for who in [bearer(READ), basic("ann", READ)] {
        for path in TO_LOOK {
            let status = ask(&server, "GET", path, &who, "").status;
            assert!(matches!(status, 200 | 404 | 405), "{path}: {status}");
        }
        for (method, path, body) in TO_CHANGE {
            is_refused(&ask(&server, method, path, &who, body), 403);
        }
    }
    assert_eq!((get(&server, "/changes"), &get(&server, "/stages/route")["workers"]), (json!([]), &json!(1)));
    for who in [bearer(WRITE), basic("ann", WRITE)] {
        for path in TO_LOOK {
            let status = ask(&server, "GET", path, &who, "").status;
            assert!(matches!(status, 200 | 404 | 405), "{path}: {status}");
        }
        for (method, path, body) in TO_CHANGE {
            let answer = ask(&server, method, path, &who, body);
            let wanted = matches!(answer.status, 200 | 404 | 405 | 409);
            assert!(wanted, "{method} {path}: {answer:?}");
        }
    }
    assert_eq!(get(&server, "/stages/route")["workers"], 2);
    // Two tokens at once are none: who stands between may have looked at the other.
    is_refused(&ask(&server, "GET", "/stages", &(bearer(WRITE) + &bearer(WRITE)), ""), 401);
}

#[test]
fn what_is_not_configured_lets_nobody_in() {
    let server = Server::with(tokens(true, false));
    for (method, path, body) in TO_CHANGE {
        is_refused(&ask(&server, method, path, &bearer(READ), body), 403);
        is_refused(&ask(&server, method, path, &bearer(WRITE), body), 401);
    }
    let said = ask(&server, "POST", "/undo", &bearer(READ), "").json()["error"].as_str().unwrap().to_owned();
    assert!(said.contains("has no write_token"), "{said}");
    assert_eq!(ask(&server, "GET", "/stages", &bearer(READ), "").status, 200);

    let server = Server::with(tokens(false, true));
    assert_eq!(ask(&server, "GET", "/stages", &bearer(WRITE), "").status, 200);
    is_refused(&ask(&server, "GET", "/stages", &bearer(READ), ""), 401);
    is_refused(&ask(&server, "GET", "/stages", "", ""), 401);
}

/// The beginning of what comes, until it holds this.
fn until(server: &Server, path: &str, headers: &str, wanted: &str) -> String {
    let mut stream = TcpStream::connect(server.admin()).unwrap();
    stream.set_read_timeout(Some(common::PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {}\r\n{headers}\r\n", server.admin()).unwrap();
    let mut heard = String::new();
    while !heard.contains(wanted) {
        let mut some = [0; 4096];
        let n = stream.read(&mut some).unwrap_or_else(|failed| panic!("no {wanted} in {heard}: {failed}"));
        assert_ne!(n, 0, "no {wanted} in {heard}");
        heard.push_str(&String::from_utf8_lossy(&some[..n]));
    }
    heard
}

#[test]
fn the_stream_of_seconds_wants_a_token() {
    let server = guarded();
    for who in ["", &bearer(WRONG), &basic("ann", WRONG)] {
        is_refused(&ask(&server, "GET", "/live", who, ""), 401);
    }
    for who in [bearer(READ), basic("", READ), bearer(WRITE), basic("ann", WRITE)] {
        let heard = until(&server, "/live", &who, "data: {");
        assert!(heard.starts_with("HTTP/1.1 200") && heard.contains("text/event-stream"), "{heard}");
    }
}

/// A browser sends the password that it was told once with whatever any page wants from here.
#[test]
fn a_page_of_elsewhere_does_not_use_what_the_browser_was_told() {
    let server = guarded();
    let who = basic("ann", WRITE);
    let own = format!("Origin: http://{}\r\nSec-Fetch-Site: same-origin\r\n", server.admin());
    let body = r#"{"workers":2}"#;
    for from in [
        "Origin: http://evil.example\r\n".to_owned(),
        "Origin: null\r\n".to_owned(),
        "Sec-Fetch-Site: cross-site\r\n".to_owned(),
        "Sec-Fetch-Site: same-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n".to_owned(),
        own.replace("same-origin", "cross-site"),
    ] {
        let answer = ask(&server, "PATCH", "/stages/route", &format!("{who}{from}"), body);
        assert_eq!(answer.status, 403, "{from}: {answer:?}");
        // Not even a question for a password: the person would think that this server asks.
        let stranger = ask(&server, "POST", "/undo", &from, "");
        assert_eq!((stranger.status, stranger.header("www-authenticate")), (403, None), "{from}");
    }
    assert_eq!(get(&server, "/changes"), json!([]));
    assert_eq!(ask(&server, "PATCH", "/stages/route", &format!("{who}{own}"), body).status, 200);
    let page = ask(&server, "GET", "/", &who, "");
    assert_eq!(
        page.header("content-security-policy"),
        Some("frame-ancestors 'none'"),
        "a click in a frame is a change"
    );
}

#[test]
fn every_change_is_logged_with_who_made_it() {
    let server = guarded();
    let who = basic("ann", WRITE) + "Tidegate-By: a test\r\n";
    let change = |method: &str, path: &str, body: &str| {
        let answer = ask(&server, method, path, &who, body);
        assert_eq!(answer.status, 200, "{method} {path}: {answer:?}");
    };
    change("PATCH", "/stages/route", r#"{"workers":2}"#);
    change("PATCH", "/pools/persist", r#"{"workers":3}"#);
    change("POST", "/undo", "");
    change("POST", "/record?seconds=0.1", "");
    change("POST", "/config/save", "");
    let text = fs::read_to_string(server.config()).unwrap();
    fs::write(server.config(), text.replace("[stages.read]", "[stages.read]\nwindow = 17")).unwrap();
    change("POST", "/config/reload", "");
    let by = "by ann, a test from 127.0.0.1:";
    for line in ["change 1 ", "change 2 ", "change 3 ", "change 4 ", "recording for 0.1 s began, ", "was saved into "] {
        eventually(line, || server.said().lines().any(|said| said.contains(line) && said.contains(by)).then_some(()));
    }
    assert_eq!(get(&server, "/changes")[3]["changes"][0]["key"], "stages.read.window");
    for change in get(&server, "/changes").as_array().unwrap() {
        assert!(change["by"].as_str().unwrap().starts_with("ann, a test from 127.0.0.1:"), "{change}");
    }
}

#[test]
fn failed_attempts_are_logged_and_do_not_fill_the_log() {
    let server = guarded();
    let begin = Instant::now();
    for n in 0..100 {
        is_refused(&ask(&server, "GET", "/stages", &bearer(&format!("{WRONG}-{n}")), ""), 401);
    }
    is_refused(&ask(&server, "POST", "/undo", &bearer(READ), ""), 403);
    let most = begin.elapsed().as_secs() as usize + 1;
    let said = server.said();
    let lines: Vec<_> = said.lines().filter(|line| line.contains("was refused")).collect();
    assert!(!lines.is_empty() && lines.len() <= most, "{lines:?}");
    assert!(lines[0].contains("WARN") && lines[0].contains("admin: 127.0.0.1:"), "{lines:?}");
    assert!(!said.contains(WRONG), "{said}");
    // The rest was counted.
    let counted = eventually("a count", || {
        ask(&server, "GET", "/stages", &bearer(WRONG), "");
        let said = server.said();
        said.lines().any(|line| line.contains("more since the last word")).then_some(said)
    });
    assert!(!counted.contains(WRONG));
}

#[test]
fn no_token_shows_anywhere() {
    let first = "TIDEGATE_LOG=trace; export TIDEGATE_LOG";
    let server = Server::launch(Setup { tables: tokens(true, true), first, ..Setup::default() });
    let mut shown = String::new();
    let mut see = |method: &str, path: &str, headers: &str, body: &str| {
        let answer = ask(&server, method, path, headers, body);
        shown.push_str(&format!("{}\n{}\n", answer.head, answer.body));
    };
    for who in
        [bearer(READ), basic("ann", READ), bearer(WRITE), basic("ann", WRITE), bearer(WRONG), basic("ann", WRONG)]
    {
        for path in TO_LOOK {
            see("GET", path, &who, "");
        }
        for (method, path, body) in TO_CHANGE {
            see(method, path, &who, body);
        }
    }
    // What changes in the file is said with stars; it takes a restart.
    let text = fs::read_to_string(server.config()).unwrap();
    fs::write(server.config(), text.replace(WRITE, "may-change-all-of-it")).unwrap();
    see("POST", "/config/reload", &bearer(WRITE), "");
    signal(server.pid(), "HUP");
    eventually("a word of the signal", || server.said().contains("SIGHUP: nothing was changed").then_some(()));
    let said = server.said();
    assert!(said.contains("admin.write_token") && said.contains("at the next start"), "{said}");
    assert_eq!(ask(&server, "GET", "/stages", &bearer(WRITE), "").status, 200, "the old one holds until then");
    let check = tidegate().arg("check").arg(server.config()).output().unwrap();
    shown.push_str(&format!("{said}{}", String::from_utf8_lossy(&check.stderr)));
    for token in [READ, WRITE, WRONG, "may-change-all-of-it"] {
        let encoded = STANDARD.encode(format!("ann:{token}"));
        for secret in [token, encoded.as_str()] {
            let at = shown.find(secret);
            assert_eq!(at, None, "{secret}: {}", &shown[at.unwrap_or(0).saturating_sub(200)..]);
        }
    }
    // What is shown with stars is a good file all the same.
    fs::write(server.config(), ask(&server, "GET", "/config", &bearer(READ), "").body).unwrap();
    let check = tidegate().arg("check").arg(server.config()).output().unwrap();
    assert!(check.status.success(), "{check:?}");
}

#[test]
fn others_reach_it_with_a_token_and_without_there_is_no_server() {
    let mut server = guarded();
    let text = fs::read_to_string(server.config()).unwrap();
    let open = text
        .replace(&format!("admin = \"{}\"", server.admin()), &format!("admin = \"0.0.0.0:{}\"", server.admin().port()));
    assert_ne!(open, text);
    fs::write(server.config(), &open).unwrap();
    server.restart();
    assert!(server.said().contains("its tokens can be read on their way"), "{}", server.said());
    is_refused(&ask(&server, "GET", "/stages", "", ""), 401);
    // By any name: who reaches it under one has no token of that name's.
    let mut stream = TcpStream::connect(server.admin()).unwrap();
    write!(stream, "GET /stages HTTP/1.1\r\nHost: chat.internal\r\nConnection: close\r\n{}\r\n", bearer(READ)).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

    server.kill9();
    fs::write(server.config(), open.split("[admin]").next().unwrap()).unwrap();
    let refused =
        tidegate().args(["run", "--config"]).arg(server.config()).arg("--data").arg(server.data()).output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(refused.status.code() == Some(1) && said.contains("open beyond this machine"), "{said}");
}

fn command(server: &Server, token: Option<&str>, arguments: &[&str]) -> Output {
    let mut program = tidegate();
    program.args(arguments).args(["--admin", &server.admin().to_string()]).env("USER", "ann");
    if let Some(token) = token {
        program.env("TIDEGATE_ADMIN_TOKEN", token);
    }
    program.output().unwrap()
}

#[test]
fn commands_have_a_token_from_the_environment_or_by_flag() {
    let server = guarded();
    let error = |output: &Output| {
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        String::from_utf8(output.stderr.clone()).unwrap()
    };
    let out = std::env::temp_dir().join(format!("tidegate-access-{}.json", std::process::id()));
    let out = out.to_str().unwrap();
    let looking: [&[&str]; 4] = [&["top", "--once", "--json"], &["tune"], &["tune", "--changes"], &["alerts"]];
    let changing: [&[&str]; 6] = [
        &["tune", "route", "workers=2"],
        &["tune", "route", "workers=3", "--dry-run"],
        &["tune", "--save"],
        &["record", "--for", "100ms", "--out", out, "--force"],
        &["alerts", "--silence", "1m"],
        &["alerts", "--end-silence"],
    ];
    eventually("the first second", || command(&server, Some(READ), looking[0]).status.success().then_some(()));
    for arguments in looking.iter().chain(&changing) {
        let said = error(&command(&server, None, arguments));
        assert!(said.contains("wants a token") && said.contains("TIDEGATE_ADMIN_TOKEN"), "{said}");
        assert_eq!(error(&command(&server, Some(""), arguments)), said, "set to nothing");
        let said = error(&command(&server, Some(WRONG), arguments));
        assert!(said.contains("does not know this token") && !said.contains(WRONG), "{said}");
    }
    for arguments in looking {
        assert!(command(&server, Some(READ), arguments).status.success(), "{arguments:?}");
    }
    for arguments in changing {
        let said = error(&command(&server, Some(READ), arguments));
        assert!(said.contains("write_token") && !said.contains(READ), "{said}");
    }
    for arguments in changing {
        let done = command(&server, Some(&format!("{WRITE}\n")), arguments);
        assert!(done.status.success(), "{arguments:?}: {done:?}");
    }
    let flag = command(&server, Some(WRONG), &["tune", "--token", WRITE]);
    assert!(flag.status.success(), "the flag comes first: {flag:?}");
    let help = String::from_utf8(
        tidegate().args(["tune", "--help"]).env("TIDEGATE_ADMIN_TOKEN", WRITE).output().unwrap().stdout,
    )
    .unwrap();
    assert!(help.contains("list of processes") && !help.contains(WRITE), "{help}");
    let by = get(&server, "/changes")[0]["by"].as_str().unwrap().to_owned();
    assert!(by.starts_with("ann, tidegate tune, from 127.0.0.1:"), "{by}");
    fs::remove_file(out).unwrap();
}
