//! A process that runs out of file descriptors keeps serving whom it has, and takes new ones as soon as it can.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use tidegate_domain::ids::ConnId;
use tidegate_net::{Closed, ConnMeta, Door, Frame, Mail, Mailbox, NotTaken, Options, Turn};

#[derive(Default)]
struct Echo(OnceLock<Mailbox>);

impl Door for Echo {
    fn opened(&self, _: ConnId, _: ConnMeta) {}

    fn frame(&self, conn: ConnId, frame: Frame) -> Result<(), NotTaken> {
        if let Some(mailbox) = self.0.get() {
            mailbox.post(Mail::Reply { conn, frame: frame.bytes });
        }
        Ok(())
    }

    fn closed(&self, _: ConnId, _: Closed, _: Option<Turn>) {}
}

fn echo(client: &mut TcpStream) {
    client.write_all(&[3, b'o', b'n', b'e']).unwrap();
    let mut answer = [0; 4];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"\x03one");
}

#[test]
fn a_shortage_of_descriptors_passes() {
    let door = Arc::new(Echo::default());
    let options = Options { tcp: Some("127.0.0.1:0".parse().unwrap()), ..Options::default() };
    let listeners = tidegate_net::Listeners::bind(&options).unwrap();
    let net = tidegate_net::start(options, listeners, door.clone(), None).unwrap();
    assert!(door.0.set(net.mailbox()).is_ok());
    let addr = net.local_addrs().tcp.unwrap();
    let eventually = |what: &str, done: &dyn Fn() -> bool| {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !done() {
            assert!(Instant::now() < deadline, "waited in vain until {what}");
            thread::sleep(Duration::from_millis(5));
        }
    };

    let mut first = TcpStream::connect(addr).unwrap();
    echo(&mut first);
    // The clients' own ends have their descriptors before any connects, so the server cannot have one for each.
    let ends: Vec<_> = (0..20).map(|_| Socket::new(Domain::IPV4, Type::STREAM, None).unwrap()).collect();
    let open = std::fs::read_dir("/proc/self/fd").unwrap().count() as u64;
    rlimit::setrlimit(rlimit::Resource::NOFILE, open + 10, open + 10).unwrap();
    let mut clients: Vec<TcpStream> = Vec::new();
    for end in ends {
        end.connect(&addr.into()).unwrap();
        clients.push(end.into());
    }
    eventually("some are taken", &|| net.stats().accepted > 1);
    thread::sleep(Duration::from_millis(150));
    assert!(net.stats().accepted < 21, "there was no shortage");
    echo(&mut first);
    // As clients leave, those who waited are served.
    while clients.len() > 5 {
        drop(clients.remove(0));
    }
    clients.iter_mut().for_each(echo);
    eventually("all who came were taken", &|| net.stats().accepted == 21);
    echo(&mut first);
}
