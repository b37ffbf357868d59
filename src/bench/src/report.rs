//! The end of a run: one table for people, the same as JSON for machines, and whether anything was wrong.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use crate::Failure;
use crate::args::Output;
use crate::check::Wrong;
use crate::fleet::Fleet;
use crate::floor::Floor;
use crate::latency::Quantiles;

/// A figure beside the floor: how many times as much it is.
#[derive(Debug)]
struct Ratio {
    what: String,
    floor: String,
    ratio: f64,
}

/// Rows of figures, as the steps of a ramp.
#[derive(Debug, Default)]
pub struct Rows {
    /// Name and unit of each column.
    pub columns: Vec<(&'static str, &'static str)>,
    pub rows: Vec<Vec<f64>>,
}

/// What a run found. Everything in it is in the table and in the JSON.
#[derive(Debug)]
pub struct Report {
    scenario: &'static str,
    heading: String,
    settings: Map<String, Value>,
    figures: Vec<(String, f64, &'static str)>,
    latencies: Vec<(String, Quantiles)>,
    floors: Vec<Floor>,
    ratios: Vec<Ratio>,
    pub rows: Rows,
    pub refused: BTreeMap<i32, u64>,
    pub wrong: Wrong,
    notes: Vec<String>,
    /// Connections that ended by themselves.
    broken: u64,
}

impl Report {
    /// `heading` says in one line what was done.
    pub fn new(scenario: &'static str, heading: String) -> Report {
        Report {
            scenario,
            heading,
            settings: Map::new(),
            figures: Vec::new(),
            latencies: Vec::new(),
            floors: Vec::new(),
            ratios: Vec::new(),
            rows: Rows::default(),
            refused: BTreeMap::new(),
            wrong: Wrong::default(),
            notes: Vec::new(),
            broken: 0,
        }
    }

    /// How the run was set, for the JSON; the heading says it to people.
    pub fn setting(&mut self, name: &str, value: impl Into<Value>) {
        self.settings.insert(name.to_owned(), value.into());
    }

    pub fn figure(&mut self, name: impl Into<String>, value: f64, unit: &'static str) {
        self.figures.push((name.into(), value, unit));
    }

    pub fn latency(&mut self, name: impl Into<String>, quantiles: Quantiles) {
        self.latencies.push((name.into(), quantiles));
    }

    /// A floor that was measured; `figure` (in the floor's unit) is stated as a ratio to it.
    pub fn beside(&mut self, what: &str, figure: f64, floor: &Floor) {
        if floor.value > 0.0 {
            self.ratios.push(Ratio { what: what.to_owned(), floor: floor.name.clone(), ratio: figure / floor.value });
        }
        if !self.floors.iter().any(|known| known.name == floor.name) {
            self.floors.push(floor.clone());
        }
    }

    /// A floor, without a figure to compare.
    pub fn floor(&mut self, floor: Floor) {
        self.floors.push(floor);
    }

    /// Something that the reader should know, as a sentence.
    pub fn note(&mut self, sentence: impl Into<String>) {
        self.notes.push(sentence.into());
    }

    /// Connections that ended by themselves are never good.
    pub fn broken(&mut self, fleet: &Fleet) {
        self.broken = fleet.closed;
        if fleet.closed > 0 {
            let why = fleet.why.as_deref().unwrap_or("no reason");
            self.note(format!("{} connections ended by themselves, the last one so: {why}", fleet.closed));
        }
    }

    /// The same of other processes, which have said why themselves.
    pub fn broken_elsewhere(&mut self, ended: u64) {
        self.broken += ended;
        if ended > 0 {
            self.note(format!("{ended} connections of helper processes ended by themselves"));
        }
    }

    fn text(&self) -> String {
        let mut text = format!("{}\n", self.heading);
        // Writing into a string does not fail.
        for (name, value, unit) in &self.figures {
            let _ = writeln!(text, "  {name:<34} {:>14}  {unit}", number(*value));
        }
        if !self.latencies.is_empty() {
            let _ = writeln!(
                text,
                "\n  {:<24} {:>9} {:>9} {:>9} {:>9} {:>9}   ms",
                "latency", "p50", "p90", "p99", "p99.9", "max"
            );
            for (name, quantiles) in &self.latencies {
                let Quantiles { p50, p90, p99, p999, max, .. } = *quantiles;
                let _ = write!(text, "  {name:<24}");
                for value in [p50, p90, p99, p999, max] {
                    let _ = write!(text, " {:>9.3}", value as f64 / 1e6);
                }
                text.push('\n');
            }
        }
        if !self.rows.rows.is_empty() {
            text.push('\n');
            for (line, unit) in [(true, ""), (false, "")] {
                for (name, of) in &self.rows.columns {
                    let _ = write!(text, " {:>11}", if line { name } else { of });
                }
                let _ = writeln!(text, "{unit}");
            }
            for row in &self.rows.rows {
                row.iter().for_each(|value| {
                    let _ = write!(text, " {:>11}", number(*value));
                });
                text.push('\n');
            }
        }
        if !self.floors.is_empty() {
            let _ = writeln!(text, "\n  this machine's floor");
            for floor in &self.floors {
                let _ = writeln!(text, "  {:<34} {:>14}  {}", floor.name, number(floor.value), floor.unit);
            }
            for Ratio { what, floor, ratio } in &self.ratios {
                let _ = writeln!(text, "  {what} is {} times {floor}", number(*ratio));
            }
        }
        text.push('\n');
        for (code, count) in &self.refused {
            let _ = writeln!(text, "  refused with {code}: {count}");
        }
        let Wrong { lost, repeated, reordered } = self.wrong;
        let _ = writeln!(text, "  checked: {lost} lost, {repeated} repeated, {reordered} out of order");
        for note in &self.notes {
            let _ = writeln!(text, "  note: {note}");
        }
        text
    }

    fn json(&self) -> Value {
        let latencies: Map<_, _> = self
            .latencies
            .iter()
            .map(|(name, of)| {
                let ms = |value: u64| value as f64 / 1e6;
                let value = json!({"count": of.count, "p50": ms(of.p50), "p90": ms(of.p90), "p99": ms(of.p99),
                    "p999": ms(of.p999), "max": ms(of.max)});
                (key(name), value)
            })
            .collect();
        let figures: Map<_, _> =
            self.figures.iter().map(|(name, value, unit)| (key(name), json!({"value": value, "unit": unit}))).collect();
        let floors: Map<_, _> =
            self.floors.iter().map(|of| (key(&of.name), json!({"value": of.value, "unit": of.unit}))).collect();
        let ratios: Vec<_> = self
            .ratios
            .iter()
            .map(|of| json!({"figure": key(&of.what), "floor": key(&of.floor), "ratio": of.ratio}))
            .collect();
        let rows: Vec<Value> = self
            .rows
            .rows
            .iter()
            .map(|row| {
                let names = self.rows.columns.iter().map(|(name, unit)| key(&format!("{name} {unit}")));
                names.zip(row.iter().map(|value| json!(value))).collect::<Map<_, _>>().into()
            })
            .collect();
        let refused: Map<_, _> = self.refused.iter().map(|(code, count)| (code.to_string(), json!(count))).collect();
        let Wrong { lost, repeated, reordered } = self.wrong;
        let mut all = json!({
            "scenario": self.scenario, "settings": self.settings, "figures": figures, "latency_ms": latencies,
            "floors": floors, "ratios": ratios, "refused": refused, "notes": self.notes,
            "connections_ended": self.broken, "checked": {"lost": lost, "repeated": repeated, "out_of_order": reordered},
        });
        if !rows.is_empty() {
            all["steps"] = rows.into();
        }
        all
    }

    /// Prints the table, writes the JSON, and fails where what was received is not what was sent.
    pub fn finish(self, output: &Output) -> Result<(), Failure> {
        let to_stdout = output.json.as_ref().is_some_and(|path| path.as_os_str() == "-");
        let text = self.text();
        if to_stdout {
            print(std::io::stderr().lock(), &text)?;
            print(std::io::stdout().lock(), &format!("{}\n", self.json()))?;
        } else {
            print(std::io::stdout().lock(), &text)?;
            if let Some(path) = &output.json {
                std::fs::write(path, format!("{:#}\n", self.json())).map_err(|error| Failure::at(path, &error))?;
            }
        }
        if self.wrong.any() {
            return Err(Failure::because("messages were lost, repeated or out of order"));
        }
        if self.broken > 0 {
            return Err(Failure::because("connections ended by themselves"));
        }
        Ok(())
    }
}

/// A reader that has gone away is no error.
fn print(mut to: impl std::io::Write, text: &str) -> Result<(), Failure> {
    match to.write_all(text.as_bytes()).and_then(|()| to.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::because(error)),
        _ => Ok(()),
    }
}

/// A name as JSON has it.
fn key(name: &str) -> String {
    let words = name.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect::<Vec<_>>().join("_")
}

/// With as many digits as a reader can use.
fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(json: Option<std::path::PathBuf>) -> Output {
        Output { json, hlog: None, no_floor: true, floor_dir: None }
    }

    fn report() -> Report {
        let mut report = Report::new("pairs", "2 pairs".into());
        report.figure("acknowledged", 1234.5, "messages/s");
        report.latency("acknowledgement", Quantiles { count: 1, p50: 1_500_000, p90: 0, p99: 0, p999: 0, max: 0 });
        let floor = Floor { name: "append + fdatasync, 4 KiB".into(), value: 2469.0, unit: "/s" };
        report.beside("acknowledged", 1234.5, &floor);
        report.refused.insert(4116, 3);
        report
    }

    #[test]
    fn the_table_says_all_of_it() {
        let text = report().text();
        for part in ["2 pairs\n", "1234", "messages/s", "1.500", "0.500 times append", "4116: 3", "0 lost, 0 repeated"]
        {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }

    #[test]
    fn the_json_says_the_same() {
        let json = report().json();
        assert_eq!(json["figures"]["acknowledged"]["value"], 1234.5);
        assert_eq!(json["latency_ms"]["acknowledgement"]["p50"], 1.5);
        assert_eq!(json["ratios"][0]["ratio"], 0.5);
        assert_eq!(json["ratios"][0]["floor"], "append_fdatasync_4_kib");
        assert_eq!(json["refused"]["4116"], 3);
        assert_eq!(json["checked"]["lost"], 0);
    }

    #[test]
    fn steps_are_rows_with_names() {
        let mut report = report();
        report.rows = Rows { columns: vec![("offered", "/s"), ("p99", "ms")], rows: vec![vec![100.0, 2.5]] };
        assert_eq!(report.json()["steps"][0], json!({"offered_s": 100.0, "p99_ms": 2.5}));
        assert!(report.text().contains("offered"));
    }

    #[test]
    fn what_went_wrong_fails_the_run() {
        assert!(report().finish(&output(None)).is_ok());
        for wrong in [(1, 0, 0), (0, 1, 0), (0, 0, 1)] {
            let mut report = report();
            report.wrong = Wrong { lost: wrong.0, repeated: wrong.1, reordered: wrong.2 };
            assert!(report.finish(&output(None)).is_err(), "{wrong:?}");
        }
    }
}
