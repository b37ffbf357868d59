//! What `tidegate top` shows, in 80 columns or more.
//!
//! Owns the picture. It is made of the documents as they come; what one of them lacks is shown as `-`.

use ratatui::Frame;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Block, Clear, Paragraph, Row, Sparkline, Table, TableState};
use serde_json::Value;

#[derive(Default)]
pub struct Screen {
    /// The last ones, oldest first.
    pub seconds: Vec<Value>,
    /// The chosen stage's place.
    pub chosen: usize,
    /// What came of the last key.
    pub said: Option<String>,
    /// Why there is no server.
    pub lost: Option<String>,
    pub help: bool,
}

impl Screen {
    pub fn stages(&self) -> &[Value] {
        self.seconds.last().and_then(|second| second["stages"].as_array()).map_or(&[], Vec::as_slice)
    }
}

const HELP: &str = "\
 up, down   choose a stage              u  take the last change back
 + -        its workers                 s  save what is running to the file
 ] [        its batch, twice or half    ?  this help
 } {        its bound, twice or half    q  leave
 p          its policy, the next one
 a b        its workers, its batch: let the server find the number (~), or
            fix the one of the moment

 busy   share of its workers' time at work
 depth  events in the stage, of its bound
 wait   p99 from being queued to being worked on, in the last second
 work   p99 of a batch, from its start to its end
 full   share of time with work and no room for what comes of it, and
        the stage that had none: look there instead";

/// The picture as plain text, for what is no terminal.
pub fn text(screen: &Screen, width: u16) -> String {
    let height = screen.stages().len() as u16 + 11 + u16::from(alerts(screen).is_some());
    let drawn = ratatui::Terminal::new(TestBackend::new(width, height)).and_then(|mut terminal| {
        let done = terminal.draw(|frame| draw(screen, frame))?;
        Ok(lines(done.buffer))
    });
    match drawn {
        Ok(text) => text,
        Err(never) => match never {},
    }
}

fn lines(buffer: &Buffer) -> String {
    let area = buffer.area;
    let line = |y: u16| -> String { (0..area.width).map(|x| buffer[(x, y)].symbol()).collect() };
    let lines: Vec<String> = (0..area.height).map(|y| line(y).trim_end().to_owned()).collect();
    lines.join("\n").trim_end().to_owned() + "\n"
}

pub fn draw(screen: &Screen, frame: &mut Frame) {
    let stages = screen.stages().len() as u16;
    let alerting = alerts(screen);
    let areas = Layout::vertical([
        Constraint::Length(2),
        Constraint::Length(u16::from(alerting.is_some())),
        Constraint::Length(3),
        Constraint::Length(1 + stages),
        Constraint::Min(3),
        Constraint::Length(1),
    ]);
    let [top, odd, headline, table, history, foot] = areas.areas(frame.area());
    frame.render_widget(Paragraph::new(server(screen)), top);
    frame.render_widget(Paragraph::new(alerting.unwrap_or_default()), odd);
    frame.render_widget(Paragraph::new(bottleneck(screen)), headline);
    let mut state = TableState::default().with_selected(Some(screen.chosen));
    frame.render_stateful_widget(stages_table(screen), table, &mut state);
    chosen(screen, frame, history);
    let said = screen
        .said
        .clone()
        .unwrap_or_else(|| "? explains   q leaves   + - workers   ] [ batch   u undo   s save".to_owned());
    frame.render_widget(Paragraph::new(Line::from(format!(" {said}")).dim()), foot);
    if screen.help {
        help(frame);
    }
}

fn server(screen: &Screen) -> Text<'static> {
    if let Some(lost) = &screen.lost {
        return Text::from(format!(" {lost}")).red().bold();
    }
    let Some(second) = screen.seconds.last() else { return Text::from(" the server has not lived for a second yet") };
    let delivery = &second["delivery"];
    let ms = |of: &str| delivery[of].as_f64().map_or("-".to_owned(), |ms| time(ms * 1e6));
    let rate = |of: &str| format!("{}/s", bytes(second[of].as_f64()));
    Text::from(vec![
        Line::from(vec![
            Span::from(" Tidegate").bold(),
            Span::from(format!(
                "  {} connections  {} sessions  {} conversations  {}  {} cores",
                count(second["connections"].as_f64()),
                count(second["sessions"].as_f64()),
                count(second["conversations"].as_f64()),
                bytes(second["resident_bytes"].as_f64()),
                second["cpu"].as_f64().map_or("-".to_owned(), |cores| format!("{cores:.2}")),
            )),
        ]),
        Line::from(format!(
            " {} deliveries/s  p50 {}  p99 {}  p99.9 {}  in {}  out {}",
            count(delivery["rate"].as_f64()),
            ms("p50_ms"),
            ms("p99_ms"),
            ms("p999_ms"),
            rate("received_bytes"),
            rate("sent_bytes"),
        )),
    ])
}

fn bottleneck(screen: &Screen) -> Text<'static> {
    let second = screen.seconds.last().unwrap_or(&Value::Null);
    for key in ["trouble", "warning"] {
        if let Some(words) = second["store"][key].as_str() {
            return Text::from(Line::from(format!(" store: {words}")).red().bold());
        }
    }
    let found = &second["bottleneck"];
    let Some(cause) = found["cause"].as_str() else { return Text::default() };
    if cause == "upstream_idle" {
        return Text::from(Line::from(" nothing holds it up: it could do more").green());
    }
    let place = found["stage"].as_str().map(|stage| format!(" in {stage}")).unwrap_or_default();
    let evidence: Vec<&str> = found["evidence"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let words = found["suggestion"].as_str().unwrap_or_default();
    Text::from(vec![
        Line::from(format!(" bottleneck: {cause}{place}")).yellow().bold(),
        Line::from(format!(" {}", evidence.join("; "))),
        Line::from(format!(" {words}")).italic(),
    ])
}

/// What is out of the usual, in a line; `None` where nothing is.
fn alerts(screen: &Screen) -> Option<Line<'static>> {
    let alerts = &screen.seconds.last()?["alerts"];
    let raised = alerts["raised"].as_array()?;
    let first = raised.first()?["words"].as_str()?;
    let silent = if alerts["silence"].is_object() { " (silent)" } else { "" };
    let count = if raised.len() == 1 { "1 alert".to_owned() } else { format!("{} alerts", raised.len()) };
    Some(Line::from(format!(" {count}{silent}: {first}")).red().bold())
}

fn stages_table(screen: &Screen) -> Table<'static> {
    let header = [" stage", "rate/s", "busy", "depth", "wait p99", "work p99", "full", "workers", "batch"];
    let rows = screen.stages().iter().map(row);
    let widths = [14, 7, 5, 11, 9, 9, 12, 8, 5].map(Constraint::Length);
    Table::new(rows, widths)
        .header(Row::new(header).style(Style::new().add_modifier(Modifier::BOLD | Modifier::UNDERLINED)))
        .column_spacing(0)
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED))
}

fn row(stage: &Value) -> Row<'static> {
    let share = |of: &Value| of.as_f64().unwrap_or_default();
    let busy = share(&stage["utilisation"]);
    let (depth, bound) = (share(&stage["depth"]), share(&stage["bound"]));
    let full = share(&stage["blocked"]["share"]);
    let by = stage["blocked"]["by"].as_str().unwrap_or_default();
    let p99 = |of: &str| stage[of]["p99_ns"].as_f64().map_or("-".to_owned(), time);
    let heat = |share: f64| match share {
        share if share >= 0.9 => Style::new().fg(Color::Red).add_modifier(Modifier::BOLD),
        share if share >= 0.6 => Style::new().fg(Color::Yellow),
        _ => Style::new(),
    };
    Row::new(vec![
        Span::from(format!(" {}", crate::remote::text(&stage["name"]))),
        Span::from(count(stage["rate"].as_f64())),
        Span::styled(format!("{:.0}%", busy * 100.0), heat(busy)),
        Span::styled(
            format!("{}/{}", count(Some(depth)), count(Some(bound))),
            heat(if bound > 0.0 { depth / bound } else { 0.0 }),
        ),
        Span::from(p99("wait")),
        Span::from(p99("service")),
        Span::styled(if full >= 0.005 { format!("{:.0}% {by}", full * 100.0) } else { String::new() }, heat(full)),
        Span::from(amount(stage, "workers")),
        Span::from(amount(stage, "batch")),
    ])
}

/// A number, with a mark where the server finds it.
fn amount(stage: &Value, of: &str) -> String {
    format!("{}{}", crate::remote::text(&stage[of]), if stage["auto"][of] == true { "~" } else { "" })
}

/// The chosen stage's last minute, and what of it has no column.
fn chosen(screen: &Screen, frame: &mut Frame, area: Rect) {
    let Some(stage) = screen.stages().get(screen.chosen) else { return };
    let name = crate::remote::text(&stage["name"]);
    let of = |second: &Value, key: &str| {
        let stages = second["stages"].as_array().into_iter().flatten();
        stages
            .into_iter()
            .find(|other| other["name"] == stage["name"])
            .map(|stage| stage[key].clone())
            .unwrap_or_default()
    };
    let waits = screen.seconds.iter().map(|second| of(second, "wait")["p99_ns"].as_u64().unwrap_or_default());
    let waits: Vec<u64> = waits.collect();
    let most = waits.iter().max().copied().unwrap_or_default();
    let title = format!(
        " {name}: wait p99 of {} s, up to {}  pool {}  policy {}  target {}  window {}  refused {} ",
        waits.len(),
        time(most as f64),
        crate::remote::text(&stage["pool"]),
        crate::remote::text(&stage["policy"]),
        stage["delay_target_ms"].as_f64().map_or("-".to_owned(), |ms| time(ms * 1e6)),
        crate::remote::text(&stage["window"]),
        count(stage["refused"].as_f64()),
    );
    frame.render_widget(
        Sparkline::default().block(Block::new().title(title)).data(&waits).style(Style::new().fg(Color::Cyan)),
        area,
    );
}

fn help(frame: &mut Frame) {
    let (width, height) = (74, HELP.lines().count() as u16 + 2);
    let all = frame.area();
    let area = Rect {
        x: all.width.saturating_sub(width) / 2,
        y: all.height.saturating_sub(height) / 2,
        width: width.min(all.width),
        height: height.min(all.height),
    };
    frame.render_widget(Clear, area);
    frame.render_widget(Paragraph::new(HELP).block(Block::bordered().title(" tidegate top ")), area);
}

/// A number of things in at most five characters.
fn count(of: Option<f64>) -> String {
    match of {
        None => "-".to_owned(),
        Some(n) if n < 9_999.5 => format!("{n:.0}"),
        Some(n) if n < 999_500.0 => format!("{:.0}k", n / 1e3),
        Some(n) if n < 99_950_000.0 => format!("{:.1}M", n / 1e6),
        Some(n) => format!("{:.0}M", n / 1e6),
    }
}

fn bytes(of: Option<f64>) -> String {
    match of {
        None => "-".to_owned(),
        Some(bytes) if bytes < 10_240.0 => format!("{bytes:.0} B"),
        Some(bytes) if bytes < 10.0 * f64::from(1 << 20) => format!("{:.0} KiB", bytes / 1024.0),
        Some(bytes) => format!("{:.0} MiB", bytes / f64::from(1 << 20)),
    }
}

/// Nanoseconds in three digits and a unit.
fn time(ns: f64) -> String {
    let (value, unit) = match ns {
        ns if ns < 1e3 => return format!("{ns:.0} ns"),
        ns if ns < 1e6 => (ns / 1e3, "us"),
        ns if ns < 1e9 => (ns / 1e6, "ms"),
        ns => (ns / 1e9, "s"),
    };
    let digits = if value < 10.0 {
        2
    } else if value < 100.0 {
        1
    } else {
        0
    };
    format!("{value:.digits$} {unit}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn screen() -> Screen {
        let stage = |name: &str, busy: f64| {
            json!({
                "name": name, "pool": name, "workers": 2, "batch": 64, "bound": 8192, "policy": "block", "delay_target_ms": 25.0,
                "window": 16, "auto": {"workers": true, "batch": false}, "depth": 412, "rate": 54_321.0, "refused": 7, "utilisation": busy,
                "blocked": {"share": 0.25, "by": "fan_out"},
                "wait": {"p99_ns": 11_400_000}, "service": {"p99_ns": 798_719},
            })
        };
        let second = json!({
            "stages": [stage("authenticate", 0.02), stage("persist", 0.97)],
            "delivery": {"rate": 54_000.0, "p50_ms": 0.42, "p99_ms": 23.5},
            "connections": 100, "sessions": 100, "resident_bytes": 83_886_080, "cpu": 1.21,
            "store": {"warning": null, "trouble": null},
            "alerts": {"raised": [{"words": "p99 is 840 ms; in the last hour it was 20 to 35 ms"}, {}], "silence": null},
            "bottleneck": {"stage": "persist", "cause": "fsync", "evidence": ["syncs are 91 % of its work"],
                           "suggestion": "tidegate tune persist batch=128"},
        });
        Screen { seconds: vec![second], ..Screen::default() }
    }

    #[test]
    fn it_all_fits_into_80_columns() {
        let shown = text(&screen(), 80);
        assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
        for words in [
            "100 connections",
            "80 MiB",
            "p99 23.5 ms",
            "bottleneck: fsync in persist",
            "syncs are 91 %",
            "batch=128",
            "authenticate",
            "54k",
            "97%",
            "412/8192",
            "11.4 ms",
            "799 us",
            "25% fan_out",
            "2~      64",
            "up to 11.4 ms",
            "2 alerts: p99 is 840 ms; in the last hour",
        ] {
            assert!(shown.contains(words), "no {words:?} in\n{shown}");
        }
    }

    #[test]
    fn what_is_not_known_is_said_and_nothing_breaks() {
        for width in [1, 10, 40, 200] {
            let empty = Screen { lost: Some("no answer".into()), ..Screen::default() };
            assert!(width < 40 || text(&empty, width).contains("no answer"));
            text(&Screen { help: true, ..empty }, width);
            text(&Screen { seconds: vec![json!({"stages": [{}, 3, "x"]})], chosen: 9, ..Screen::default() }, width);
            text(&screen(), width);
        }
        let full = json!({"stages": [], "store": {"trouble": "the disk is full"}});
        assert!(text(&Screen { seconds: vec![full], ..Screen::default() }, 80).contains("store: the disk is full"));
    }

    #[test]
    fn figures_are_short() {
        let counts = [0.0, 9_999.0, 10_000.0, 999_400.0, 1_500_000.0, 150e6].map(|n| count(Some(n)));
        assert_eq!(counts, ["0", "9999", "10k", "999k", "1.5M", "150M"]);
        let times = [7.0, 1_500.0, 23_500_000.0, 140e6, 2.5e9].map(time);
        assert_eq!(times, ["7 ns", "1.50 us", "23.5 ms", "140 ms", "2.50 s"]);
    }
}
