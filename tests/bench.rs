//! `tidegate bench`: each scenario at a small size against the real server, and what it says of a bad one.

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::{PATIENCE, Server, patient, tidegate};
use prost::Message;
use serde_json::Value;
use tempfile::TempDir;
use tidegate_protocol::wire::{
    AckCommand, CommandType, ConvCommand, DirectCommand, GenericCommand, OpType, SessionCommand,
};

/// Runs a scenario to its end, which has to come by itself.
fn bench(arguments: &[&str]) -> Output {
    let mut program = tidegate();
    program.arg("bench").args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = program.spawn().unwrap();
    let (begin, output) = (Instant::now(), child.wait_with_output().unwrap());
    assert!(begin.elapsed() < PATIENCE * 3, "{arguments:?} took {:?}", begin.elapsed());
    output
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Against this address, briefly; the JSON, after the run was found good.
fn good(address: SocketAddr, arguments: &str) -> Value {
    let address = address.to_string();
    let mut all: Vec<&str> = arguments.split_whitespace().collect();
    all.extend(["--server", &address, "--json", "-"]);
    let output = bench(&all);
    assert_eq!(output.status.code(), Some(0), "{arguments}: {}", said(&output));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said(&output)));
    for wrong in ["lost", "repeated", "out_of_order"] {
        assert_eq!(json["checked"][wrong], 0, "{json}");
    }
    json
}

fn figure(json: &Value, name: &str) -> f64 {
    json["figures"][name]["value"].as_f64().unwrap_or_else(|| panic!("no {name} in {json}"))
}

fn server() -> Server {
    Server::with(patient())
}

const BRIEF: &str = "--seconds 1 --warm 0 --no-floor";

#[test]
fn pairs_over_every_transport() {
    let server = server();
    let ca = server.authority();
    for (transport, address) in
        [("tcp", server.tcp()), ("ws", server.http()), ("tls", server.tcp()), ("wss", server.http())]
    {
        let trust =
            if transport.len() == 3 && transport != "tcp" { format!("--ca {}", ca.display()) } else { String::new() };
        let run = format!("pairs --pairs 4 --outstanding 4 --transport {transport} {trust} {BRIEF}");
        let json = good(address, &run);
        assert!(figure(&json, "acknowledged") > 0.0 && figure(&json, "delivered") > 0.0, "{json}");
        assert!(json["latency_ms"]["delivery"]["p99"].as_f64().unwrap() > 0.0, "{json}");
    }
    good(server.tcp(), &format!("pairs --pairs 2 --transport tls --insecure {BRIEF}"));
}

/// Half of them only listen, which the server takes for being gone after a while.
#[test]
fn connections_that_say_nothing_send_heartbeats() {
    let server = Server::with("[net]\nidle_timeout = \"2s\"\n".to_owned() + &patient());
    let run = "pairs --pairs 2 --rate 20 --seconds 4 --warm 0 --no-floor";
    good(server.tcp(), &format!("{run} --heartbeat 1"));
    let (address, mut silent) = (server.tcp().to_string(), vec!["--server"]);
    silent.push(&address);
    silent.extend(run.split(' ').skip(1));
    let output = bench(&[&["pairs"], &silent[..]].concat());
    assert!(said(&output).contains("connections ended by themselves"), "{}", said(&output));
}

#[test]
fn a_server_that_nobody_vouches_for_is_not_trusted() {
    let server = server();
    let address = server.tcp().to_string();
    let other = TempDir::new().unwrap();
    let ca = other.path().join("ca.pem");
    let stranger = Server::start();
    fs::copy(stranger.authority(), &ca).unwrap();
    let output =
        bench(&["pairs", "--transport", "tls", "--ca", ca.to_str().unwrap(), "--server", &address, "--no-floor"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("certificate"), "{}", said(&output));
}

#[test]
fn an_open_loop_offers_its_rate_and_logs_every_second() {
    let server = server();
    let folder = TempDir::new().unwrap();
    let hlog = folder.path().join("pairs.hlog");
    let json = good(server.tcp(), &format!("pairs --pairs 5 --rate 200 --transient --hlog {} {BRIEF}", hlog.display()));
    assert_eq!(json["latency_ms"]["acknowledgement"]["count"], 200, "each message that was due is counted: {json}");
    let log = fs::read_to_string(hlog).unwrap();
    assert!(log.starts_with("#[Histogram log format version 1.3]"), "{log}");
    for tag in ["Tag=ack,", "Tag=delivery,"] {
        assert!(log.lines().any(|line| line.starts_with(tag) && line.contains(",HISTFAAA")), "{log}");
    }
}

#[test]
fn what_was_due_while_everything_stood_still_is_counted() {
    let server = server();
    for run in ["pairs --pairs 5 --transient", "history --conversations 2 --fill 30"] {
        let mut program = tidegate();
        let address = server.tcp().to_string();
        program.arg("bench").args(run.split_whitespace()).args(["--rate", "200", "--seconds", "3", "--warm", "0"]);
        program.args(["--no-floor", "--json", "-", "--server", &address]);
        program.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = program.spawn().unwrap();
        // It says something each second: the load is on its way, and ends while the generator stands still.
        let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
        let word = if run.starts_with("pairs") { "acknowledged" } else { "pages read" };
        said.find(|line| line.as_ref().unwrap().contains(word)).unwrap().unwrap();
        let signal = |name: &str| {
            let kill = std::process::Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
            assert!(kill.success());
        };
        signal("-STOP");
        std::thread::sleep(Duration::from_secs(2));
        signal("-CONT");
        said.for_each(drop);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let json: Value = serde_json::from_slice(&output.stdout).unwrap();
        let series = if run.starts_with("pairs") { "acknowledgement" } else { "page" };
        assert_eq!(json["latency_ms"][series]["count"], 600, "{json}");
        let late = json["latency_ms"][series]["max"].as_f64().unwrap();
        assert!(late > 1000.0, "the stall counts against what was due in it: {json}");
    }
}

#[test]
fn results_stand_beside_the_floor() {
    let server = server();
    let json = good(server.tcp(), "pairs --pairs 2 --seconds 1 --warm 0");
    assert!(json["floors"]["append_fdatasync_4_kib"]["value"].as_f64().unwrap() > 0.0, "{json}");
    assert!(json["ratios"][0]["ratio"].as_f64().unwrap() > 0.0, "{json}");
    let rooms = good(server.tcp(), "rooms --members 20 --rate 20 --seconds 1 --warm 0");
    assert!(rooms["floors"]["bare_fan_out_to_20_sockets_a_send_each"]["value"].as_f64().unwrap() > 0.0, "{rooms}");
}

#[test]
fn groups_and_rooms_reach_everybody() {
    let server = server();
    let json = good(server.tcp(), &format!("groups --groups 2 --members 6 --senders 2 --rate 40 {BRIEF}"));
    assert_eq!(json["latency_ms"]["delivery"]["count"], 40 * 5, "{json}");
    let json = good(server.tcp(), &format!("rooms --rooms 2 --members 30 --rate 20 {BRIEF}"));
    assert_eq!(json["latency_ms"]["delivery"]["count"], 20 * 30, "{json}");
    let json = good(server.http(), &format!("rooms --members 40 --window 2 --transport ws --transient {BRIEF}"));
    assert!(figure(&json, "delivered") >= 40.0, "{json}");
    // On a busy machine a flood may be more than a member's outbox holds: then it is closed, and the run says so.
    let address = server.tcp().to_string();
    let flood = format!("rooms --members 10 --flood {BRIEF} --server {address}");
    let output = bench(&flood.split_whitespace().collect::<Vec<_>>());
    let closed = said(&output).contains("connections ended by themselves");
    assert!(output.status.success() || closed, "{}", said(&output));
}

#[test]
fn many_clients_share_a_connection() {
    let server = server();
    let json = good(server.tcp(), "idle --clients 500 --per-connection 100 --settle 1 --no-floor");
    assert!(figure(&json, "server_resident_with_them") > 0.0, "{json}");
    let each = figure(&json, "server_resident_a_client");
    assert_eq!((each * 100.0).round(), figure(&json, "server_resident_a_connection").round());
    let json = good(server.http(), &format!("rooms --members 60 --per-connection 20 --rate 10 --transport ws {BRIEF}"));
    assert_eq!(json["latency_ms"]["delivery"]["count"], 600, "{json}");
    good(server.tcp(), &format!("pairs --pairs 20 --per-connection 7 {BRIEF}"));
}

#[test]
fn more_clients_than_open_files_come_from_several_processes() {
    let server = server();
    let idle = |clients: u32| {
        // 64 files are kept for other things, so a process has 40 connections.
        let program = tidegate().get_program().to_owned();
        let address = server.tcp().to_string();
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", "ulimit -n 104 && exec \"$0\" \"$@\""]).arg(program);
        shell.args(["bench", "idle", "--settle", "1", "--no-floor", "--json", "-", "--server", &address]);
        shell.args(["--clients", &clients.to_string()]).stdin(Stdio::null()).output().unwrap()
    };
    let output = idle(100);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["settings"]["processes"], 3, "{json}");
    assert_eq!(json["latency_ms"]["log_in"]["count"], 100, "everybody is in: {json}");
    assert!(figure(&json, "server_resident_a_client") > 0.0, "{json}");
    // Past 32 processes it is the wrong way.
    let output = idle(40 * 32 + 1);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("--per-connection"), "{}", said(&output));
}

#[test]
fn what_stops_a_helper_process_is_said() {
    let server = Server::with(format!("[net]\nmax_connections = 60\n{}", patient()));
    let address = server.tcp().to_string();
    let program = tidegate().get_program().to_owned();
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "ulimit -n 114 && exec \"$0\" \"$@\""]).arg(program);
    shell.args(["bench", "idle", "--no-floor", "--clients", "110", "--server", &address]);
    let output = shell.stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let said = said(&output);
    assert!(said.contains("a helper process") && said.contains("clients were in"), "{said}");
}

#[test]
fn clients_storm_in_and_come_back() {
    let server = server();
    let json = good(server.http(), "logins --clients 200 --transport ws");
    assert_eq!(figure(&json, "logged_in"), 200.0);
    let json = good(server.tcp(), "logins --clients 100 --rate 200 --no-floor");
    assert_eq!(json["latency_ms"]["log_in"]["count"], 100, "{json}");
    let json = good(server.tcp(), "logins --clients 200 --reconnect --stay 10 --no-floor");
    assert_eq!(json["latency_ms"]["back_in_from_the_cut"]["count"], 200, "{json}");
    assert!(json["latency_ms"]["stayed_during_ack"].is_object(), "{json}");
}

#[test]
fn history_is_read_and_found_again() {
    let mut server = server();
    let name = "--name evening --conversations 3 --page 20";
    let json = good(server.tcp(), &format!("history {name} --fill 100 --rate 50 {BRIEF}"));
    assert_eq!(json["latency_ms"]["page"]["count"], 50, "{json}");
    server.restart();
    let json = good(server.tcp(), &format!("history {name} --fill 0 {BRIEF}"));
    assert!(figure(&json, "pages") > 0.0 && figure(&json, "messages_in_them") > figure(&json, "pages"), "{json}");
    good(server.tcp(), &format!("history --newest --conversations 2 --fill 30 {BRIEF}"));
}

#[test]
fn a_history_is_filled_once_and_its_pages_are_read_twice() {
    let server = server();
    let size = "history --name large --conversations 1 --page 20 --pages 7 --no-floor";
    let json = good(server.tcp(), &format!("{size} --fill 300 --beside 150"));
    assert!(figure(&json, "written") > 0.0, "{json}");
    for pass in ["page_first", "page_again"] {
        assert_eq!(json["latency_ms"][pass]["count"], 7, "{json}");
    }
    let json = good(server.tcp(), &format!("{size} --fill 300 --beside 150"));
    assert!(json["figures"]["written"].is_null(), "nothing was missing: {json}");
    let json = good(server.tcp(), &format!("{size} --fill 350 --beside 150"));
    assert!(figure(&json, "written") > 0.0, "{json}");
    // Numbers go on where they ended, so a page of all of it has no gap and nothing twice.
    good(server.tcp(), "history --name large --conversations 1 --fill 0 --newest --page 100 --pages 1 --no-floor");
}

#[test]
fn starts_are_timed_after_an_end_in_order_and_after_a_kill() {
    let folder = TempDir::new().unwrap();
    let address = |_| format!("127.0.0.1:{}", common::server::free_port());
    let [http, tcp, admin] = [0, 1, 2].map(address);
    let config = folder.path().join("pipeline.toml");
    fs::write(&config, format!("[listen]\nhttp = \"{http}\"\ntcp = \"{tcp}\"\nadmin = \"{admin}\"\n")).unwrap();
    let (data, config) = (folder.path().join("data"), config.display().to_string());
    for more in [format!("--data {} --kill 1", data.display()), format!("--data {} --cold", data.display()), "".into()]
    {
        let json = good(tcp.parse().unwrap(), &format!("starts --repeat 1 --config {config} {more}"));
        assert!(figure(&json, "ready_median") > 0.0, "{json}");
        assert_eq!(json["steps"][0]["log_mib"].as_f64().unwrap() > 0.0, !more.is_empty(), "{json}");
    }
    let _held = TcpListener::bind(&tcp).unwrap();
    let output = bench(&["starts", "--config", &config, "--server", &tcp]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("already"), "{}", said(&output));
}

#[test]
fn a_day_has_everything_in_it() {
    let server = server();
    let json = good(server.tcp(), "day --clients 200 --rate 300 --seconds 2 --warm 0 --no-floor");
    for kind in ["message", "typing", "group", "room", "page", "visit"] {
        assert!(json["latency_ms"][kind]["count"].as_u64().unwrap() > 0, "no {kind} in {json}");
    }
}

#[test]
fn a_ramp_goes_past_what_the_server_takes_and_back() {
    // Each message has a sync of its own, so that little is already too much.
    let others = ["decode", "authenticate", "route", "read", "fan_out", "hook", "push"]
        .map(|stage| format!("[stages.{stage}]\n"));
    let server = Server::with(format!("[stages.persist]\nbatch = 1\nworkers = 1\n{}", others.concat()));
    let json = good(server.tcp(), &format!("ramp --from 50 --to 40000 --steps 2 --pairs 20 {BRIEF}"));
    let steps = json["steps"].as_array().unwrap();
    assert_eq!(steps.len(), 3, "{json}");
    let at = |step: usize, name: &str| steps[step][name].as_f64().unwrap();
    assert!(at(1, "offered_messages_s") > 39_000.0, "the clock alone decides what is offered: {json}");
    assert!(at(1, "goodput_messages_s") < at(1, "offered_messages_s"), "{json}");
    let codes = json["refused"].as_object().unwrap();
    assert!(codes.keys().all(|code| code == "4116"), "{json}");
}

#[test]
fn it_says_what_is_missing() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let output = bench(&["pairs", "--no-floor", "--server", &nobody]);
    assert!(said(&output).contains("is the server running"), "{}", said(&output));
    assert_eq!(output.status.code(), Some(1));
    let server = server();
    let address = server.tcp().to_string();
    let output = bench(&["pairs", "--no-floor", "--server", &address, "--app", "another"]);
    assert!(said(&output).contains("4100") && said(&output).contains("another"), "{}", said(&output));
    let output = bench(&["idle", "--no-floor", "--server", &address, "--clients", "9000000"]);
    assert!(said(&output).contains("--per-connection"), "{}", said(&output));
    let output = bench(&["history", "--fill", "0", "--server", &address]);
    assert!(said(&output).contains("--name"), "{}", said(&output));
}

#[test]
fn help_teaches_with_examples() {
    for scenario in ["pairs", "groups", "rooms", "idle", "logins", "history", "starts", "day", "ramp", "floor"] {
        let output = bench(&[scenario, "--help"]);
        assert_eq!(output.status.code(), Some(0));
        assert!(said(&output).contains(&format!("tidegate bench {scenario}")), "{}", said(&output));
    }
}

#[test]
fn a_server_that_loses_is_found() {
    let output = bench_a_bad_one(|number| if number == 3 { 0 } else { 1 });
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("checked: 1 lost, 0 repeated, 0 out of order"), "{}", said(&output));
}

#[test]
fn a_server_that_repeats_is_found() {
    let output = bench_a_bad_one(|number| if number == 3 { 2 } else { 1 });
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("checked: 0 lost, 1 repeated, 0 out of order"), "{}", said(&output));
}

/// Ten messages through a server of this test's, which delivers each as often as `copies` says.
fn bench_a_bad_one(copies: fn(u32) -> u32) -> Output {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        // The sender connects first: it is client 0.
        let (sender, receiver) = (listener.accept().unwrap().0, listener.accept().unwrap().0);
        let to_receiver = receiver.try_clone().unwrap();
        std::thread::spawn(move || serve(receiver, None, copies));
        serve(sender, Some(to_receiver), copies);
    });
    bench(&[
        "pairs",
        "--pairs",
        "1",
        "--rate",
        "10",
        "--seconds",
        "1",
        "--warm",
        "0",
        "--no-floor",
        "--server",
        &address,
    ])
}

/// Answers log-ins, starts, pages and messages, and passes messages on.
fn serve(mut client: TcpStream, mut receiver: Option<TcpStream>, copies: fn(u32) -> u32) {
    let mut count = 0;
    while let Some(frame) = frame(&mut client) {
        let asked = GenericCommand::decode(frame).unwrap();
        let mut reply = GenericCommand { peer_id: asked.peer_id.clone(), i: asked.i, ..Default::default() };
        if asked.cmd == Some(CommandType::Session as i32) {
            reply.cmd = asked.cmd;
            reply.op = Some(OpType::Opened as i32);
            reply.session_message = Some(Box::new(SessionCommand::default()));
        } else if asked.cmd == Some(CommandType::Conv as i32) {
            reply.cmd = asked.cmd;
            reply.op = Some(OpType::Started as i32);
            reply.conv_message = Some(Box::new(ConvCommand { cid: Some("c".into()), ..Default::default() }));
        } else if asked.cmd == Some(CommandType::Logs as i32) {
            reply.cmd = asked.cmd;
            reply.logs_message = Some(Box::default());
        } else {
            reply.cmd = Some(CommandType::Ack as i32);
            reply.ack_message = Some(AckCommand { uid: Some("m".into()), ..Default::default() });
            let msg = asked.direct_message.and_then(|direct| direct.msg);
            let direct = DirectCommand { msg, timestamp: Some(count + 1), ..Default::default() };
            let push = GenericCommand {
                cmd: Some(CommandType::Direct as i32),
                peer_id: Some("whoever".into()),
                direct_message: Some(direct),
                ..Default::default()
            };
            for _ in 0..copies(count as u32) {
                receiver.as_mut().unwrap().write_all(&push.encode_length_delimited_to_vec()).unwrap();
            }
            count += 1;
        }
        client.write_all(&reply.encode_length_delimited_to_vec()).unwrap();
    }
}

/// The next command of a client's.
fn frame(client: &mut TcpStream) -> Option<Bytes> {
    let mut len = 0;
    for shift in (0..28).step_by(7) {
        let mut byte = [0];
        client.read_exact(&mut byte).ok()?;
        len |= usize::from(byte[0] & 127) << shift;
        if byte[0] & 128 == 0 {
            break;
        }
    }
    let mut frame = vec![0; len];
    client.read_exact(&mut frame).ok()?;
    Some(frame.into())
}
