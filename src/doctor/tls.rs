//! TLS: certificates that end soon, and files with secrets that others can read.

use super::finding::{Finding, Severity};
use tidegate_domain::time::iso;

/// A certificate of a configured file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    pub file: String,
    pub subject: String,
    /// Seconds since the epoch, as `to`.
    pub from: i64,
    pub to: i64,
}

/// A file that holds what nobody else should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    pub file: String,
    /// "the private key of TLS"
    pub holds: &'static str,
    /// Its permissions.
    pub mode: u32,
}

const DAY: i64 = 86_400;
/// Whoever renews by program does so a month before the end: less is left only where that fails.
const SOON: i64 = 21 * DAY;

/// `now`: seconds since the epoch. `certificates`: of each file, or why it could not be read.
pub fn judge(now: i64, certificates: &[Result<Vec<Certificate>, String>], secrets: &[Secret]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in certificates {
        match file {
            Ok(chain) => findings.extend(chain.iter().map(|certificate| ends(now, certificate))),
            Err(why) => findings.push(
                Finding::new("tls.certificate", Severity::Problem, format!("a certificate cannot be read: {why}"))
                    .why("The server does not start without it.")
                    .todo("Name the right file in [listen] tls, or remove a broken development one (DATA/tls)."),
            ),
        }
    }
    if certificates.is_empty() {
        findings.push(Finding::new("tls.certificate", Severity::Ok, "no certificate is configured: none can expire"));
    }
    findings.extend(secrets.iter().map(readable));
    findings
}

fn ends(now: i64, certificate: &Certificate) -> Finding {
    let Certificate { file, subject, from, to } = certificate;
    let days = (to - now).div_euclid(DAY);
    let day = |at: i64| iso(at.saturating_mul(1_000)).chars().take(10).collect::<String>();
    let plural = |days: i64| if days == 1 { "" } else { "s" };
    let finding = |severity, says| {
        Finding::new("tls.certificate", severity, says)
            .number("file", file.as_str())
            .number("subject", subject.as_str())
            .number("days_left", days)
    };
    let renew = "Renew it, and restart the server: certificates are read at the start.";
    if now < *from {
        return finding(Severity::Problem, format!("{file} ({subject}) is valid only from {}", day(*from)))
            .why("Every client refuses to connect over TLS.")
            .todo("Look at this machine's clock, or at the one that the certificate was made by.");
    }
    if now > *to {
        let ago = (now - to).div_euclid(DAY);
        let says = format!("{file} ({subject}) expired on {}, {ago} day{} ago", day(*to), plural(ago));
        return finding(Severity::Problem, says).why("Every client refuses to connect over TLS.").todo(renew);
    }
    let says = format!("{file} ({subject}) is valid until {}, {days} more day{}", day(*to), plural(days));
    if to - now > SOON {
        return finding(Severity::Ok, says);
    }
    finding(Severity::Warning, says).why("From then on every client refuses to connect over TLS.").todo(renew)
}

fn readable(secret: &Secret) -> Finding {
    let Secret { file, holds, mode } = secret;
    let (severity, who) = match mode {
        mode if mode & 0o007 != 0 => (Severity::Problem, "by everybody on this machine"),
        mode if mode & 0o070 != 0 => (Severity::Warning, "by its group"),
        _ => {
            let says = format!("{file} is its owner's only ({mode:03o}); it holds {holds}");
            return Finding::new("tls.secret_file", Severity::Ok, says).number("file", file.as_str());
        }
    };
    Finding::new(
        "tls.secret_file",
        severity,
        format!("{file} can be read or changed {who} ({mode:03o}); it holds {holds}"),
    )
    .why("Whoever has it can pass for the server, or for any of its users.")
    .todo("Take the right away, and change what others may have read:")
    .command(format!("chmod go-rwx {}", quoted(file)))
    .number("file", file.as_str())
    .number("mode", format!("{mode:03o}"))
}

/// As a shell takes it for one word.
fn quoted(path: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+:@%".contains(&byte);
    if path.bytes().all(plain) { path.to_owned() } else { format!("'{}'", path.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn of(from: i64, to: i64) -> Finding {
        ends(NOW, &Certificate { file: "cert.pem".into(), subject: "CN=chat".into(), from, to })
    }

    #[test]
    fn certificates_end_and_begin() {
        assert_eq!(of(0, NOW + SOON + 1).severity, Severity::Ok);
        assert_eq!(of(0, NOW + SOON).severity, Severity::Warning);
        assert_eq!(of(0, NOW).severity, Severity::Warning, "in its last second it holds");
        assert_eq!(of(0, NOW - 1).severity, Severity::Problem);
        assert_eq!(of(NOW, NOW + 10 * SOON).severity, Severity::Ok);
        assert_eq!(of(NOW + 1, NOW + 10 * SOON).severity, Severity::Problem);
    }

    #[test]
    fn it_says_the_day_and_how_many_are_left() {
        assert!(
            of(0, NOW + 5 * DAY).says.ends_with("is valid until 2027-01-20, 5 more days"),
            "{}",
            of(0, NOW + 5 * DAY).says
        );
        assert!(of(0, NOW - 2 * DAY).says.ends_with("expired on 2027-01-13, 2 days ago"));
        assert_eq!(of(0, NOW - 2 * DAY).numbers["days_left"], -2);
    }

    #[test]
    fn every_certificate_of_a_chain_counts_and_a_broken_file_too() {
        let one = |to| Certificate { file: "cert.pem".into(), subject: "CN=chat".into(), from: 0, to };
        let chain = Ok(vec![one(NOW + 10 * SOON), one(NOW - 1)]);
        let found = judge(NOW, &[chain, Err("x.pem: broken".to_owned())], &[]);
        let severities: Vec<_> = found.iter().map(|finding| finding.severity).collect();
        assert_eq!(severities, [Severity::Ok, Severity::Problem, Severity::Problem]);
        assert_eq!(judge(NOW, &[], &[]).len(), 1);
    }

    #[test]
    fn a_secret_is_its_owners() {
        let with = |mode| readable(&Secret { file: "key.pem".into(), holds: "the key", mode });
        assert_eq!([0o600, 0o400, 0o700].map(|mode| with(mode).severity), [Severity::Ok; 3]);
        assert_eq!([0o640, 0o620].map(|mode| with(mode).severity), [Severity::Warning; 2]);
        assert_eq!([0o604, 0o644, 0o602].map(|mode| with(mode).severity), [Severity::Problem; 3]);
        assert_eq!(with(0o640).commands, ["chmod go-rwx key.pem"]);
        assert_eq!(["a/b.pem", "my key", "it's"].map(quoted), ["a/b.pem", "'my key'", "'it'\\''s'"]);
    }
}
