//! Durable one-to-one messages: each sender keeps some outstanding; each receiver checks what comes.

use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hdrhistogram::Histogram;
use tidegate_protocol::wire::CommandType;

use super::client::{Client, Receiver, Sender};
use super::{PairsArgs, Transport};
use crate::cli::Stop;

/// How long receivers may still wait for the last messages.
const TAIL: Duration = Duration::from_secs(5);

/// What all pairs count into.
struct Tally {
    acked: AtomicU64,
    delivered: AtomicU64,
    refused: AtomicU64,
    repeated: AtomicU64,
    out_of_order: AtomicU64,
    done: AtomicBool,
    ack_us: Mutex<Histogram<u64>>,
    delivery_us: Mutex<Histogram<u64>>,
    start: Instant,
}

pub fn pairs(args: &PairsArgs) -> Result<(), Stop> {
    let port = if args.transport == Transport::Tcp { 7701 } else { 7700 };
    let server = args.server.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], port)));
    let histogram = || Histogram::new_with_bounds(1, 600_000_000, 3).map(Mutex::new).map_err(Stop::because);
    let tally = Arc::new(Tally {
        acked: AtomicU64::new(0),
        delivered: AtomicU64::new(0),
        refused: AtomicU64::new(0),
        repeated: AtomicU64::new(0),
        out_of_order: AtomicU64::new(0),
        done: AtomicBool::new(false),
        ack_us: histogram()?,
        delivery_us: histogram()?,
        start: Instant::now(),
    });
    // Names of this run, so that runs do not hear each other.
    let run = std::process::id();
    let (mut senders, mut receivers) = (Vec::new(), Vec::new());
    let mut ends = Vec::new();
    let mut connected = Vec::new();
    for pair in 0..args.pairs {
        connected.push(connect(args, server, run, pair).map_err(|error| {
            Stop::because(format!("{server}: {error} (is the server running, and app {} there?)", args.app))
        })?);
    }
    for (sender, (receiver, end)) in connected {
        ends.push(end);
        let one = tally.clone();
        receivers.push(thread::spawn(move || receive(receiver, &one)));
        let (one, outstanding, size, transient) = (tally.clone(), args.outstanding, args.size, args.transient);
        senders.push(thread::spawn(move || send(sender, outstanding, size, transient, &one)));
    }
    watch(args, &tally);
    tally.done.store(true, Relaxed);
    for thread in senders {
        let _ = thread.join();
    }
    let end = Instant::now() + TAIL;
    while tally.delivered.load(Relaxed) < tally.acked.load(Relaxed) && Instant::now() < end {
        thread::sleep(Duration::from_millis(10));
    }
    ends.iter().for_each(Sender::shut);
    for thread in receivers {
        let _ = thread.join();
    }
    report(args, &tally);
    let lost = tally.acked.load(Relaxed).saturating_sub(tally.delivered.load(Relaxed));
    let wrong = lost + tally.repeated.load(Relaxed) + tally.out_of_order.load(Relaxed);
    if wrong > 0 {
        return Err(Stop::because("messages were lost, repeated or out of order"));
    }
    Ok(())
}

/// A sender that knows its conversation, and its receiver's two halves.
type Pair = ((Client, String, String), (Receiver, Sender));

fn connect(args: &PairsArgs, server: SocketAddr, run: u32, pair: u32) -> io::Result<Pair> {
    let (from, to) = (format!("bench-{run}-{pair}-a"), format!("bench-{run}-{pair}-b"));
    let receiver = Client::open(server, args.transport, &args.app, &to)?;
    let mut sender = Client::open(server, args.transport, &args.app, &from)?;
    let cid = sender.converse(&to)?;
    Ok(((sender, from, cid), (receiver.receiver, receiver.sender)))
}

fn send((client, name, cid): (Client, String, String), outstanding: u32, size: u32, transient: bool, tally: &Tally) {
    let Client { mut sender, mut receiver, .. } = client;
    let mut sent_at = vec![Instant::now(); outstanding as usize];
    let mut next = 0u64;
    let mut local = Histogram::<u64>::new(3).expect("three digits are possible");
    let mut in_flight = 0;
    loop {
        while in_flight < outstanding && !tally.done.load(Relaxed) {
            let slot = next % u64::from(outstanding);
            sent_at[slot as usize] = Instant::now();
            let body = body(next, tally.start.elapsed(), size);
            if sender.message(&name, next as i32, &cid, body, transient).is_err() {
                return;
            }
            next += 1;
            in_flight += 1;
        }
        if in_flight == 0 {
            break;
        }
        let Ok(reply) = receiver.next() else { break };
        if reply.cmd != Some(CommandType::Ack as i32) {
            continue;
        }
        in_flight -= 1;
        if reply.ack_message.is_some_and(|ack| ack.code.is_some()) {
            tally.refused.fetch_add(1, Relaxed);
            continue;
        }
        tally.acked.fetch_add(1, Relaxed);
        // Acknowledgements of one conversation come in the order in which its messages were sent.
        let slot = (reply.i.unwrap_or(0) as u32 % outstanding) as usize;
        let _ = local.record(sent_at[slot].elapsed().as_micros() as u64);
    }
    let _ = tally.ack_us.lock().unwrap_or_else(PoisonError::into_inner).add(local);
    sender.shut();
}

fn receive(mut receiver: Receiver, tally: &Tally) {
    let mut local = Histogram::<u64>::new(3).expect("three digits are possible");
    let mut expected = 0u64;
    while let Ok(push) = receiver.next() {
        let Some((number, sent)) = push.direct_message.and_then(|direct| direct.msg).and_then(|body| read(&body))
        else {
            continue;
        };
        match number.cmp(&expected) {
            std::cmp::Ordering::Less => {
                tally.repeated.fetch_add(1, Relaxed);
                continue;
            }
            std::cmp::Ordering::Greater => {
                // A refused message leaves a gap; what is lost is seen in the sums.
                if tally.refused.load(Relaxed) == 0 {
                    tally.out_of_order.fetch_add(1, Relaxed);
                }
            }
            std::cmp::Ordering::Equal => {}
        }
        expected = number + 1;
        tally.delivered.fetch_add(1, Relaxed);
        let _ = local.record(tally.start.elapsed().saturating_sub(sent).as_micros() as u64);
    }
    let _ = tally.delivery_us.lock().unwrap_or_else(PoisonError::into_inner).add(local);
}

/// `number sent-microseconds`, filled up with dots.
fn body(number: u64, sent: Duration, size: u32) -> Bytes {
    let mut text = format!("{number} {} ", sent.as_micros());
    while text.len() < size as usize {
        text.push('.');
    }
    text.into()
}

fn read(body: &[u8]) -> Option<(u64, Duration)> {
    let mut words = std::str::from_utf8(body).ok()?.split(' ');
    Some((words.next()?.parse().ok()?, Duration::from_micros(words.next()?.parse().ok()?)))
}

/// A live line a second.
fn watch(args: &PairsArgs, tally: &Tally) {
    let live = io::stderr().is_terminal();
    let mut before = 0;
    for second in 1..=args.seconds {
        thread::sleep(Duration::from_secs(1));
        let acked = tally.acked.load(Relaxed);
        let line = format!(
            "{second:>4} s  {:>8} acks/s  {:>8} delivered in all  {} refused",
            acked - before,
            tally.delivered.load(Relaxed),
            tally.refused.load(Relaxed),
        );
        before = acked;
        let _ = if live { write!(io::stderr(), "\r{line}") } else { writeln!(io::stderr(), "{line}") };
    }
    if live {
        eprintln!();
    }
}

fn report(args: &PairsArgs, tally: &Tally) {
    let acked = tally.acked.load(Relaxed);
    let of = |histogram: &Mutex<Histogram<u64>>| {
        let histogram = histogram.lock().unwrap_or_else(PoisonError::into_inner);
        let ms = |q: f64| histogram.value_at_quantile(q) as f64 / 1_000.0;
        format!("{:>8.2} {:>8.2} {:>8.2} {:>8.2}", ms(0.5), ms(0.9), ms(0.99), histogram.max() as f64 / 1_000.0)
    };
    let kind = if args.transient { "transient" } else { "durable" };
    println!(
        "{} pairs, {} outstanding, {} bytes, {kind}, over {:?}: {:.0} acks/s",
        args.pairs,
        args.outstanding,
        args.size,
        args.transport,
        acked as f64 / args.seconds as f64
    );
    println!("                    p50      p90      p99      max   (ms)");
    println!("acknowledged   {}", of(&tally.ack_us));
    println!("delivered      {}", of(&tally.delivery_us));
    println!(
        "{acked} acknowledged, {} delivered, {} refused, {} repeated, {} out of order",
        tally.delivered.load(Relaxed),
        tally.refused.load(Relaxed),
        tally.repeated.load(Relaxed),
        tally.out_of_order.load(Relaxed),
    );
}
