//! What a start prints: where to point an SDK, where to look, where data is.

use std::fmt::Write;

use crate::cli::RunArgs;
use crate::compose::Server;

pub fn text(server: &Server, args: &RunArgs, colours: bool) -> String {
    let (bold, dim, blue, off) = if colours { ("\x1b[1m", "\x1b[2m", "\x1b[36m", "\x1b[0m") } else { ("", "", "", "") };
    let addrs = server.net.local_addrs();
    let mut out = String::new();
    let mut line = |name: &str, value: &str, note: &str| {
        let note = if note.is_empty() { String::new() } else { format!("  {dim}{note}{off}") };
        let _ = writeln!(out, "  {dim}{name:<9}{off} {blue}{value}{off}{note}");
    };
    if let Some(http) = addrs.http {
        let scheme = if server.config.listen.plain { "http" } else { "https" };
        line("SDK", &format!("server: '{scheme}://{http}'"), "JavaScript 5; Java, Swift, ObjC, C#, Flutter alike");
        if server.authority.is_some() || server.config.listen.tls.is_some() {
            line("", &format!("server: '{http}'"), "JavaScript 4 (it always speaks https)");
        }
        if server.development {
            line("app", "tidegate-dev", &format!("key {}", tidegate_config::DEVELOPMENT_KEY));
            line("chat", &format!("{scheme}://{http}/"), "open it in two tabs and talk");
        }
    }
    if let Some(tcp) = addrs.tcp {
        line("TCP", &tcp.to_string(), "length-prefixed commands");
    }
    if let Some(authority) = &server.authority {
        line("TLS", &format!("NODE_EXTRA_CA_CERTS={}", authority.display()), "on the same ports; how Node trusts it");
    }
    if let Some(admin) = server.http.0.get().and_then(tidegate_http::HttpSide::admin_addr) {
        let wanted = if server.config.admin.asks() { ", with a token" } else { "" };
        line("admin", &format!("http://{admin}"), &format!("/readyz /metrics /stages{wanted}"));
    }
    line("data", &args.data.display().to_string(), "");
    format!("\n  {bold}Tidegate {}{off}\n\n{out}\n", env!("CARGO_PKG_VERSION"))
}
