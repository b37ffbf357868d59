//! The forms a value may have: how each is said to a person, and how it is read from what stands in the file.
//!
//! Owns durations, sizes, addresses, URLs and the rest as they are written, with a better spelling for those that are
//! nearly right. Must not know which key has which form.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;
use toml::de::DeValue;
use url::Url;

use crate::diagnostic::Span;

/// What a key takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Form {
    Count {
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
    /// A part of the value, where only that is wrong.
    pub(crate) span: Option<Span>,
    pub(crate) reason: String,
    /// The value as it was probably meant, in TOML.
    pub(crate) instead: Option<String>,
}

impl Wrong {
    pub(crate) fn because(reason: impl Into<String>) -> Self {
        Wrong { span: None, reason: reason.into(), instead: None }
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
            Form::Share { zero: true } => "a share from 0 to 1".into(),
            Form::Share { zero: false } => "a share above 0, up to 1".into(),
            Form::Duration { least, most } => format!("a duration from {} to {}", duration(*least), duration(*most)),
            Form::Size { least, most } => format!("a size from {} to {}", size(*least), size(*most)),
            Form::Address => "an IP address with a port".into(),
            Form::Listener => "an IP address with a port, or \"off\"".into(),
            Form::Flag => "`true` or `false`".into(),
            Form::Url(schemes) => format!("a URL ({})", schemes.join(", ")),
            Form::Text { least: 1, .. } => "a text".into(),
            Form::Text { least, .. } => format!("a text of at least {least} characters"),
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
            Form::Count { least, .. } => least.to_string(),
            Form::Share { .. } => "0.1".into(),
            Form::Duration { .. } => "\"5s\"".into(),
            Form::Size { .. } => "\"64 KiB\"".into(),
            Form::Address | Form::Listener => "\"127.0.0.1:7700\"".into(),
            Form::Flag => "true".into(),
            Form::Url(schemes) => format!("\"{}://chat.example.com\"", schemes.first().unwrap_or(&"https")),
            Form::Text { .. } => "\"…\"".into(),
            Form::Name => "\"common\"".into(),
            Form::Choice(choices) => format!("\"{}\"", choices.first().unwrap_or(&"")),
            Form::Sync => "\"interval 100ms\"".into(),
            Form::List(form) => format!("[{}]", form.example()),
            Form::Network => "\"10.0.0.0/8\"".into(),
            Form::Origin => "\"https://chat.example.com\"".into(),
            Form::Table(shape) => (*shape).into(),
        }
    }
}

/// A type that is read from the values of some forms.
pub(crate) trait FromValue: Sized {
    fn from_value(value: &DeValue<'_>, form: &Form) -> Result<Self, Wrong>;
}

impl FromValue for u64 {
    fn from_value(value: &DeValue<'_>, form: &Form) -> Result<Self, Wrong> {
        match form {
            Form::Size { least, most } => parse_size(text(value, size_spelling)?, *least, *most),
            Form::Count { least, most } => {
                let DeValue::Integer(integer) = value else {
                    let instead = match value {
                        DeValue::String(text) => text.trim().replace(['_', ','], "").parse::<u64>().ok(),
                        DeValue::Float(float) => float.as_str().parse::<f64>().ok().map(|f| f.round().max(0.0) as u64),
                        _ => None,
                    };
                    let wrong = Wrong::because(format!("this is {}", kind(value)));
                    return Err(match instead.filter(|n| (*least..=*most).contains(n)) {
                        Some(number) => wrong.write(number.to_string()),
                        None => wrong,
                    });
                };
                match i128::from_str_radix(integer.as_str(), integer.radix()) {
                    Ok(n) if n < i128::from(*least) => Err(Wrong::because("too small").write(least.to_string())),
                    Ok(n) if n <= i128::from(*most) => Ok(n as u64),
                    _ => Err(Wrong::because("too large").write(most.to_string())),
                }
            }
            _ => Err(misfit(form)),
        }
    }
}

impl FromValue for usize {
    fn from_value(value: &DeValue<'_>, form: &Form) -> Result<Self, Wrong> {
        let number = u64::from_value(value, form)?;
        usize::try_from(number).map_err(|_| Wrong::because("too large for this machine"))
    }
}

impl FromValue for f64 {
    fn from_value(value: &DeValue<'_>, form: &Form) -> Result<Self, Wrong> {
        let Form::Share { zero } = form else { return Err(misfit(form)) };
        let share = match value {
            DeValue::Float(float) => float.as_str().parse().ok(),
            DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix()).ok().map(|n| n as f64),
            _ => None,
        };
        match share {
            Some(share) if share > 1.0 && share <= 100.0 => {
                Err(Wrong::because("above 1; is this a percentage?").write(tidy(share / 100.0)))
            }
            Some(share) if !(0.0..=1.0).contains(&share) => Err(Wrong::because("not between 0 and 1")),
            Some(0.0) if !zero => Err(Wrong::because("nothing at all would be let through")),
            Some(share) => Ok(share),
            None => {
                let wrong = Wrong::because(format!("this is {}", kind(value)));
                let percent = match value {
                    DeValue::String(text) => text.trim().strip_suffix('%').and_then(|p| p.trim().parse::<f64>().ok()),
                    _ => None,
                };
                Err(match percent.filter(|p| *p > 0.0 && *p <= 100.0) {
                    Some(percent) => wrong.write(tidy(percent / 100.0)),
                    None => wrong,
                })
            }
        }
    }
}

/// A share without the noise of its binary form, and always a float in TOML.
fn tidy(share: f64) -> String {
    format!("{:?}", (share * 1e6).round() / 1e6)
}

impl FromValue for bool {
    fn from_value(value: &DeValue<'_>, form: &Form) -> Result<Self, Wrong> {
        match (value, form) {
            (DeValue::Boolean(flag), Form::Flag) => Ok(*flag),
            (DeValue::String(text), Form::Flag) => {
                let wrong = Wrong::because("this is text");
                Err(match text.trim().to_ascii_lowercase().as_str() {
                    "true" | "yes" | "on" | "1" => wrong.write("true"),
                    "false" | "no" | "off" | "0" => wrong.write("false"),
                    _ => wrong,
                })
            }
            (DeValue::Integer(integer), Form::Flag) => {
                let wrong = Wrong::because("this is a number");
                Err(match integer.as_str() {
                    "0" => wrong.write("false"),
                    "1" => wrong.write("true"),
                    _ => wrong,
                })
            }
            (_, Form::Flag) => Err(Wrong::because(format!("this is {}", kind(value)))),
            _ => Err(misfit(form)),
        }
    }
}

impl FromValue for Duration {
    fn from_value(value: &DeValue<'_>, form: &Form) -> Result<Self, Wrong> {
        let Form::Duration { least, most } = form else { return Err(misfit(form)) };
        let text =
            text(value, |number| format!("\"{number}{}\"", if *least < Duration::from_secs(1) { "ms" } else { "s" }))?;
        let parsed = parse_duration(text)?;
        if parsed < *least {
            return Err(Wrong::because("too short").write(format!("\"{}\"", duration(*least))));
        }
        if parsed > *most {
            return Err(Wrong::because("too long").write(format!("\"{}\"", duration(*most))));
        }
        Ok(parsed)
    }
}

impl FromValue for String {
    fn from_value(value: &DeValue<'_>, form: &Form) -> Result<Self, Wrong> {
        let text = match value {
            DeValue::String(text) => text.as_ref(),
            DeValue::Integer(number) if !matches!(form, Form::Choice(_)) => {
                return Err(Wrong::because("this is a number").write(format!("\"{number}\"")));
            }
            _ => return Err(Wrong::because(format!("this is {}", kind(value)))),
        };
        match form {
            Form::Text { least, most } => match text.chars().count() {
                0 => Err(Wrong::because("empty")),
                count if count < *least => Err(Wrong::because(format!("only {count} of at least {least} characters"))),
                count if count > *most => Err(Wrong::because(format!("{count} characters, {most} is the most"))),
                _ => Ok(text.into()),
            },
            Form::Name => name(text).map(|()| text.into()),
            Form::Choice(choices) => choice(text, choices).map(Into::into),
            Form::Url(schemes) => parse_url(text, schemes),
            Form::Origin => parse_origin(text),
            _ => Err(misfit(form)),
        }
    }
}

/// A place in `Form::Choice`.
pub(crate) struct Chosen(pub(crate) &'static str);

impl FromValue for Chosen {
    fn from_value(value: &DeValue<'_>, form: &Form) -> Result<Self, Wrong> {
        let Form::Choice(choices) = form else { return Err(misfit(form)) };
        match value {
            DeValue::String(text) => choice(text, choices).map(Chosen),
            DeValue::Boolean(false) if choices.contains(&"off") => {
                Err(Wrong::because("this is `false`").write("\"off\""))
            }
            _ => Err(Wrong::because(format!("this is {}", kind(value)))),
        }
    }
}

impl FromValue for SocketAddr {
    fn from_value(value: &DeValue<'_>, _: &Form) -> Result<Self, Wrong> {
        parse_address(text(value, |number| format!("\"127.0.0.1:{number}\""))?)
    }
}

impl FromValue for Option<SocketAddr> {
    fn from_value(value: &DeValue<'_>, form: &Form) -> Result<Self, Wrong> {
        match value {
            DeValue::String(text) if text == "off" => Ok(None),
            DeValue::Boolean(false) => Err(Wrong::because("this is `false`").write("\"off\"")),
            _ => SocketAddr::from_value(value, form).map(Some),
        }
    }
}

impl FromValue for IpNet {
    fn from_value(value: &DeValue<'_>, _: &Form) -> Result<Self, Wrong> {
        let text = text(value, |_| "\"10.0.0.0/8\"".into())?;
        if let Ok(address) = IpAddr::from_str(text) {
            return Ok(IpNet::from(address));
        }
        match (IpNet::from_str(text), text.split_once('/')) {
            (Ok(network), _) => Ok(network),
            (Err(_), Some((address, bits))) => match IpAddr::from_str(address) {
                Ok(ip) if bits.parse::<u16>().is_ok() => {
                    let most = if ip.is_ipv4() { 32 } else { 128 };
                    Err(Wrong::because(format!("such an address has no more than {most} bits"))
                        .write(format!("\"{ip}/{most}\"")))
                }
                Ok(_) => Err(Wrong::because("behind the slash stands no number of bits")),
                Err(_) => Err(Wrong::because("before the slash stands no IP address")),
            },
            (Err(_), None) => Err(Wrong::because("this is no IP address; names are not looked up")),
        }
    }
}

/// `[store] sync`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// An acknowledged message is on disk.
    Commit,
    /// An acknowledged message is on disk this much later.
    Interval(Duration),
    /// The operating system decides when.
    Off,
}

impl FromValue for Sync {
    fn from_value(value: &DeValue<'_>, form: &Form) -> Result<Self, Wrong> {
        if matches!(value, DeValue::Boolean(false)) {
            return Err(Wrong::because("this is `false`").write("\"off\""));
        }
        let text = text(value, |number| format!("\"interval {number}ms\""))?;
        match text.split_once(' ') {
            None if text == "interval" => Err(Wrong::because("how long?").write("\"interval 100ms\"")),
            None => match choice(text, &["commit", "off"]) {
                Ok("commit") => Ok(Sync::Commit),
                Ok(_) => Ok(Sync::Off),
                Err(_) if parse_duration(text).is_ok() => {
                    Err(Wrong::because("a bare duration").write(format!("\"interval {text}\"")))
                }
                Err(wrong) => Err(wrong),
            },
            Some(("interval", rest)) => {
                let limits = Form::Duration { least: Duration::from_millis(1), most: Duration::from_secs(60) };
                Duration::from_value(&DeValue::String(rest.trim().into()), &limits).map(Sync::Interval).map_err(
                    |wrong| {
                        let instead =
                            wrong.instead.as_deref().map_or("100ms", |text| text.trim_matches('"')).to_owned();
                        Wrong::because(wrong.reason).write(format!("\"interval {instead}\""))
                    },
                )
            }
            Some(_) => Err(Wrong { instead: None, ..misfit(form) }),
        }
    }
}

impl<T: FromValue> FromValue for Vec<T> {
    fn from_value(value: &DeValue<'_>, form: &Form) -> Result<Self, Wrong> {
        let Form::List(form) = form else { return Err(misfit(form)) };
        let DeValue::Array(values) = value else {
            let wrong = Wrong::because(format!("this is {}", kind(value)));
            return Err(match value {
                DeValue::String(text) => wrong.write(format!("[\"{text}\"]")),
                _ => wrong,
            });
        };
        values
            .iter()
            .map(|value| {
                T::from_value(value.get_ref(), form)
                    .map_err(|wrong| Wrong { span: wrong.span.or(Some(value.span())), ..wrong })
            })
            .collect()
    }
}

/// A text, or the complaint that it is none, with `spell` making one of a number.
fn text<'v>(value: &'v DeValue<'_>, spell: impl Fn(&str) -> String) -> Result<&'v str, Wrong> {
    match value {
        DeValue::String(text) => Ok(text),
        DeValue::Integer(number) if number.as_str().starts_with('-') => Err(Wrong::because("this is a number")),
        DeValue::Integer(number) => Err(Wrong::because("a bare number").write(spell(number.as_str()))),
        _ => Err(Wrong::because(format!("this is {}", kind(value)))),
    }
}

fn size_spelling(number: &str) -> String {
    match number.parse::<u64>() {
        Ok(bytes) => format!("\"{}\"", size(bytes)),
        Err(_) => "\"64 KiB\"".into(),
    }
}

/// A value's kind, with its article.
pub(crate) fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(true) => "`true`",
        DeValue::Boolean(false) => "`false`",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

fn misfit(form: &Form) -> Wrong {
    Wrong::because(format!("not {}", form.describe()))
}

const UNITS: [(&str, u64); 6] =
    [("us", 1), ("ms", 1_000), ("s", 1_000_000), ("m", 60_000_000), ("h", 3_600_000_000), ("d", 86_400_000_000)];

/// A number and a unit, nothing else: `5ms`, `1.5s`, `180d`.
fn parse_duration(text: &str) -> Result<Duration, Wrong> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_').unwrap_or(text.len());
    let (number, unit) = (text[..unit_at].replace('_', ""), text[unit_at..].trim());
    if number.is_empty() {
        let reason = if text.starts_with('-') { "no duration is negative" } else { "no number at its start" };
        return Err(Wrong::because(reason));
    }
    let known = match unit.to_lowercase().as_str() {
        "µs" | "μs" | "usec" | "micros" | "microseconds" => "us",
        "msec" | "millis" | "milliseconds" => "ms",
        "sec" | "secs" | "second" | "seconds" => "s",
        "min" | "mins" | "minute" | "minutes" => "m",
        "hr" | "hour" | "hours" => "h",
        "day" | "days" => "d",
        _ => unit,
    };
    let Some((_, micros)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        let wrong = match unit {
            "" => Wrong::because("no unit; one of us, ms, s, m, h, d"),
            _ if known.chars().any(|c| c.is_ascii_digit()) => Wrong::because("more than one number and one unit"),
            _ => Wrong::because(format!("no unit is called `{unit}`; there are us, ms, s, m, h, d")),
        };
        let lower = known.to_lowercase();
        return Err(match UNITS.iter().find(|(name, _)| *name == lower) {
            Some((name, _)) => wrong.write(format!("\"{number}{name}\"")),
            None if unit.is_empty() => wrong.write(format!("\"{number}s\"")),
            None => wrong,
        });
    };
    let number: f64 = number.parse().map_err(|_| Wrong::because("not one number and one unit"))?;
    let micros = number * *micros as f64;
    if !micros.is_finite() || micros > 1e18 {
        return Err(Wrong::because("longer than anybody waits"));
    }
    Ok(Duration::from_micros(micros.round() as u64))
}

/// As `parse_duration` reads it, in the largest unit that keeps it whole.
pub(crate) fn duration(value: Duration) -> String {
    let micros = value.as_micros();
    let unit = UNITS.iter().rev().find(|(_, size)| micros >= u128::from(*size) && micros % u128::from(*size) == 0);
    match unit {
        Some((name, size)) => format!("{}{name}", micros / u128::from(*size)),
        None => format!("{micros}us"),
    }
}

const SIZES: [(&str, u64); 4] = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

fn parse_size(text: &str, least: u64, most: u64) -> Result<u64, Wrong> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_').unwrap_or(text.len());
    let (number, unit) = (text[..unit_at].replace('_', ""), text[unit_at..].trim());
    if number.is_empty() {
        let reason = if text.starts_with('-') { "no size is negative" } else { "no number at its start" };
        return Err(Wrong::because(reason));
    }
    let Some((_, bytes)) = SIZES.iter().find(|(name, _)| *name == unit) else {
        let wrong = match unit {
            "" => Wrong::because("no unit; one of B, KiB, MiB, GiB"),
            _ => Wrong::because(format!("no unit is called `{unit}`; there are B, KiB, MiB, GiB")),
        };
        let meant = match unit.to_ascii_lowercase().as_str() {
            "" | "b" | "byte" | "bytes" => "B",
            "k" | "kb" | "kib" => "KiB",
            "m" | "mb" | "mib" => "MiB",
            "g" | "gb" | "gib" => "GiB",
            _ => return Err(wrong),
        };
        return Err(wrong.write(format!("\"{number} {meant}\"")));
    };
    let number: f64 = number.parse().map_err(|_| Wrong::because("not one number and one unit"))?;
    let bytes = (number * *bytes as f64).round();
    if bytes < least as f64 {
        return Err(Wrong::because("too small").write(format!("\"{}\"", size(least))));
    }
    if bytes > most as f64 {
        return Err(Wrong::because("too large").write(format!("\"{}\"", size(most))));
    }
    Ok(bytes as u64)
}

/// As `parse_size` reads it, in the largest unit that keeps it whole.
pub(crate) fn size(bytes: u64) -> String {
    let unit = SIZES.iter().rev().find(|(_, size)| bytes >= *size && bytes % size == 0);
    match unit {
        Some((name, size)) => format!("{} {name}", bytes / size),
        None => format!("{bytes} B"),
    }
}

fn parse_address(text: &str) -> Result<SocketAddr, Wrong> {
    if let Ok(address) = SocketAddr::from_str(text) {
        return Ok(address);
    }
    if let Some((scheme, rest)) = text.split_once("://") {
        let wrong = Wrong::because(format!("no `{scheme}://` here: this is what to listen on, not a URL"));
        let rest = rest.trim_end_matches('/').replace("localhost", "127.0.0.1");
        return Err(if SocketAddr::from_str(&rest).is_ok() { wrong.write(format!("\"{rest}\"")) } else { wrong });
    }
    if let Ok(ip) = IpAddr::from_str(text.trim_matches(['[', ']'])) {
        let shown = if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() };
        return Err(Wrong::because("no port").write(format!("\"{shown}:7700\"")));
    }
    if let Ok(port) = text.trim_start_matches(':').parse::<u16>() {
        return Err(Wrong::because("no address before the port").write(format!("\"127.0.0.1:{port}\"")));
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err(Wrong::because("no IP address with a port; names are not looked up"));
    };
    let Ok(port) = port.parse::<u16>() else {
        return Err(Wrong::because("no port from 0 to 65535 behind the colon"));
    };
    Err(match host {
        "localhost" => Wrong::because("names are not looked up").write(format!("\"127.0.0.1:{port}\"")),
        "*" => Wrong::because("`*` is no address").write(format!("\"0.0.0.0:{port}\"")),
        _ if std::net::Ipv6Addr::from_str(host).is_ok() => {
            Wrong::because("an IPv6 address stands in brackets").write(format!("\"[{host}]:{port}\""))
        }
        _ if host.chars().all(|c| c.is_ascii_digit() || c == '.') => Wrong::because("no valid IP address"),
        _ => Wrong::because("names are not looked up; write an IP address"),
    })
}

fn parse_url(text: &str, schemes: &[&str]) -> Result<String, Wrong> {
    let url = match Url::parse(text) {
        Ok(url) => url,
        Err(url::ParseError::RelativeUrlWithoutBase) => {
            let guess = format!("{}://{text}", schemes[0]);
            let wrong = Wrong::because(format!("no `{}://` at its start", schemes[0]));
            return Err(if Url::parse(&guess).is_ok() { wrong.write(format!("\"{guess}\"")) } else { wrong });
        }
        Err(error) => return Err(Wrong::because(error.to_string())),
    };
    if !schemes.contains(&url.scheme()) {
        let wrong = Wrong::because(format!("`{}` is not one of {}", url.scheme(), schemes.join(", ")));
        // `host:port/path` reads as a scheme.
        let guess = match url.scheme() {
            "ws" | "http" => text.split_once("://").map(|(_, rest)| format!("http://{rest}")),
            "wss" | "https" => text.split_once("://").map(|(_, rest)| format!("https://{rest}")),
            _ if url.cannot_be_a_base() => Some(format!("{}://{text}", schemes[0])),
            _ => None,
        };
        let good = |guess: &String| Url::parse(guess).is_ok_and(|url| schemes.contains(&url.scheme()));
        return Err(match guess.filter(good) {
            Some(guess) => wrong.write(format!("\"{guess}\"")),
            None => wrong,
        });
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(Wrong::because("no host"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Wrong::because("a name or password in a URL ends in logs; the server sends none"));
    }
    if url.fragment().is_some() {
        return Err(Wrong::because("a `#…` part is never sent"));
    }
    Ok(text.into())
}

fn parse_origin(text: &str) -> Result<String, Wrong> {
    if text == "*" {
        return Err(Wrong::because("leave `origins` out to admit every origin"));
    }
    let url = match Url::parse(text) {
        Ok(url) if url.has_host() => url,
        _ => {
            let guess = format!("https://{text}");
            let wrong = Wrong::because("no `https://` at its start");
            return Err(match Url::parse(&guess) {
                Ok(url) if url.has_host() && url.path() == "/" => {
                    wrong.write(format!("\"{}\"", url.origin().ascii_serialization()))
                }
                _ => Wrong::because("not SCHEME://HOST"),
            });
        }
    };
    let origin = match url.origin() {
        origin @ url::Origin::Tuple(..) => origin.ascii_serialization(),
        // Pages in apps have schemes of their own (`capacitor://localhost`).
        url::Origin::Opaque(_) => return Ok(text.into()),
    };
    if origin != text {
        return Err(Wrong::because("more than an origin, or not as browsers write it").write(format!("\"{origin}\"")));
    }
    Ok(origin)
}

/// What may name a stage or a pool: it ends in thread names, label values and paths.
pub(crate) fn name(text: &str) -> Result<(), Wrong> {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let spelled: String =
        text.to_ascii_lowercase().chars().map(|c| if matches!(c, '-' | ' ' | '.') { '_' } else { c }).collect();
    let usable = |text: &str| {
        text.chars().all(good)
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.len() <= 32
            && text != "none"
    };
    match text {
        "" => Err(Wrong::because("empty")),
        "none" => Err(Wrong::because("`none` says that an output goes nowhere")),
        _ if usable(text) => Ok(()),
        _ if text.len() > 32 => Err(Wrong::because("longer than 32 characters")),
        _ if usable(&spelled) => Err(Wrong::because("only a-z, 0-9 and _").write(spelled)),
        _ => Err(Wrong::because("only a-z, 0-9 and _, with a letter first")),
    }
}

fn choice(text: &str, choices: &'static [&'static str]) -> Result<&'static str, Wrong> {
    if let Some(found) = choices.iter().find(|choice| **choice == text) {
        return Ok(found);
    }
    let wrong = Wrong::because(format!("not {}", one_of(choices)));
    let spelled = text.trim().to_lowercase().replace(['_', ' '], "-");
    let spelled = choices.iter().find(|choice| choice.to_lowercase() == spelled).copied();
    Err(match spelled.or_else(|| closest(text, choices.iter().copied())) {
        Some(meant) => wrong.write(format!("\"{meant}\"")),
        None => wrong,
    })
}

fn one_of(choices: &[&str]) -> String {
    let quoted: Vec<String> = choices.iter().map(|choice| format!("\"{choice}\"")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}

/// The name that was probably meant, if any is near enough.
pub(crate) fn closest<'n>(text: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    // A name of a few letters has near neighbours that mean something else.
    let reach = 1 + text.chars().count() / 4;
    let near = names.into_iter().map(|name| (strsim::damerau_levenshtein(text, name), name));
    near.filter(|(distance, _)| *distance <= reach).min_by_key(|(distance, _)| *distance).map(|(_, name)| name)
}

/// 1048576 as 1,048,576.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
