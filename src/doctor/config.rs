//! The configuration's smells that need no measuring: what it promises, whom it lets in, where one thread is all there is.

use std::net::SocketAddr;

use tidegate_config::Sync;

use super::finding::{Finding, Severity};

/// What matters of it.
#[derive(Debug, Clone)]
pub struct Smells {
    pub sync: Sync,
    /// Addresses for clients that others than this machine's programs reach.
    pub beyond: Vec<SocketAddr>,
    /// The admin side's, where that is one. It asks for tokens then, else there would be no such configuration.
    pub admin_beyond: Option<SocketAddr>,
    /// Whether there is an app whose keys everybody knows.
    pub development: bool,
    pub tls: bool,
    pub plain: bool,
    /// Stages that wait for the disk and have one thread, with what to type for another.
    pub alone: Vec<(String, String)>,
}

pub fn judge(smells: &Smells) -> Vec<Finding> {
    let mut findings = vec![sync(smells.sync)];
    findings.extend(keys(smells));
    findings.extend(admin(smells));
    findings.extend(clear_text(smells));
    findings.extend(alone(&smells.alone));
    findings
}

fn sync(of: Sync) -> Finding {
    let finding = |severity, says: String| Finding::new("config.sync", severity, says);
    let why = "An acknowledged message can be lost; nothing else is.";
    let todo = "Set [store] sync = \"commit\" where an acknowledgement must hold.";
    match of {
        Sync::Commit => {
            finding(Severity::Ok, "[store] sync = \"commit\": an acknowledged message is on disk".to_owned())
        }
        Sync::Interval(every) => {
            let every = every.as_millis() as u64;
            finding(
                Severity::Note,
                format!("[store] sync: a power cut takes the last {every} ms of acknowledged messages"),
            )
            .why(why)
            .todo(todo)
            .number("interval_ms", every)
        }
        Sync::Off => finding(
            Severity::Warning,
            "[store] sync = \"off\": a power cut takes what the system has not written yet, up to 30 s".to_owned(),
        )
        .why(why)
        .todo("Set [store] sync = \"commit\", or \"interval 100ms\" where the last moments may be lost."),
    }
}

fn listed(of: &[SocketAddr]) -> String {
    of.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(" and ")
}

/// Whom the development app's keys let in.
fn keys(smells: &Smells) -> Option<Finding> {
    let finding = |severity, says| Finding::new("config.development_keys", severity, says);
    Some(match (smells.development, smells.beyond.is_empty()) {
        (false, _) => return None,
        (true, true) => finding(
            Severity::Note,
            "the development app is served, on loopback only: its keys are known to everybody".to_owned(),
        )
        .why("For trying things out that is right. With these keys the server refuses to listen further.")
        .todo("For serving, make an app of your own and put its table into the file:")
        .command("tidegate app new"),
        (true, false) => finding(
            Severity::Problem,
            format!("{} lets everybody in with the development app's keys", listed(&smells.beyond)),
        )
        .why("The keys are public: whoever reaches the address reads and writes everything.")
        .todo("Make an app of your own, and put its table into the file instead:")
        .command("tidegate app new"),
    })
}

fn admin(smells: &Smells) -> Option<Finding> {
    let address = smells.admin_beyond?;
    Some(
        Finding::new(
            "config.admin_exposed",
            Severity::Warning,
            format!("the admin side is at {address}, beyond this machine, and has no TLS"),
        )
        .why("Its tokens cross the network as they are: whoever reads one on its way sees all figures, or changes stages.")
        .todo(format!(
            "Let only a private network or a proxy with TLS reach it, or set admin = \"127.0.0.1:{}\" in [listen] and go \
             there through ssh -L.",
            address.port()
        )),
    )
}

fn clear_text(smells: &Smells) -> Option<Finding> {
    if smells.beyond.is_empty() {
        return None;
    }
    let at = listed(&smells.beyond);
    let finding = |severity, says| Finding::new("config.clear_text", severity, says);
    Some(match (smells.tls, smells.plain) {
        (false, _) => finding(Severity::Warning, format!("others reach {at}, without TLS"))
            .why("Messages, tokens and keys cross the network as they are. Behind a proxy that ends TLS this is right.")
            .todo("Name cert and key in [listen] tls, or listen on the address that only the proxy reaches."),
        (true, true) => finding(Severity::Note, format!("others reach {at}, over TLS and without"))
            .why("A client that is told http:// sends its messages and keys as they are.")
            .todo("Set plain = false in [listen] where all clients speak TLS."),
        (true, false) => finding(Severity::Ok, format!("others reach {at}, over TLS only")),
    })
}

fn alone(stages: &[(String, String)]) -> Option<Finding> {
    if stages.is_empty() {
        return None;
    }
    let names: Vec<&str> = stages.iter().map(|(name, _)| name.as_str()).collect();
    let (verb, each) = if names.len() == 1 { ("waits", "one thread") } else { ("wait", "one thread each") };
    let found = Finding::new(
        "config.one_worker",
        Severity::Note,
        format!("{} {verb} for the disk with {each}", names.join(" and ")),
    )
    .why("While it waits, nothing else of the stage is done: one slow read or commit keeps the others. Batches make up for it \
         as long as the disk is quick.")
    .todo("Where the stage is often at work (tidegate top) and the disk takes more at once, give it another:")
    .number("stages", names);
    Some(stages.iter().fold(found, |found, (_, command)| found.command(command)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn good() -> Smells {
        Smells {
            sync: Sync::Commit,
            beyond: Vec::new(),
            admin_beyond: None,
            development: false,
            tls: false,
            plain: true,
            alone: Vec::new(),
        }
    }

    fn open() -> Vec<SocketAddr> {
        vec!["0.0.0.0:7700".parse().unwrap()]
    }

    fn of(smells: &Smells) -> Vec<(&'static str, Severity)> {
        judge(smells).iter().map(|finding| (finding.check, finding.severity)).collect()
    }

    #[test]
    fn what_an_acknowledgement_promises() {
        let with = |sync| of(&Smells { sync, ..good() })[0].1;
        assert_eq!(with(Sync::Commit), Severity::Ok);
        assert_eq!(with(Sync::Interval(Duration::from_millis(100))), Severity::Note);
        assert_eq!(with(Sync::Off), Severity::Warning);
    }

    #[test]
    fn keys_that_everybody_knows_stay_on_this_machine() {
        assert_eq!(of(&good()), [("config.sync", Severity::Ok)]);
        let development = Smells { development: true, ..good() };
        assert_eq!(of(&development)[1], ("config.development_keys", Severity::Note));
        let exposed = Smells { beyond: open(), ..development };
        assert_eq!(of(&exposed)[1], ("config.development_keys", Severity::Problem));
    }

    #[test]
    fn the_admin_side_is_better_on_this_machine() {
        let smells = Smells { admin_beyond: Some("0.0.0.0:7702".parse().unwrap()), ..good() };
        assert_eq!(of(&smells)[1], ("config.admin_exposed", Severity::Warning));
    }

    #[test]
    fn others_are_served_over_tls() {
        let with = |tls, plain| of(&Smells { beyond: open(), tls, plain, ..good() })[1];
        assert_eq!(with(false, true), ("config.clear_text", Severity::Warning));
        assert_eq!(with(true, true), ("config.clear_text", Severity::Note));
        assert_eq!(with(true, false), ("config.clear_text", Severity::Ok));
    }

    #[test]
    fn one_thread_that_waits_is_noted_with_what_to_type() {
        let alone = vec![("read".to_owned(), "tidegate tune read workers=2".to_owned())];
        let found = judge(&Smells { alone, ..good() }).remove(1);
        assert_eq!((found.check, found.severity), ("config.one_worker", Severity::Note));
        assert_eq!((found.says.as_str(), found.commands.len()), ("read waits for the disk with one thread", 1));
    }
}
