//! Reading a value of the file as its form has it.
//!
//! Owns which TOML types stand for what, and what to say of the others. How texts are read is in `units.rs`,
//! `address.rs` and `words.rs`. Must not know keys.

use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;
use toml::de::DeValue;

use crate::address::{parse_address, parse_network, parse_origin, parse_url};
use crate::form::{Form, Wrong};
use crate::units::{duration, likely_unit, parse_duration, parse_size, size_spelling};
use crate::words::{choice, closest, name};

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

/// A count, or that it is to be found while the server runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Amount {
    Fixed(usize),
    Auto,
}

impl FromValue for Amount {
    fn from_value(value: &DeValue<'_>, form: &Form) -> Result<Self, Wrong> {
        let Form::Amount { least, most } = form else { return Err(misfit(form)) };
        match value {
            DeValue::String(text) if text == "auto" => Ok(Amount::Auto),
            DeValue::String(text) if closest(&text.trim().to_lowercase(), ["auto", "automatic"]).is_some() => {
                Err(Wrong::because("not a number, and not \"auto\"").write("\"auto\""))
            }
            _ => usize::from_value(value, &Form::Count { least: *least, most: *most }).map(Amount::Fixed),
        }
    }
}

impl Amount {
    /// The number to begin with, and whether another one is to be found.
    pub(crate) fn or_from(self, first: usize) -> (usize, bool) {
        match self {
            Amount::Fixed(number) => (number, false),
            Amount::Auto => (first, true),
        }
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
        let guess = |number: &str| format!("\"{number}{}\"", likely_unit(number, *least, *most));
        let parsed = parse_duration(text(value, guess)?, guess)?;
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
            Form::Token { least, most } => match text.chars().count() {
                0 => Err(Wrong::because("empty")),
                // Which one it is would be a part of the secret.
                _ if !text.bytes().all(|byte| byte.is_ascii_graphic()) => {
                    Err(Wrong::because("a blank, or a character that is not in ASCII, cannot be sent"))
                }
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

impl FromValue for IpNet {
    fn from_value(value: &DeValue<'_>, _: &Form) -> Result<Self, Wrong> {
        parse_network(text(value, |_| "\"10.0.0.0/8\"".into())?)
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
    fn from_value(value: &DeValue<'_>, _: &Form) -> Result<Self, Wrong> {
        if matches!(value, DeValue::Boolean(false)) {
            return Err(Wrong::because("this is `false`").write("\"off\""));
        }
        let text = text(value, |number| format!("\"interval {number}ms\""))?;
        match text.split_once(' ') {
            None if text == "interval" => Err(Wrong::because("how long?").write("\"interval 100ms\"")),
            None => match choice(text, &["commit", "off"]) {
                Ok("commit") => Ok(Sync::Commit),
                Ok(_) => Ok(Sync::Off),
                Err(_) if parse_duration(text, str::to_owned).is_ok() => {
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
            Some(_) => Err(Wrong::because("not one of these")),
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
        let mut good = Vec::new();
        let mut wrongs = Vec::new();
        for value in values {
            match T::from_value(value.get_ref(), form) {
                Ok(value) => good.push(value),
                Err(wrong) => wrongs.push(Wrong { span: wrong.span.or(Some(value.span())), ..wrong }),
            }
        }
        let mut wrongs = wrongs.into_iter();
        match wrongs.next() {
            None => Ok(good),
            Some(first) => Err(Wrong { more: wrongs.collect(), ..first }),
        }
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
