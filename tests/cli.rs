//! What can be typed: every command, its exit code, and the words of a refusal.

mod common;

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use common::server::free_port;
use common::{Client, PATIENCE, Server, app, tidegate};
use tempfile::TempDir;

const DEFAULT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/pipeline.toml");

fn run(arguments: &[&str]) -> Output {
    run_in(Path::new("."), arguments)
}

/// Runs it to its end, which has to come by itself.
fn run_in(folder: &Path, arguments: &[&str]) -> Output {
    let mut program = tidegate();
    program.args(arguments).current_dir(folder).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = program.spawn().unwrap();
    let end = Instant::now() + PATIENCE;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > end {
            child.kill().unwrap();
            panic!("{arguments:?} goes on: {:?}", child.wait_with_output());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or_else(|| panic!("it was killed: {output:?}"))
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A file with these tables in a folder of its own.
fn file(text: &str) -> (TempDir, String) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("pipeline.toml");
    fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (folder, path)
}

fn listen(http: &str) -> String {
    let (tcp, admin) = (free_port(), free_port());
    format!("[listen]\nhttp = \"{http}\"\ntcp = \"127.0.0.1:{tcp}\"\nadmin = \"127.0.0.1:{admin}\"\n")
}

#[test]
fn help_and_version_are_answers() {
    let help = run(&["--help"]);
    assert_eq!((code(&help), err(&help).as_str()), (0, ""));
    for command in ["run", "check", "doctor", "graph", "app", "bench"] {
        assert!(out(&help).contains(command), "{}", out(&help));
        assert_eq!(code(&run(&[command, "--help"])), 0);
    }
    let version = run(&["--version"]);
    assert_eq!((code(&version), out(&version)), (0, format!("tidegate {}\n", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn what_is_not_understood_is_2() {
    let (_folder, good) = file("");
    for arguments in [
        &[][..],
        &["sail"],
        &["run", "--colour"],
        &["check", &good, "another"],
        &["graph", "--format", "gif"],
        &["app"],
        &["app", "old"],
        &["check", "/nowhere/pipeline.toml"],
        &["run", "--config", "/nowhere/pipeline.toml"],
        &["check", "--log", "loudly=please=now"],
    ] {
        let output = run(arguments);
        assert_eq!(code(&output), 2, "{arguments:?}: {output:?}");
        assert!(!err(&output).is_empty() && out(&output).is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_good_file_is_said_to_be_good() {
    for arguments in [&["check"][..], &["check", DEFAULT]] {
        let output = run(arguments);
        assert_eq!(code(&output), 0, "{output:?}");
        assert!(err(&output).contains("8 stages"), "{}", err(&output));
    }
}

#[test]
fn a_bad_file_is_explained_all_at_once() {
    let text = "[net]\nreactor = 2\n\n[stages.route]\nworkers = \"two\"\nbatch = 0\n";
    let (_folder, path) = file(text);
    let output = run(&["check", &path]);
    assert_eq!((code(&output), out(&output).as_str()), (1, ""));
    let said = err(&output);
    for place in ["pipeline.toml:2:1", "pipeline.toml:5:11", "pipeline.toml:6:9"] {
        assert!(said.contains(place), "{place} is not in\n{said}");
    }
    assert!(said.contains("reactors"), "it says what to write instead:\n{said}");
    assert!(said.contains("^^^^^"), "it underlines:\n{said}");
    // Running it says the same, and starts nothing.
    let running = run(&["run", "--config", &path]);
    assert_eq!((code(&running), err(&running)), (1, said));
}

#[test]
fn a_pipeline_is_drawn() {
    let built_in = run(&["graph"]);
    assert_eq!(code(&built_in), 0);
    assert_eq!(out(&built_in), out(&run(&["graph", DEFAULT])), "the default is the repository's file");
    assert!(out(&built_in).lines().all(|line| line.chars().count() <= 80));
    for format in ["text", "dot", "svg"] {
        let drawn = run(&["graph", "--format", format]);
        for stage in ["decode", "authenticate", "route", "read", "persist", "fan_out", "hook", "push"] {
            assert!(out(&drawn).contains(stage), "{stage} is not in the {format}");
        }
    }
    assert!(out(&run(&["graph", "--format", "dot"])).starts_with("digraph"));
    assert!(out(&run(&["graph", "--format", "svg"])).starts_with("<svg"));
}

#[test]
fn a_new_app_has_keys_that_nobody_has_seen() {
    let (one, two) = (run(&["app", "new"]), run(&["app", "new"]));
    assert_eq!(code(&one), 0);
    assert_ne!(out(&one), out(&two));
    let (_folder, path) = file(&(out(&one) + "\n" + &out(&two)));
    let checked = run(&["check", &path]);
    assert!(code(&checked) == 0 && err(&checked).contains("2 apps"), "{checked:?}");
}

#[test]
fn the_development_keys_stay_on_this_machine() {
    let folder = TempDir::new().unwrap();
    for http in ["0.0.0.0", "[::]"] {
        let (_file, path) = file(&listen(&format!("{http}:{}", free_port())));
        let output = run_in(folder.path(), &["run", "--config", &path]);
        assert_eq!(code(&output), 1, "{output:?}");
        assert!(err(&output).contains("tidegate app new"), "{}", err(&output));
    }
    assert!(!folder.path().join("data").exists(), "nothing was made");
    // With keys of its own it may, whatever may listen there.
    let (_file, path) = file(&format!("{}\n{}", listen(&format!("0.0.0.0:{}", free_port())), app("own-app-1", "")));
    assert_eq!(code(&run(&["check", &path])), 0);
}

#[test]
fn the_admin_side_stays_on_this_machine() {
    let text = format!("[listen]\nadmin = \"0.0.0.0:{}\"\n{}", free_port(), app("own-app-1", ""));
    let (_folder, path) = file(&text);
    let output = run(&["check", &path]);
    assert!(code(&output) == 1 && err(&output).contains("write `admin = \"127.0.0.1:"), "{output:?}");
}

#[test]
fn a_folder_of_others_is_left_as_it_is() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("letter.txt"), "dear").unwrap();
    let (_file, path) = file(&listen(&format!("127.0.0.1:{}", free_port())));
    let output = run(&["run", "--config", &path, "--data", folder.path().to_str().unwrap()]);
    assert_eq!(code(&output), 1, "{output:?}");
    assert!(err(&output).contains("no data folder of Tidegate's"), "{}", err(&output));
    let files: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(files, ["letter.txt"]);
}

#[test]
fn a_folder_in_use_is_refused_and_its_user_not_disturbed() {
    let server = Server::start();
    let (_file, path) = file(&listen(&format!("127.0.0.1:{}", free_port())));
    let output = run(&["run", "--config", &path, "--data", server.data().to_str().unwrap()]);
    assert_eq!(code(&output), 1, "{output:?}");
    assert!(err(&output).contains("in use"), "{}", err(&output));
    Client::tcp(&server, "tom").start(&["jerry"]);
}

#[test]
fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (folder, path) = file(&listen(&address));
    let output = run_in(folder.path(), &["run", "--config", &path]);
    assert!(code(&output) == 1 && err(&output).contains(&address), "{output:?}");
}

#[test]
fn a_start_that_fails_leaves_the_store_closed() {
    let mut server = Server::start();
    server.term();
    assert!(server.ended(PATIENCE).success());
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let (busy, free) = (taken.local_addr().unwrap().to_string(), || format!("127.0.0.1:{}", free_port()));
    for [http, tcp, admin] in [[&busy, &free(), &free()], [&free(), &busy, &free()], [&free(), &free(), &busy]] {
        let tables = format!("[listen]\nhttp = \"{http}\"\ntcp = \"{tcp}\"\nadmin = \"{admin}\"\n");
        let (_file, path) = file(&tables);
        let output = run(&["run", "--config", &path, "--data", server.data().to_str().unwrap()]);
        assert!(code(&output) == 1 && err(&output).contains(&busy), "{output:?}");
    }
    server.restart();
    assert!(!server.said().contains("recovered"), "{}", server.said());
}

#[test]
fn a_log_may_be_for_machines() {
    let (folder, path) = file(&listen("127.0.0.1:0"));
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    fs::write(&path, listen(&taken.local_addr().unwrap().to_string())).unwrap();
    let output = run_in(folder.path(), &["--log", "debug", "--log-format", "json", "run", "--config", &path]);
    let lines: Vec<_> = err(&output).lines().filter(|line| line.starts_with('{')).map(str::to_owned).collect();
    assert!(!lines.is_empty(), "{}", err(&output));
    for line in lines {
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert!(line["level"].is_string() && !line.to_string().is_empty(), "{line}");
    }
}

#[test]
fn a_server_whose_log_is_for_machines_says_all_in_json() {
    use std::io::BufRead;
    let (folder, path) = file(&listen("127.0.0.1:0"));
    let mut program = tidegate();
    program.args(["--log-format", "json", "run", "--config", &path]).current_dir(folder.path());
    let mut child = program.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let lines = std::io::BufReader::new(child.stderr.take().unwrap()).lines();
    let read: Vec<serde_json::Value> = lines
        .map(|line| {
            let line = line.unwrap();
            serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
        })
        .take_while(|line: &serde_json::Value| !line["message"].as_str().unwrap().contains("JavaScript 5"))
        .collect();
    child.kill().unwrap();
    child.wait().unwrap();
    println!("{read:?}");
}

#[test]
fn a_certificate_that_cannot_be_used_is_shown_where_it_is_named() {
    let (folder, path) = file("[listen]\ntls = { cert = \"missing.pem\", key = \"empty.key\" }\n[net]\nreactors = 0\n");
    let check = || run_in(folder.path(), &["check", &path]);
    let said = err(&check());
    assert!(said.contains("2:16") && said.contains("^^^ there is no such file") && said.contains("2 errors"), "{said}");
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(folder.path().join("missing.pem"), own.cert.pem()).unwrap();
    fs::write(folder.path().join("empty.key"), "").unwrap();
    let said = err(&check());
    assert!(said.contains("2:37") && said.contains("there is no private key in it"), "{said}");
    let other = rcgen::KeyPair::generate().unwrap();
    fs::write(folder.path().join("empty.key"), other.serialize_pem()).unwrap();
    let output = check();
    assert_eq!(code(&output), 1);
    assert!(err(&output).contains("it is not the key of the certificate"), "{}", err(&output));
}

#[test]
fn a_data_folder_is_checked_byte_by_byte() {
    let mut server = Server::start();
    let mut tom = Client::tcp(&server, "tom");
    let cid = tom.start(&["jerry"]);
    for n in 0..20 {
        tom.send(&cid, &format!("{n} {}", "x".repeat(200)));
    }
    let data = server.data().to_str().unwrap().to_owned();
    let used = run(&["check", "--data", &data]);
    assert!(code(&used) == 1 && err(&used).contains("in use"), "{used:?}");
    server.kill9();
    let good = run(&["check", "--data", &data]);
    assert!(code(&good) == 0 && err(&good).contains("is good"), "{good:?}");

    let rocks = server.data().join("store/rocks");
    let logs = fs::read_dir(&rocks).unwrap().map(|entry| entry.unwrap().path());
    let log = logs.filter(|path| path.extension().is_some_and(|ext| ext == "log")).max().unwrap();
    let mut bytes = fs::read(&log).unwrap();
    bytes[1_000] ^= 1;
    fs::write(&log, bytes).unwrap();
    let damaged = run(&["check", "--data", &data]);
    assert_eq!(code(&damaged), 1);
    let words = err(&damaged);
    assert!(words.contains(log.to_str().unwrap()) && words.contains("Restore the folder from a backup"), "{words}");

    let none = run(&["check", "--data", "/nowhere"]);
    assert!(code(&none) == 1 && err(&none).contains("holds no store"), "{none:?}");
}
