//! Commands that ask a running server over its admin port.
//!
//! Owns how it is found and how its refusals are shown. Each command has a file of its own.

pub mod alerts;
pub mod record;
pub mod top;
pub mod tune;

use std::time::Duration;

use clap::Args;
use serde_json::Value;
use ureq::RequestBuilder;

use crate::cli::Stop;

/// Which server is asked.
#[derive(Debug, Clone, Args)]
pub struct AdminArgs {
    /// The running server's admin address
    #[arg(long, value_name = "URL", env = "TIDEGATE_ADMIN", default_value = "http://127.0.0.1:7702")]
    admin: String,
    /// Its token, where it wants one: the read_token to look, the write_token to change; every user of the machine sees it in
    /// the list of processes, so rather set the variable
    #[arg(long, value_name = "TOKEN", env = "TIDEGATE_ADMIN_TOKEN", hide_env_values = true)]
    token: Option<Token>,
}

/// What the admin side asks for. `Debug` does not show it.
#[derive(Clone)]
struct Token(String);

impl From<String> for Token {
    fn from(text: String) -> Self {
        Token(text)
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token")
    }
}

type Got = Result<ureq::http::Response<ureq::Body>, ureq::Error>;

/// Longer than any answer of a server that is well.
const PATIENCE: Duration = Duration::from_secs(20);

/// The largest answer that is read: a recording of as much as a server keeps has some 60 MiB.
const MOST_BODY: u64 = 512 << 20;

/// A running server's admin side.
#[derive(Clone)]
pub struct Remote {
    agent: ureq::Agent,
    base: String,
    by: String,
    token: Option<String>,
}

impl Remote {
    /// `command`: what the server is told is asking, beside the user's name.
    pub fn new(args: &AdminArgs, command: &str) -> Remote {
        let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE)).build();
        let base = args.admin.trim_end_matches('/');
        let base = if base.contains("://") { base.to_owned() } else { format!("http://{base}") };
        let user = std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).unwrap_or_else(|_| "somebody".into());
        // A variable that is set to nothing, or was read from a file with the end of its line, is as good.
        let token = args.token.as_ref().map(|token| token.0.trim().to_owned()).filter(|token| !token.is_empty());
        Remote { agent: config.into(), base, by: format!("{user}, tidegate {command},"), token }
    }

    /// Where it is.
    pub fn base(&self) -> &str {
        &self.base
    }

    pub fn get(&self, path: &str) -> Result<Value, Stop> {
        self.answer(path, self.let_in(self.agent.get(self.url(path))).call())
    }

    pub fn patch(&self, path: &str, body: &Value) -> Result<Value, Stop> {
        self.answer(path, self.changing(self.agent.patch(self.url(path))).send_json(body))
    }

    pub fn post_json(&self, path: &str, body: &Value) -> Result<Value, Stop> {
        self.answer(path, self.changing(self.agent.post(self.url(path))).send_json(body))
    }

    pub fn delete(&self, path: &str) -> Result<Value, Stop> {
        self.answer(path, self.changing(self.agent.delete(self.url(path))).call())
    }

    pub fn post(&self, path: &str) -> Result<Value, Stop> {
        self.answer(path, self.changing(self.agent.post(self.url(path))).send_empty())
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    fn let_in<B>(&self, request: RequestBuilder<B>) -> RequestBuilder<B> {
        match &self.token {
            Some(token) => request.header("authorization", format!("Bearer {token}")),
            None => request,
        }
    }

    fn changing<B>(&self, request: RequestBuilder<B>) -> RequestBuilder<B> {
        self.let_in(request).header("tidegate-by", &self.by)
    }

    /// What comes after a while, as it stands: a document that is not looked into here.
    pub fn post_for(&self, path: &str, patience: Duration) -> Result<String, Stop> {
        let asked = self.changing(self.agent.post(self.url(path)));
        let asked = asked.config().timeout_global(Some(patience)).build();
        self.text(path, asked.send_empty())
    }

    fn answer(&self, path: &str, got: Got) -> Result<Value, Stop> {
        let text = self.text(path, got)?;
        serde_json::from_str(&text).map_err(|_| self.is_no_admin(path, "no JSON"))
    }

    /// What a refusal says, in the server's own words.
    fn text(&self, path: &str, got: Got) -> Result<String, Stop> {
        let mut response = got.map_err(|error| {
            Stop::because(format!(
                "no answer from {}: {error}. Is the server running? --admin names its admin address",
                self.base
            ))
        })?;
        let status = response.status();
        let text = response.body_mut().with_config().limit(MOST_BODY).read_to_string();
        let text = text.map_err(|error| Stop::because(format!("the answer of {} broke off: {error}", self.base)))?;
        if status.is_success() {
            return Ok(text);
        }
        if status == 401 {
            return Err(self.not_let_in());
        }
        let body: Value = serde_json::from_str(&text).map_err(|_| self.is_no_admin(path, status))?;
        let words = body["error"].as_str().unwrap_or("refused without a reason");
        // Where nothing is, somebody else may have been asked, or an older server.
        Err(Stop::because(if status == 404 { format!("{words} ({}{path})", self.base) } else { words.to_owned() }))
    }

    fn not_let_in(&self) -> Stop {
        let what = if self.token.is_some() { "does not know this token" } else { "wants a token" };
        Stop::because(format!(
            "{} {what}: set TIDEGATE_ADMIN_TOKEN (or --token) to the read_token, or for a change to the write_token, of [admin] \
             in its pipeline.toml",
            self.base
        ))
    }

    fn is_no_admin(&self, path: &str, what: impl std::fmt::Display) -> Stop {
        Stop::because(format!("{} does not answer {path} as a Tidegate's admin side does ({what})", self.base))
    }
}

/// A name as a part of a path.
fn encoded(name: &str) -> String {
    let safe = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    name.bytes().map(|byte| if safe(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// A time with its unit, as in `5ms`: a whole number of nanoseconds, so that 0.1 ms is said as such.
fn nanoseconds(text: &str) -> Option<f64> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at(digits);
    let unit = match unit.trim() {
        "us" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        "m" => 60e9,
        _ => return None,
    };
    Some((number.parse::<f64>().ok()? * unit).round())
}

/// As it stands, a text without quotes.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_safe_in_a_path() {
        assert_eq!(encoded("fan_out"), "fan_out");
        assert_eq!(encoded("a/b ü"), "a%2Fb%20%C3%BC");
    }
}
