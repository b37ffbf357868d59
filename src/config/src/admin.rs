//! `[admin]`: the tokens that the admin port asks for, and whether it may be open to others with them.
//!
//! Owns that tokens differ, and that no address beyond loopback goes without one. Must not know what a token allows.

use crate::config::{Admin, Listen, beyond_loopback};
use crate::diagnostic::Report;
use crate::section::Section;

pub(crate) fn read(section: &Section<'_>, report: &mut Report) -> Admin {
    section.refuse_unknown(report);
    let admin = Admin {
        read_token: section.optional("read_token", report),
        write_token: section.optional("write_token", report),
    };
    if let (Some(span), Some(other)) = (section.span_of("write_token"), section.span_of("read_token"))
        && admin.read_token.is_some()
        && admin.read_token == admin.write_token
    {
        report
            .error("`admin.write_token` is the `read_token`, too")
            .at(span, "whoever may look could change everything")
            .see(other, "the same")
            .help("give each its own: `openssl rand -hex 24` prints a fresh one");
    }
    admin
}

/// An address that others reach: not without a token, and better with TLS before it.
pub(crate) fn exposure(
    listen: &Listen,
    listening: &Section<'_>,
    admin: &Admin,
    section: &Section<'_>,
    report: &mut Report,
) {
    let Some(span) = listening.span_of("admin").filter(|_| beyond_loopback(listen.admin.ip())) else { return };
    let port = listen.admin.port();
    if admin.asks() {
        report
            .warning("`listen.admin` is open to others, and its tokens can be read on their way")
            .at(span, "this port has no TLS of its own")
            .help(format!(
                "listen where only a private network or a proxy with TLS comes, or write `admin = \"127.0.0.1:{port}\"` and \
                 go there through SSH"
            ));
        return;
    }
    // A token that is wrong was complained of: that there is none would be an echo.
    if section.entry("read_token").or(section.entry("write_token")).is_some() {
        return;
    }
    report
        .error("the admin port would be open beyond this machine")
        .at(span, "whoever reaches it changes the pipeline without a password")
        .help(format!(
            "write `admin = \"127.0.0.1:{port}\"`, and reach it through SSH; or write a `write_token`, a `read_token` or both \
             into a table [admin]"
        ));
}
