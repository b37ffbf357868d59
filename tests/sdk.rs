//! LeanCloud's published JavaScript SDKs, unmodified, told only the server's address: 5.0.0-rc.8 plain and over TLS,
//! 4.3.1 over TLS, and the base64 mode of both. The programs are in `tests/sdk`.

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use common::{Server, app};

const INSTALL: &str =
    "These tests need Node.js 18 or later, with npm: https://nodejs.org, or on Debian: apt-get install nodejs npm";

/// How a program gets to the server.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    /// 5.0.0-rc.8 over plain HTTP.
    Rt5Plain,
    Rt5Tls,
    Rt5Base64,
    /// 4.3.1, which insists on TLS.
    Rt4Tls,
    Rt4Base64,
}

impl Way {
    fn arguments(self, server: &Server) -> Vec<String> {
        let at = server.http();
        let (version, server, base64) = match self {
            Way::Rt5Plain => ("rt5", format!("http://{at}"), false),
            Way::Rt5Tls => ("rt5", format!("https://{at}"), false),
            Way::Rt5Base64 => ("rt5", format!("http://{at}"), true),
            Way::Rt4Tls => ("rt4", at.to_string(), false),
            Way::Rt4Base64 => ("rt4", at.to_string(), true),
        };
        let flags = base64.then(|| "--base64".to_owned());
        [version.to_owned(), server].into_iter().chain(flags).collect()
    }
}

/// The folder with `node_modules`: beside the build, so that the checkout stays clean, and kept between runs.
fn modules() -> &'static PathBuf {
    static INSTALLED: OnceLock<PathBuf> = OnceLock::new();
    INSTALLED.get_or_init(|| {
        let node = Command::new("node").arg("--version").output();
        assert!(node.is_ok_and(|node| node.status.success()), "there is no `node` here. {INSTALL}");
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("sdk");
        let wanted = fs::read_to_string(source().join("package-lock.json")).unwrap();
        let done = folder.join("installed");
        if fs::read_to_string(&done).is_ok_and(|installed| installed == wanted) {
            return folder.join("node_modules");
        }
        fs::create_dir_all(&folder).unwrap();
        for file in ["package.json", "package-lock.json", ".npmrc"] {
            fs::copy(source().join(file), folder.join(file)).unwrap();
        }
        eprintln!("installing the SDKs from npm, once");
        let npm = Command::new("npm").arg("ci").current_dir(&folder).output();
        let npm = npm.unwrap_or_else(|failed| panic!("there is no `npm` here ({failed}). {INSTALL}"));
        assert!(npm.status.success(), "npm ci failed:\n{}", String::from_utf8_lossy(&npm.stderr));
        fs::write(done, wanted).unwrap();
        folder.join("node_modules")
    })
}

fn source() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/sdk")
}

/// A server with the development app and one that requires signatures.
fn server() -> Server {
    let need = r#"signature = { login = "required", start = "required", add = "required", remove = "required" }"#;
    let development = "[[app]]\nid = \"tidegate-dev\"\nkey = \"development-only-app-key\"\n\
                       master_key = \"development-only-master-key\"\n";
    Server::with(format!("{development}\n{}", app("signed-app", need)))
}

/// Runs a program to its end; what it asks for on the way is done.
fn run(program: &str, way: Way, server: &mut Server) {
    let mut node = Command::new("node")
        .arg(source().join(program))
        .args(way.arguments(server))
        .env("NODE_PATH", modules())
        .env("NODE_EXTRA_CA_CERTS", server.authority())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut answers = node.stdin.take().unwrap();
    let errors = BufReader::new(node.stderr.take().unwrap());
    let errors = std::thread::spawn(move || errors.lines().map_while(Result::ok).collect::<Vec<_>>().join("\n"));
    let mut said = String::new();
    for line in BufReader::new(node.stdout.take().unwrap()).lines().map_while(Result::ok) {
        if line == "please: restart" {
            server.restart();
            writeln!(answers, "done").unwrap();
        }
        said.push_str(&line);
        said.push('\n');
    }
    let status = node.wait().unwrap();
    let errors = errors.join().unwrap();
    assert!(status.success(), "{program} {way:?} failed.\n{said}{errors}");
}

#[test]
fn two_talk_with_5_plain() {
    run("talk.js", Way::Rt5Plain, &mut server());
}

#[test]
fn two_talk_with_5_over_tls() {
    run("talk.js", Way::Rt5Tls, &mut server());
}

#[test]
fn two_talk_with_5_in_base64() {
    run("talk.js", Way::Rt5Base64, &mut server());
}

#[test]
fn two_talk_with_4_over_tls() {
    run("talk.js", Way::Rt4Tls, &mut server());
}

#[test]
fn two_talk_with_4_in_base64() {
    run("talk.js", Way::Rt4Base64, &mut server());
}

#[test]
fn conversations_with_5() {
    run("conversations.js", Way::Rt5Plain, &mut server());
}

#[test]
fn conversations_with_4() {
    run("conversations.js", Way::Rt4Tls, &mut server());
}

#[test]
fn sessions_with_5_over_a_restart() {
    run("sessions.js", Way::Rt5Plain, &mut server());
}

#[test]
fn sessions_with_4_over_a_restart() {
    run("sessions.js", Way::Rt4Tls, &mut server());
}
