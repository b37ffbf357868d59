//! The forms that a value may have, and how each is said to a person.
//!
//! Must not know which key has which form, nor how a form is read (`value.rs`).

use std::time::Duration;

use crate::diagnostic::Span;
use crate::units::{duration, size};
use crate::words::{grouped, one_of};

/// What a key takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Form {
    Count {
        least: u64,
        most: u64,
    },
    /// A count, or `"auto"`.
    Amount {
        least: u64,
        most: u64,
    },
    /// A part of one; zero only where said.
    Share {
        zero: bool,
    },
    Duration {
        least: Duration,
        most: Duration,
    },
    /// Bytes.
    Size {
        least: u64,
        most: u64,
    },
    Address,
    /// An address, or `"off"`.
    Listener,
    Flag,
    Url(&'static [&'static str]),
    /// Any text of this many characters.
    Text {
        least: usize,
        most: usize,
    },
    /// What is sent in a header to be let in: this many printable characters of ASCII, no blanks.
    Token {
        least: usize,
        most: usize,
    },
    /// A name that we use in thread names, metrics and paths.
    Name,
    Choice(&'static [&'static str]),
    Sync,
    /// Several of the form.
    List(&'static Form),
    Network,
    Origin,
    Table(&'static str),
}

/// Why a value is not of its form.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Wrong {
    /// What else is wrong with it: a list may have several bad elements.
    pub(crate) more: Vec<Wrong>,
    /// A part of the value, where only that is wrong.
    pub(crate) span: Option<Span>,
    pub(crate) reason: String,
    /// The value as it was probably meant, in TOML.
    pub(crate) instead: Option<String>,
}

impl Wrong {
    pub(crate) fn because(reason: impl Into<String>) -> Self {
        Wrong { more: Vec::new(), span: None, reason: reason.into(), instead: None }
    }

    pub(crate) fn write(mut self, instead: impl Into<String>) -> Self {
        self.instead = Some(instead.into());
        self
    }
}

impl Form {
    /// Completes "takes …".
    pub(crate) fn describe(&self) -> String {
        match self {
            Form::Count { least, most } => format!("a whole number from {} to {}", grouped(*least), grouped(*most)),
            Form::Amount { least, most } => {
                format!("{}, or \"auto\"", Form::Count { least: *least, most: *most }.describe())
            }
            Form::Share { zero: true } => "a share from 0 to 1".into(),
            Form::Share { zero: false } => "a share above 0, up to 1".into(),
            Form::Duration { least, most } => format!("a duration from {} to {}", duration(*least), duration(*most)),
            Form::Size { least, most } => format!("a size from {} to {}", size(*least), size(*most)),
            Form::Address => "an IP address with a port".into(),
            Form::Listener => "an IP address with a port, or \"off\"".into(),
            Form::Flag => "`true` or `false`".into(),
            Form::Url(schemes) => {
                let starts: Vec<_> = schemes.iter().map(|scheme| format!("{scheme}://")).collect();
                format!("a URL that begins with {}", starts.join(" or "))
            }
            Form::Text { least: 1, .. } => "a text".into(),
            Form::Text { least, .. } => format!("a text of at least {least} characters"),
            Form::Token { least, most } => {
                format!("{least} to {most} letters, digits and signs (ASCII, no blanks)")
            }
            Form::Name => "a name (a-z, 0-9 and _)".into(),
            Form::Choice(choices) => one_of(choices),
            Form::Sync => "\"commit\", \"interval DURATION\" or \"off\"".into(),
            Form::List(form) => format!("a list, each {}", form.describe()),
            Form::Network => "a network as ADDRESS/BITS, or an address".into(),
            Form::Origin => "an origin as SCHEME://HOST, with the port where it is unusual".into(),
            Form::Table(shape) => format!("a table as {shape}"),
        }
    }

    /// A value that is right, for help where there is no default.
    pub(crate) fn example(&self) -> String {
        match self {
            Form::Count { least, .. } | Form::Amount { least, .. } => least.to_string(),
            Form::Share { .. } => "0.1".into(),
            Form::Duration { .. } => "\"5s\"".into(),
            Form::Size { .. } => "\"64 KiB\"".into(),
            Form::Address | Form::Listener => "\"127.0.0.1:7700\"".into(),
            Form::Flag => "true".into(),
            Form::Url(schemes) => format!("\"{}://example.com/\"", schemes.first().unwrap_or(&"https")),
            Form::Text { .. } | Form::Token { .. } => "\"…\"".into(),
            Form::Name => "\"common\"".into(),
            Form::Choice(choices) => format!("\"{}\"", choices.first().unwrap_or(&"")),
            Form::Sync => "\"interval 100ms\"".into(),
            Form::List(form) => format!("[{}]", form.example()),
            Form::Network => "\"10.0.0.0/8\"".into(),
            Form::Origin => "\"https://example.com\"".into(),
            Form::Table(shape) => (*shape).into(),
        }
    }
}
