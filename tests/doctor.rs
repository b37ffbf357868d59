//! `tidegate doctor` on this machine, whatever it is: what is wrong on purpose is found, and nothing is left behind.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Output, Stdio};

use common::server::{free_port, listing, signal};
use common::{Server, app, eventually, tidegate};
use serde_json::Value;
use tempfile::TempDir;

const PROBE: &str = "doctor.probe";

/// With these tables in a folder of its own, and an admin side where nobody answers.
struct Given {
    folder: TempDir,
    admin: String,
}

impl Given {
    fn new(tables: &str) -> Given {
        let given = Given { folder: TempDir::new().unwrap(), admin: format!("http://127.0.0.1:{}", free_port()) };
        given.write("pipeline.toml", tables, 0o600);
        given
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn write(&self, name: &str, text: &str, mode: u32) {
        fs::write(self.path(name), text).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    fn start(&self, data: &str, more: &[&str]) -> Child {
        let mut program = tidegate();
        program.args(["doctor", "--config", &self.path("pipeline.toml"), "--data", &self.path(data)]);
        program.args(["--admin", &self.admin]).args(more).current_dir(self.folder.path());
        program.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    fn text(&self, data: &str) -> Output {
        self.start(data, &[]).wait_with_output().unwrap()
    }

    fn examine(&self, data: &str) -> Examined {
        let output = self.start(data, &["--json"]).wait_with_output().unwrap();
        let page = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
        Examined { page, code: output.status.code() }
    }
}

struct Examined {
    page: Value,
    code: Option<i32>,
}

impl Examined {
    fn of(&self, check: &str) -> Vec<&Value> {
        self.page["findings"].as_array().unwrap().iter().filter(|finding| finding["check"] == check).collect()
    }

    /// The only finding of a check.
    fn one(&self, check: &str) -> &Value {
        match self.of(check)[..] {
            [one] => one,
            _ => panic!("not one {check} in {:#}", self.page),
        }
    }
}

fn stages(of: &str, lines: &str) -> String {
    let names = ["decode", "authenticate", "route", "read", "persist", "fan_out", "hook", "push"];
    names.map(|name| format!("[stages.{name}]\n{}\n", if name == of { lines } else { "" })).concat()
}

#[test]
fn every_finding_has_its_words_and_a_problem_decides_the_exit_code() {
    let given = Given::new(&app("own-app-1", ""));
    let examined = given.examine("data");
    let findings = examined.page["findings"].as_array().unwrap();
    for section in ["machine", "disk", "clock", "config", "tls"] {
        assert!(
            findings.iter().any(|one| one["check"].as_str().unwrap().starts_with(section)),
            "{section} is not there"
        );
    }
    for finding in findings {
        let is_ok = finding["severity"] == "ok";
        assert!(["ok", "note", "warning", "problem"].contains(&finding["severity"].as_str().unwrap()), "{finding:#}");
        assert!(!finding["says"].as_str().unwrap().is_empty(), "{finding:#}");
        assert!(is_ok || !finding["why"].as_str().unwrap().is_empty(), "why it matters: {finding:#}");
        assert!(is_ok || !finding["todo"].as_str().unwrap().is_empty(), "what to do: {finding:#}");
    }
    // This machine may have a problem of its own.
    let problems = findings.iter().filter(|finding| finding["severity"] == "problem").count() as u64;
    assert_eq!(examined.page["problems"].as_u64(), Some(problems));
    assert_eq!(examined.code, Some(i32::from(problems > 0)));
}

#[test]
fn the_page_for_people_is_80_columns_wide() {
    let given = Given::new(&app("own-app-1", ""));
    let said = String::from_utf8(given.text("data").stdout).unwrap();
    for section in ["machine", "disk", "clock", "config", "tls"] {
        assert!(said.lines().any(|line| line == section), "{section} is not in\n{said}");
    }
    // A path and a command stay whole.
    let breakable = |line: &&str| !line.contains('/') && !line.starts_with("              ");
    let long = said.lines().filter(breakable).find(|line| line.chars().count() > 80);
    assert_eq!(long, None, "{said}");
    assert!(!said.contains('\x1b'), "no colours into a pipe");
    let last = said.lines().last().unwrap();
    assert!(last.contains("problem") && last.ends_with(" ok"), "{last}");
}

/// An expired certificate in `cert.pem`, its key in `key.pem`.
fn expired(given: &Given, mode: u32) {
    let mut wanted = rcgen::CertificateParams::new(vec!["chat.example.com".to_owned()]).unwrap();
    (wanted.not_before, wanted.not_after) = (rcgen::date_time_ymd(2020, 1, 1), rcgen::date_time_ymd(2020, 2, 1));
    let key = rcgen::KeyPair::generate().unwrap();
    given.write("cert.pem", &wanted.self_signed(&key).unwrap().pem(), 0o644);
    given.write("key.pem", &key.serialize_pem(), mode);
}

#[test]
fn an_expired_certificate_and_an_open_key_are_problems() {
    let given =
        Given::new(&format!("[listen]\ntls = {{ cert = \"cert.pem\", key = \"key.pem\" }}\n{}", app("own-app-1", "")));
    expired(&given, 0o644);
    let examined = given.examine("data");
    assert_eq!(examined.code, Some(1));
    let certificate = examined.one("tls.certificate");
    assert_eq!(certificate["severity"], "problem", "{certificate:#}");
    assert!(certificate["says"].as_str().unwrap().contains("expired on 2020-02-01"), "{certificate:#}");
    assert!(certificate["numbers"]["days_left"].as_i64().unwrap() < -2_000, "{certificate:#}");
    let secrets = |examined: &Examined| {
        let of = |one: &&Value| (one["numbers"]["file"].as_str().unwrap().to_owned(), one["severity"].clone());
        examined
            .of("tls.secret_file")
            .iter()
            .map(of)
            .map(|(file, how)| (file.rsplit('/').next().unwrap().to_owned(), how))
            .collect::<Vec<_>>()
    };
    let (key, file) = ("key.pem".to_owned(), "pipeline.toml".to_owned());
    assert_eq!(secrets(&examined), [(key.clone(), "problem".into()), (file.clone(), "ok".into())]);
    fs::set_permissions(given.path("key.pem"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(given.path("pipeline.toml"), fs::Permissions::from_mode(0o640)).unwrap();
    assert_eq!(secrets(&given.examine("data")), [(key, "ok".into()), (file, "warning".into())]);
}

#[test]
fn a_pool_larger_than_the_cores_is_found() {
    let with = |lines: &str| Given::new(&stages("route", lines)).examine("data").one("config.pool_size").clone();
    let cores = with("workers = 1")["numbers"]["cores"].as_u64().unwrap();
    assert_eq!(with(&format!("workers = {cores}"))["severity"], "ok");
    let large = with(&format!("workers = {}", cores + 1));
    assert_eq!(large["severity"], "warning", "{large:#}");
    assert_eq!(large["commands"][0], format!("tidegate tune route workers={cores}"));
    // What waits for the disk may have more.
    let waits = Given::new(&stages("persist", &format!("workers = {}", cores + 1))).examine("data");
    assert_eq!(waits.one("config.pool_size")["severity"], "ok");
}

#[test]
fn what_the_configuration_promises_is_said() {
    let given = Given::new("[store]\nsync = \"off\"\n");
    let examined = given.examine("data");
    assert_eq!(examined.one("config.sync")["severity"], "warning");
    assert_eq!(examined.one("config.development_keys")["severity"], "note");
    let open = Given::new(&format!("[listen]\nhttp = \"0.0.0.0:7700\"\n{}", app("own-app-1", "")));
    assert_eq!(open.examine("data").one("config.clear_text")["severity"], "warning");
    // What the server would refuse is refused in its words.
    let refused = Given::new("[listen]\nhttp = \"0.0.0.0:7700\"\n").text("data");
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("tidegate app new"), "{refused:?}");
}

#[test]
fn a_data_folder_that_cannot_be_written_is_a_problem() {
    let given = Given::new("");
    given.write("file", "somebody's", 0o600);
    let examined = given.examine("file/data");
    assert_eq!(examined.code, Some(1));
    let sync = examined.one("disk.sync");
    assert!(sync["severity"] == "problem" && sync["says"].as_str().unwrap().contains("cannot be written"), "{sync:#}");
    // So is one of somebody else's, which the server would not take either.
    fs::create_dir(given.path("letters")).unwrap();
    given.write("letters/one.txt", "dear", 0o600);
    let sync = given.examine("letters").one("disk.sync").clone();
    assert!(sync["severity"] == "problem" && sync["says"].as_str().unwrap().contains("one.txt"), "{sync:#}");
    assert_eq!(fs::read_to_string(given.path("file")).unwrap(), "somebody's");
}

#[test]
fn the_disk_is_measured_and_nothing_is_left() {
    let given = Given::new("");
    let sync = given.examine("data").one("disk.sync").clone();
    let number = |name: &str| sync["numbers"][name].as_f64().unwrap();
    assert!(
        number("syncs") >= 50.0 && number("median_ms") > 0.0 && number("p99_ms") >= number("median_ms"),
        "{sync:#}"
    );
    // 64 messages in a sync, and what a second holds of syncs.
    let bound = 64.0 / (number("mean_ms") / 1e3);
    assert!((number("durable_messages_per_second") - bound).abs() <= 1.0, "{sync:#}");
    assert_eq!(names(given.folder.path()), ["pipeline.toml"], "neither a data folder nor a file");
}

#[test]
fn nothing_is_left_when_it_is_broken_off() {
    let given = Given::new("");
    fs::create_dir(given.path("data")).unwrap();
    for name in ["INT", "TERM", "HUP"] {
        let mut child = given.start("data", &[]);
        eventually("the probe's file, or the end", || {
            let written = Path::new(&given.path("data")).join(PROBE).exists();
            (written || child.try_wait().unwrap().is_some()).then_some(())
        });
        if child.try_wait().unwrap().is_none() {
            signal(child.id(), name);
        }
        let output = child.wait_with_output().unwrap();
        assert!(output.status.code().is_some(), "it cleans up before it ends: {output:?}");
        assert!(names(Path::new(&given.path("data"))).is_empty(), "{name}");
    }
    // What a killed one has left is taken away, and holds no start up.
    given.write(&format!("data/{PROBE}"), "left", 0o600);
    given.examine("data");
    assert!(names(Path::new(&given.path("data"))).is_empty());
}

fn names(folder: &Path) -> Vec<String> {
    listing(folder).into_iter().map(|(path, _)| path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
}

#[test]
fn a_running_server_tells_what_its_stages_can_do() {
    // One message a sync: persist has enough to do whatever the disk is.
    let server = Server::with(stages("persist", "batch = 1\ndelay_target = \"1ms\""));
    let given = Given::new("");
    let alone = given.examine("data");
    let says = |examined: &Examined| examined.one("config.queue_time")["says"].as_str().unwrap().to_owned();
    assert!(says(&alone).contains("no rates") && says(&alone).contains(&given.admin), "{}", says(&alone));
    let given = Given { admin: format!("http://{}", server.admin()), ..given };
    assert!(says(&given.examine("data")).contains("8 stages at"));
    let mut bench = tidegate();
    bench.args(["bench", "pairs", "--no-floor", "--seconds", "60", "--server", &server.tcp().to_string()]);
    let mut load = bench.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let queue = eventually("persist under load", || {
        let examined = given.examine("data");
        let found = examined.of("config.queue_time").into_iter().find(|one| one["numbers"]["stage"] == "persist");
        found.cloned()
    });
    load.kill().unwrap();
    load.wait().unwrap();
    // 8,192 of them, of which the disk takes less than eight million a second.
    let numbers = &queue["numbers"];
    let takes = 8_192.0 / numbers["events_per_second"].as_f64().unwrap() * 1e3;
    assert!((numbers["full_queue_ms"].as_f64().unwrap() / takes - 1.0).abs() < 0.01, "{queue:#}");
    assert!(["note", "warning"].contains(&queue["severity"].as_str().unwrap()), "{queue:#}");
    assert!(queue["commands"][0].as_str().unwrap().starts_with("tidegate tune persist bound="), "{queue:#}");
}
