//! Client frames to events: fragments put together, control frames let through between them, text checked.
//!
//! Idle, waiting (for the rest of a frame) and assembling (fragments) differ only in `assembly`: it exists from a
//! message's first fragment to its last, so an idle connection costs the two words of a `Reader`.

use std::borrow::Cow;
use std::str;

use bytes::Bytes;

use super::Violation;
use super::header::{Header, Opcode, unmask};
use crate::frame::keep;

/// The receiving half of one connection.
#[derive(Debug)]
pub struct Reader {
    /// Bounds a frame and a whole message, in bytes.
    max: u32,
    assembly: Option<Box<Assembly>>,
}

/// A message whose last fragment is still to come.
#[derive(Debug)]
struct Assembly {
    text: bool,
    data: Vec<u8>,
    /// Up to here text is known to be UTF-8; what follows is at most the start of one character.
    checked: usize,
}

/// What one frame meant.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A whole message. Borrowed from the input if it came in one frame.
    Message {
        text: bool,
        payload: Cow<'a, [u8]>,
    },
    /// Part of a message: nothing to do but to count it as a sign of life.
    Fragment,
    /// Answer with a pong of the same payload.
    Ping(&'a [u8]),
    Pong,
    /// Answer with a close frame of the same code and read no further. Absent code: none was given.
    Close {
        code: Option<u16>,
        reason: &'a str,
    },
}

/// One frame found at the start of the input.
#[derive(Debug, PartialEq, Eq)]
pub struct Step<'a> {
    /// Bytes to take off the input.
    pub consumed: usize,
    pub event: Event<'a>,
}

/// A message's payload as shared bytes: the one copy between the read buffer and the pipeline.
pub fn into_bytes(payload: Cow<'_, [u8]>) -> Bytes {
    match payload {
        Cow::Borrowed(bytes) => Bytes::copy_from_slice(bytes),
        Cow::Owned(bytes) => Bytes::from(bytes),
    }
}

impl Reader {
    /// `max` bounds each frame and each message, in bytes of payload.
    pub fn new(max: u32) -> Self {
        Reader { max, assembly: None }
    }

    /// Another bound, from the next frame on: of a client that has become known, say.
    pub fn set_max(&mut self, max: u32) {
        self.max = max;
    }

    /// Whether bytes of an unfinished message are kept here.
    pub fn is_assembling(&self) -> bool {
        self.assembly.is_some()
    }

    /// Takes one frame from the start of `input`; `None` where more bytes are needed. The frame's payload is unmasked
    /// in place, so take `consumed` bytes off before the next call. After an error or a `Close` there is no next call.
    pub fn next<'a>(&mut self, input: &'a mut [u8]) -> Result<Option<Step<'a>>, Violation> {
        let Some(header) = Header::parse(input, self.max as usize)? else { return Ok(None) };
        self.judge(&header)?;
        let consumed = header.size + header.len;
        let Some(payload) = input.get_mut(header.size..consumed) else { return Ok(None) };
        unmask(payload, header.mask);
        let event = self.take(&header, payload)?;
        Ok(Some(Step { consumed, event }))
    }

    /// What a header breaks is said before its payload is waited for.
    fn judge(&self, header: &Header) -> Result<(), Violation> {
        match (header.opcode, &self.assembly) {
            (Opcode::Continuation, None) => Err(Violation::NothingToContinue),
            (Opcode::Text | Opcode::Binary, Some(_)) => Err(Violation::Interleaved),
            (Opcode::Continuation, Some(so_far)) if so_far.data.len() + header.len > self.max as usize => {
                Err(Violation::TooLong)
            }
            _ => Ok(()),
        }
    }

    fn take<'a>(&mut self, header: &Header, payload: &'a [u8]) -> Result<Event<'a>, Violation> {
        let text = header.opcode == Opcode::Text;
        Ok(match header.opcode {
            Opcode::Text | Opcode::Binary if header.fin => {
                if text && str::from_utf8(payload).is_err() {
                    return Err(Violation::NotUtf8);
                }
                Event::Message { text, payload: Cow::Borrowed(payload) }
            }
            Opcode::Text | Opcode::Binary => {
                let mut assembly = Assembly { text, data: Vec::new(), checked: 0 };
                assembly.add(payload, false)?;
                self.assembly = Some(Box::new(assembly));
                Event::Fragment
            }
            Opcode::Continuation => {
                let mut assembly = self.assembly.take().ok_or(Violation::NothingToContinue)?;
                assembly.add(payload, header.fin)?;
                if header.fin {
                    Event::Message { text: assembly.text, payload: Cow::Owned(assembly.data) }
                } else {
                    self.assembly = Some(assembly);
                    Event::Fragment
                }
            }
            Opcode::Ping => Event::Ping(payload),
            Opcode::Pong => Event::Pong,
            Opcode::Close => close(payload)?,
        })
    }
}

impl Assembly {
    /// Each byte of text is looked at once, and a wrong one ends the message in the fragment that brings it.
    fn add(&mut self, payload: &[u8], last: bool) -> Result<(), Violation> {
        keep(&mut self.data, payload);
        if !self.text {
            return Ok(());
        }
        match str::from_utf8(&self.data[self.checked..]) {
            Ok(_) => self.checked = self.data.len(),
            Err(error) if last || error.error_len().is_some() => return Err(Violation::NotUtf8),
            Err(error) => self.checked += error.valid_up_to(),
        }
        Ok(())
    }
}

/// RFC 6455, 5.5.1: nothing, or a code and then UTF-8.
fn close(payload: &[u8]) -> Result<Event<'_>, Violation> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        return if payload.is_empty() {
            Ok(Event::Close { code: None, reason: "" })
        } else {
            Err(Violation::BadControl)
        };
    };
    let code = u16::from_be_bytes(*code);
    if !may_be_sent(code) {
        return Err(Violation::BadCloseCode);
    }
    let reason = str::from_utf8(reason).map_err(|_| Violation::NotUtf8)?;
    Ok(Event::Close { code: Some(code), reason })
}

/// RFC 6455, 7.4, and IANA's registry (1012 to 1014): 1004 to 1006 and 1015 never stand in a frame.
fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

#[cfg(test)]
mod tests;
