//! WebSocket frames, the server's side of RFC 6455 after the handshake.
//!
//! `Reader` turns bytes into events, `write` makes the frames to send. Neither owns a buffer while nothing is under
//! way: a frame that is not whole stays with the caller, only a fragmented message in progress is kept here.
//! Knows nothing of what messages say.

mod header;
mod reader;
pub mod write;

pub use header::Opcode;
pub use reader::{Event, Reader, Step, into_bytes};

/// The longest payload that a control frame may have (RFC 6455, 5.5).
pub const LONGEST_CONTROL: usize = 125;

/// What a client did that ends its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    #[error("reserved bits are set though no extension was agreed")]
    ReservedBits,
    #[error("an opcode that RFC 6455 does not define")]
    UnknownOpcode,
    #[error("a client's frame is not masked")]
    Unmasked,
    #[error("a length is not written in its shortest form")]
    WastefulLength,
    #[error("a control frame is fragmented or longer than 125 bytes")]
    BadControl,
    #[error("a continuation without a message to continue")]
    NothingToContinue,
    #[error("a new message inside a fragmented one")]
    Interleaved,
    #[error("a close frame's code must not be sent")]
    BadCloseCode,
    #[error("text is not UTF-8")]
    NotUtf8,
    /// Known from the header, so nothing of the payload was buffered.
    #[error("a frame or message is longer than allowed")]
    TooLong,
}

impl Violation {
    /// Code and reason for the close frame: RFC 6455's own, but for what is too long, which the protocol names (4109).
    pub fn close(self) -> (u16, &'static str) {
        match self {
            Violation::TooLong => (4109, "FRAME_TOO_LONG"),
            Violation::NotUtf8 => (1007, "text is not UTF-8"),
            _ => (1002, "protocol error"),
        }
    }
}
