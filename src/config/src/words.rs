//! Names and choices: which there may be, and which was probably meant.

use crate::form::Wrong;

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
        _ if usable(&spelled) => Err(Wrong::because("only a-z, 0-9 and _").write(format!("\"{spelled}\""))),
        _ => Err(Wrong::because("only a-z, 0-9 and _, with a letter first")),
    }
}

pub(crate) fn choice(text: &str, choices: &'static [&'static str]) -> Result<&'static str, Wrong> {
    if let Some(found) = choices.iter().find(|choice| **choice == text) {
        return Ok(found);
    }
    let wrong = Wrong::because("not one of these");
    let spelled = text.trim().to_lowercase().replace(['_', ' '], "-");
    let spelled = choices.iter().find(|choice| choice.to_lowercase() == spelled).copied();
    Err(match spelled.or_else(|| closest(text, choices.iter().copied())) {
        Some(meant) => wrong.write(format!("\"{meant}\"")),
        None => wrong,
    })
}

pub(crate) fn one_of(choices: &[&str]) -> String {
    let quoted: Vec<String> = choices.iter().map(|choice| format!("\"{choice}\"")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}

/// The name that was probably meant, if any is near enough.
pub(crate) fn closest<'n>(text: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    // A name of a few letters has near neighbours that mean something else.
    let reach = 1 + text.chars().count() / 6;
    let near = names.into_iter().map(|name| (strsim::damerau_levenshtein(text, name), name));
    // All of a word changed is no slip.
    near.filter(|(distance, _)| *distance <= reach && *distance < text.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// 1048576 as 1,048,576.
pub fn grouped(number: u64) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_word_and_another_word_finds_none() {
        let names = ["login", "start", "workers", "master_key", "authenticate"];
        let closest = |text| closest(text, names);
        assert_eq!(closest("wokers"), Some("workers"));
        assert_eq!(closest("masterkey"), Some("master_key"));
        assert_eq!(closest("authentciate"), Some("authenticate"));
        assert_eq!(closest("begin"), None);
        assert_eq!(closest(""), None);
    }

    #[test]
    fn names_are_short_and_plain() {
        assert!(name("late_hook2").is_ok());
        for bad in ["", "none", "2late", "Late", "late-hook", "a name", "名", &"a".repeat(33)] {
            assert!(name(bad).is_err(), "{bad}");
        }
        assert_eq!(name("late-hook").unwrap_err().instead.as_deref(), Some("\"late_hook\""));
        assert_eq!(name("名").unwrap_err().instead, None);
    }

    #[test]
    fn digits_stand_in_threes() {
        assert_eq!([0, 999, 1_000, 1_048_576].map(grouped), ["0", "999", "1,000", "1,048,576"]);
    }
}
