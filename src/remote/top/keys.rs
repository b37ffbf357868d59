//! What keys do: choose, ask for a change, leave. Must not know how a change is made.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde_json::{Value, json};

use super::screen::Screen;

/// What is to be done for a key beyond the screen.
#[derive(Debug)]
pub enum Order {
    Nothing,
    Leave,
    Change { stage: String, patch: Value },
    Post { path: &'static str, done: fn(&Value) -> String },
}

pub fn pressed(screen: &mut Screen, key: KeyEvent) -> Order {
    screen.said = None;
    let last = screen.stages().len().saturating_sub(1);
    match key.code {
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return Order::Leave,
        KeyCode::Char('q') => return Order::Leave,
        KeyCode::Esc if screen.help => screen.help = false,
        KeyCode::Esc => return Order::Leave,
        KeyCode::Char('?' | 'h') => screen.help = !screen.help,
        KeyCode::Down | KeyCode::Char('j') => screen.chosen = (screen.chosen + 1).min(last),
        KeyCode::Up | KeyCode::Char('k') => screen.chosen = screen.chosen.saturating_sub(1),
        KeyCode::Home => screen.chosen = 0,
        KeyCode::End => screen.chosen = last,
        KeyCode::Char('u') => return Order::Post { path: "/undo", done: undone },
        KeyCode::Char('s') => return Order::Post { path: "/config/save", done: saved },
        KeyCode::Char(c) => return change(screen, c).unwrap_or(Order::Nothing),
        _ => {}
    }
    Order::Nothing
}

/// The change that a key stands for, of the chosen stage.
fn change(screen: &Screen, key: char) -> Option<Order> {
    let stage = screen.stages().get(screen.chosen)?;
    let number = |of: &str| stage[of].as_u64();
    // The server finds it, or keeps what it has found.
    let found_or_fixed =
        |of: &str| if stage["auto"][of] == true { number(of).map(Value::from) } else { Some("auto".into()) };
    let patch = match key {
        '+' | '=' => json!({ "workers": number("workers")? + 1 }),
        '-' => json!({ "workers": number("workers")?.checked_sub(1)? }),
        ']' => json!({ "batch": number("batch")? * 2 }),
        '[' => json!({ "batch": (number("batch")? / 2).max(1) }),
        '}' => json!({ "bound": number("bound")? * 2 }),
        '{' => json!({ "bound": (number("bound")? / 2).max(1) }),
        'a' => json!({ "workers": found_or_fixed("workers")? }),
        'b' => json!({ "batch": found_or_fixed("batch")? }),
        'p' => json!({ "policy": match stage["policy"].as_str()? {
            "block" => "shed",
            "shed" => "drop-oldest",
            _ => "block",
        } }),
        _ => return None,
    };
    Some(Order::Change { stage: stage["name"].as_str()?.to_owned(), patch })
}

fn undone(change: &Value) -> String {
    let settings = change["changes"].as_array().into_iter().flatten();
    let list: Vec<String> = settings
        .map(|s| format!("{} is {} again", crate::remote::text(&s["key"]), crate::remote::text(&s["to"])))
        .collect();
    list.join(", ")
}

fn saved(saved: &Value) -> String {
    let file = crate::remote::text(&saved["file"]);
    match &saved["backup"] {
        Value::String(backup) => format!("written into {file}; as it was before, it is in {backup}"),
        _ => format!("{file} says already what is running"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn screen() -> Screen {
        let stage = |name: &str| {
            let auto = json!({"workers": false, "batch": true});
            json!({"name": name, "workers": 1, "batch": 64, "bound": 8192, "policy": "block", "auto": auto})
        };
        Screen { seconds: vec![json!({"stages": [stage("decode"), stage("persist")]})], ..Screen::default() }
    }

    fn press(screen: &mut Screen, code: KeyCode) -> Order {
        pressed(screen, KeyEvent::new(code, KeyModifiers::NONE))
    }

    #[test]
    fn keys_change_the_chosen_stage() {
        let mut screen = screen();
        press(&mut screen, KeyCode::Down);
        press(&mut screen, KeyCode::Down);
        let mut asked = |key| match press(&mut screen, KeyCode::Char(key)) {
            Order::Change { stage, patch } => format!("{stage} {patch}"),
            other => format!("{other:?}"),
        };
        assert_eq!(asked('+'), r#"persist {"workers":2}"#);
        assert_eq!(asked('-'), r#"persist {"workers":0}"#, "the server says why not");
        assert_eq!(asked(']'), r#"persist {"batch":128}"#);
        assert_eq!(asked('{'), r#"persist {"bound":4096}"#);
        assert_eq!(asked('p'), r#"persist {"policy":"shed"}"#);
        assert_eq!(asked('a'), r#"persist {"workers":"auto"}"#);
        assert_eq!(asked('b'), r#"persist {"batch":64}"#, "as it is now");
        assert_eq!(asked('x'), "Nothing");
    }

    #[test]
    fn a_screen_without_a_server_takes_keys_too() {
        let mut screen = Screen::default();
        for key in ['+', 'p', 'j', 'k'] {
            assert!(matches!(press(&mut screen, KeyCode::Char(key)), Order::Nothing), "{key}");
        }
        press(&mut screen, KeyCode::Char('?'));
        assert!(screen.help);
        assert!(matches!(press(&mut screen, KeyCode::Esc), Order::Nothing), "it closes the help first");
        assert!(matches!(press(&mut screen, KeyCode::Esc), Order::Leave));
    }
}
