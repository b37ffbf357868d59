//! Broadcasts to a group of real sockets: what a reactor does for each delivery, the kernel's part left out.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tidegate_domain::ids::ConnId;
use tidegate_net::{Class, Closed, ConnMeta, Door, Frame, Mail, NotTaken, Options, Turn};

const MEMBERS: usize = 100;
/// Messages to the group that are sent on together: as many as behind a room with a window of 8.
const TOGETHER: usize = 8;
const BODY: usize = 160;
const GROUP: u64 = 1;

/// Tells the id of each connection that opens.
struct Opened(Mutex<Sender<ConnId>>);

impl Door for Opened {
    fn opened(&self, conn: ConnId, _: ConnMeta) {
        let _ = self.0.lock().expect("nobody panics").send(conn);
    }
    fn frame(&self, _: ConnId, _: Frame) -> Result<(), NotTaken> {
        Ok(())
    }
    fn closed(&self, _: ConnId, _: Closed, _: Option<Turn>) {}
}

/// Gives the deliveries of one round.
pub fn run(rounds: u64) -> u64 {
    let (to_us, opened) = channel();
    let any = Some("127.0.0.1:0".parse().expect("an address"));
    let options = Options { tcp: any, ..Options::default() };
    let listeners = tidegate_net::Listeners::bind(&options).expect("it listens");
    let door = Arc::new(Opened(Mutex::new(to_us)));
    let net = tidegate_net::start(options, listeners, door, None).expect("it starts");
    let addr = net.local_addrs().tcp.expect("its address");
    let mailbox = net.mailbox();
    let post = |mail: Vec<Mail>| {
        let mut mail = mail;
        while !mailbox.reserve(mail.len() as u32) {
            std::thread::yield_now();
        }
        mailbox.push(&mut mail);
    };
    let mut members: Vec<TcpStream> = Vec::new();
    for n in 0..MEMBERS {
        let mut socket = TcpStream::connect(addr).expect("it accepts");
        // The first command makes it a connection of the door's.
        socket.write_all(&[1, 0]).expect("it reads");
        let conn = opened.recv().expect("it is told");
        post(vec![Mail::Join { group: GROUP, conn, peer: format!("c{n:03}").into() }]);
        members.push(socket);
    }
    let frame = Bytes::from(vec![7; BODY]);
    let broadcast = || {
        let (frame, class) = (frame.clone(), Class::RoomNormal);
        Mail::Broadcast { group: GROUP, frame, class, except: None, later_for: None, since_ns: 1, going: None }
    };
    // Two bytes of length, the frame, and the `peerId` of four characters in its field.
    let mut heard = vec![0; TOGETHER * (2 + BODY + 2 + 4)];
    for _ in 0..rounds {
        post((0..TOGETHER).map(|_| broadcast()).collect());
        for member in &mut members {
            member.read_exact(&mut heard).expect("it is delivered");
            assert_eq!((&heard[2..2 + BODY], &heard[heard.len() - 4..][..1]), (&frame[..], &b"c"[..]));
        }
    }
    (MEMBERS * TOGETHER) as u64
}
