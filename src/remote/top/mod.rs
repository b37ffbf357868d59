//! `tidegate top`: the running server in a terminal, second by second, with keys to change it.
//!
//! Owns the loop: a look each second, keys in between. What is shown is in `screen`, what keys do in `keys`.

mod keys;
mod screen;

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use clap::Args;
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use serde_json::Value;

use super::{AdminArgs, Remote};
use crate::cli::{Stop, print};
use keys::Order;
use screen::Screen;

/// Watch a running server, stage by stage, and change it
///
/// Keys: up and down choose a stage, + and - its workers, ] and [ its batch, } and { its bound, p its policy, a and b let the
/// server find its workers and its batch; u takes the last
/// change back, s saves what is running into the file, ? explains, q leaves.
#[derive(Debug, Args)]
pub struct TopArgs {
    /// Print one second and end
    #[arg(long)]
    once: bool,
    /// With --once: as JSON, the document that GET /live sends
    #[arg(long, requires = "once")]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

const SECOND: Duration = Duration::from_secs(1);
/// Seconds that the little graphs show.
const SHOWN: usize = 60;
/// How wide what is printed with `--once` is.
const WIDTH: u16 = 80;

pub fn run(args: &TopArgs) -> Result<(), Stop> {
    let remote = Remote::new(&args.admin, "top");
    let mut screen = Screen { seconds: seconds(&remote, SHOWN)?, ..Screen::default() };
    if args.json {
        let newest = screen.seconds.last().ok_or_else(|| Stop::because("the server has not lived for a second yet"))?;
        return print(&format!("{newest}\n"));
    }
    if args.once {
        return print(&screen::text(&screen, WIDTH));
    }
    if !std::io::stdout().is_terminal() {
        return Err(Stop::because("top draws on a terminal; --once prints one look, --once --json for scripts"));
    }
    let mut terminal =
        ratatui::try_init().map_err(|error| Stop::because(format!("the terminal cannot be drawn on: {error}")))?;
    let ended = watch(&remote, &mut screen, &mut terminal);
    ratatui::restore();
    ended
}

fn seconds(remote: &Remote, count: usize) -> Result<Vec<Value>, Stop> {
    match remote.get(&format!("/history?seconds={count}"))? {
        Value::Array(seconds) => Ok(seconds),
        _ => Err(Stop::because("the server's history is no list: is it of another version?")),
    }
}

fn watch(remote: &Remote, screen: &mut Screen, terminal: &mut ratatui::DefaultTerminal) -> Result<(), Stop> {
    let mut next = Instant::now();
    loop {
        if Instant::now() >= next {
            next = Instant::now() + SECOND;
            match seconds(remote, SHOWN) {
                Ok(seconds) => (screen.seconds, screen.lost) = (seconds, None),
                Err(stop) => screen.lost = Some(stop.message().to_owned()),
            }
        }
        terminal.draw(|frame| screen::draw(screen, frame)).map_err(Stop::because)?;
        if !event::poll(next.saturating_duration_since(Instant::now())).map_err(Stop::because)? {
            continue;
        }
        let Event::Key(key) = event::read().map_err(Stop::because)? else { continue };
        if key.kind == KeyEventKind::Release {
            continue;
        }
        match keys::pressed(screen, key) {
            Order::Nothing => {}
            Order::Leave => return Ok(()),
            Order::Change { stage, patch } => {
                let done = remote.patch(&format!("/stages/{}", super::encoded(&stage)), &patch);
                screen.said = Some(done.map_or_else(
                    |stop| stop.message().to_owned(),
                    |_| format!("{stage}: {patch} is in force; u takes it back"),
                ));
                next = Instant::now();
            }
            Order::Post { path, done } => {
                let answer = remote.post(path);
                screen.said = Some(answer.map_or_else(|stop| stop.message().to_owned(), |answer| done(&answer)));
                next = Instant::now();
            }
        }
    }
}
