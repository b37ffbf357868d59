//! A blocking client of our own wire, as small as a load needs it.

use std::io::{self, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use bytes::Bytes;
use prost::Message;
use tidegate_protocol::wire::{
    CommandType, ConvCommand, DirectCommand, GenericCommand, JsonObjectMessage, OpType, SessionCommand,
};
use tungstenite::client::IntoClientRequest;
use tungstenite::http::HeaderValue;

use super::Transport;

/// The half that sends.
pub enum Sender {
    Tcp(TcpStream),
    Ws(Box<tungstenite::WebSocket<TcpStream>>),
}

/// The half that receives.
pub enum Receiver {
    Tcp(BufReader<TcpStream>),
    Ws(Box<tungstenite::WebSocket<TcpStream>>),
}

pub struct Client {
    pub sender: Sender,
    pub receiver: Receiver,
    name: String,
    i: i32,
}

fn wrong(what: impl std::fmt::Display) -> io::Error {
    io::Error::other(what.to_string())
}

impl Client {
    /// Connects and logs in.
    pub fn open(server: SocketAddr, transport: Transport, app: &str, name: &str) -> io::Result<Client> {
        let socket = TcpStream::connect(server)?;
        socket.set_nodelay(true)?;
        let (sender, receiver) = match transport {
            Transport::Tcp => (Sender::Tcp(socket.try_clone()?), Receiver::Tcp(BufReader::new(socket))),
            Transport::Ws => {
                let mut request = format!("ws://{server}/").into_client_request().map_err(wrong)?;
                let protocol = HeaderValue::from_static("lc.protobuf2.3");
                request.headers_mut().insert("Sec-WebSocket-Protocol", protocol);
                let (reader, _) = tungstenite::client(request, socket.try_clone()?).map_err(wrong)?;
                let role = tungstenite::protocol::Role::Client;
                let writer = tungstenite::WebSocket::from_raw_socket(socket, role, None);
                (Sender::Ws(Box::new(writer)), Receiver::Ws(Box::new(reader)))
            }
        };
        let mut client = Client { sender, receiver, name: name.to_owned(), i: 0 };
        let session = SessionCommand { ua: Some("tidegate-bench".into()), ..Default::default() };
        client.ask(GenericCommand {
            cmd: Some(CommandType::Session as i32),
            op: Some(OpType::Open as i32),
            app_id: Some(app.to_owned()),
            session_message: Some(Box::new(session)),
            ..Default::default()
        })?;
        Ok(client)
    }

    /// A unique conversation with one other.
    pub fn converse(&mut self, with: &str) -> io::Result<String> {
        let conv = ConvCommand {
            m: vec![self.name.clone(), with.to_owned()],
            unique: Some(true),
            attr: Some(JsonObjectMessage { data: "{}".into() }),
            ..Default::default()
        };
        let reply = self.ask(GenericCommand {
            cmd: Some(CommandType::Conv as i32),
            op: Some(OpType::Start as i32),
            conv_message: Some(Box::new(conv)),
            ..Default::default()
        })?;
        reply.conv_message.and_then(|conv| conv.cid).ok_or_else(|| wrong("no conversation was started"))
    }

    fn ask(&mut self, mut command: GenericCommand) -> io::Result<GenericCommand> {
        self.i += 1;
        command.i = Some(self.i);
        command.peer_id = Some(self.name.clone());
        self.sender.send(&command)?;
        loop {
            let reply = self.receiver.next()?;
            if reply.i != Some(self.i) {
                continue;
            }
            if let Some(error) = reply.error_message {
                return Err(wrong(format!("the server refused: {} {}", error.code, error.reason)));
            }
            return Ok(reply);
        }
    }
}

impl Sender {
    pub fn send(&mut self, command: &GenericCommand) -> io::Result<()> {
        match self {
            Sender::Tcp(socket) => {
                // Length and command in one write.
                let mut frame = Vec::with_capacity(command.encoded_len() + 5);
                command.encode_length_delimited(&mut frame).map_err(wrong)?;
                socket.write_all(&frame)
            }
            Sender::Ws(socket) => {
                let frame = Bytes::from(command.encode_to_vec());
                socket.send(tungstenite::Message::Binary(frame)).map_err(wrong)
            }
        }
    }

    pub fn message(&mut self, name: &str, i: i32, cid: &str, body: Bytes, transient: bool) -> io::Result<()> {
        let direct = DirectCommand {
            msg: Some(body),
            cid: Some(cid.to_owned()),
            transient: transient.then_some(true),
            ..Default::default()
        };
        self.send(&GenericCommand {
            cmd: Some(CommandType::Direct as i32),
            peer_id: Some(name.to_owned()),
            i: Some(i),
            direct_message: Some(direct),
            ..Default::default()
        })
    }

    /// Ends both halves.
    pub fn shut(&self) {
        let socket = match self {
            Sender::Tcp(socket) => socket,
            Sender::Ws(socket) => socket.get_ref(),
        };
        let _ = socket.shutdown(std::net::Shutdown::Both);
    }
}

impl Receiver {
    pub fn next(&mut self) -> io::Result<GenericCommand> {
        match self {
            Receiver::Tcp(socket) => {
                let mut length = 0u64;
                for shift in (0..35).step_by(7) {
                    let mut byte = [0];
                    socket.read_exact(&mut byte)?;
                    length |= u64::from(byte[0] & 127) << shift;
                    if byte[0] & 128 == 0 {
                        break;
                    }
                }
                let mut frame = vec![0; length as usize];
                socket.read_exact(&mut frame)?;
                GenericCommand::decode(&frame[..]).map_err(wrong)
            }
            Receiver::Ws(socket) => loop {
                if let tungstenite::Message::Binary(frame) = socket.read().map_err(wrong)? {
                    return GenericCommand::decode(frame).map_err(wrong);
                }
            },
        }
    }
}
