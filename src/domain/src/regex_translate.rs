//! `$regex` patterns, as SDKs write them, in the words of the linear-time `regex` crate.
//!
//! SDKs write for a backtracking engine of the Perl family. Literals quoted by `\Q…\E` and characters that only the
//! crate finds special are rewritten; what it cannot do at all (looking around, back-references) is refused. Possessive
//! repetitions are read as plain ones. Owns the bounds on a pattern's cost.

use regex::{Regex, RegexBuilder};

/// The most bytes of a pattern.
const MOST_PATTERN_BYTES: usize = 1_000;
/// Compiled size in memory, which also bounds the time of compiling.
const MOST_COMPILED_BYTES: usize = 256 * 1024;
const MOST_CACHE_BYTES: usize = 512 * 1024;
const MOST_NESTING: u32 = 20;

/// Compiles a pattern with its `$options` (any of `i`, `m`, `s`, `x`). The error is for people.
pub fn compile(pattern: &str, options: &str) -> Result<Regex, String> {
    if pattern.len() > MOST_PATTERN_BYTES {
        return Err(format!("a $regex has at most {MOST_PATTERN_BYTES} bytes"));
    }
    let mut builder = RegexBuilder::new(&translate(pattern));
    for option in options.chars() {
        match option {
            'i' => builder.case_insensitive(true),
            'm' => builder.multi_line(true),
            's' => builder.dot_matches_new_line(true),
            'x' => builder.ignore_whitespace(true),
            _ => return Err(format!("the $options {option:?} is none of i, m, s, x")),
        };
    }
    builder.size_limit(MOST_COMPILED_BYTES).dfa_size_limit(MOST_CACHE_BYTES).nest_limit(MOST_NESTING);
    builder.build().map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => "the $regex is too large".to_owned(),
        // The last line says what is wrong; those before draw the pattern.
        error => {
            let text = error.to_string();
            format!("the $regex {}", text.lines().last().unwrap_or("is wrong").trim_start_matches("error: "))
        }
    })
}

fn translate(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut rest = pattern;
    let mut in_class = false;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        rest = match c {
            '\\' => escape(after, &mut out),
            '[' if !in_class => {
                in_class = true;
                out.push('[');
                class_start(after, &mut out)
            }
            // Inside a class the crate has classes and set operations; Perl has plain characters.
            '[' if !after.starts_with(':') => literal('[', after, &mut out),
            '&' | '~' if in_class => literal(c, after, &mut out),
            ']' if in_class => {
                in_class = false;
                out.push(']');
                after
            }
            '{' if !in_class && !is_repetition(after) => literal('{', after, &mut out),
            _ => {
                out.push(c);
                after
            }
        };
    }
    out
}

/// What follows a backslash; gives what is left behind it.
fn escape<'a>(after: &'a str, out: &mut String) -> &'a str {
    let Some(c) = after.chars().next() else {
        // A lone one at the end: the crate refuses it in its own words.
        out.push('\\');
        return after;
    };
    let rest = &after[c.len_utf8()..];
    match c {
        'Q' => {
            let (quoted, rest) = rest.split_once("\\E").unwrap_or((rest, ""));
            quoted.chars().for_each(|c| push_literal(c, out));
            return rest;
        }
        // An end without a beginning quotes nothing.
        'E' => {}
        // The end of the text, perhaps before a last line break.
        'Z' => out.push_str(r"(?:\n?\z)"),
        'h' => out.push_str(r"[ \t]"),
        // To the crate these are the edges of words.
        '<' | '>' => push_literal(c, out),
        c if c.is_ascii_alphanumeric() => {
            out.push('\\');
            out.push(c);
        }
        c => push_literal(c, out),
    }
    rest
}

/// The `^` and the `]` that may open a class.
fn class_start<'a>(mut rest: &'a str, out: &mut String) -> &'a str {
    if let Some(after) = rest.strip_prefix('^') {
        out.push('^');
        rest = after;
    }
    if let Some(after) = rest.strip_prefix(']') {
        push_literal(']', out);
        rest = after;
    }
    rest
}

fn literal<'a>(c: char, rest: &'a str, out: &mut String) -> &'a str {
    push_literal(c, out);
    rest
}

/// A character that means itself everywhere: in and outside of classes, with white space ignored and not.
fn push_literal(c: char, out: &mut String) {
    if c.is_alphanumeric() {
        out.push(c);
    } else {
        out.push_str(&format!("\\x{{{:X}}}", u32::from(c)));
    }
}

/// Whether what follows a `{` makes it a count: `n}`, `n,}` or `n,m}`.
fn is_repetition(after: &str) -> bool {
    let Some((inside, _)) = after.split_once('}') else { return false };
    let (low, high) = inside.split_once(',').unwrap_or((inside, ""));
    !low.is_empty() && low.bytes().chain(high.bytes()).all(|c| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, options: &str, text: &str) -> bool {
        compile(pattern, options).unwrap_or_else(|error| panic!("{pattern}: {error}")).is_match(text)
    }

    #[test]
    fn quoted_text_means_itself() {
        for (pattern, yes, no) in [
            (r"\Qa.b\E", "xa.bx", "axb"),
            (r"^\Qa.b\E", "a.bx", "xa.b"),
            (r"\Qa.b\E$", "xa.b", "a.bx"),
            (r"\Q[(*\E.\Q$\E", "[(*x$", "[(*$"),
            (r"\Qopen [end", "an open [end", "open end"),
            // How JS writes a literal that holds the end mark itself.
            (r"\Qa\E\\E\Qb\E", r"a\Eb", "aEb"),
            (r"a\Eb", "ab", r"a\Eb"),
        ] {
            assert!(matches(pattern, "", yes), "{pattern} {yes}");
            assert!(!matches(pattern, "", no), "{pattern} {no}");
        }
        assert!(matches(r"\Qa b#c\E", "x", "a b#c"));
    }

    #[test]
    fn options_do_what_they_say() {
        assert!(!matches("tea", "", "TEA") && matches("tea", "i", "TEA"));
        assert!(!matches("^b", "", "a\nb") && matches("^b", "m", "a\nb"));
        assert!(!matches("a.b", "", "a\nb") && matches("a.b", "s", "a\nb"));
        assert!(!matches("a b", "x", "a b") && matches("a b # ab", "x", "ab"));
        assert!(compile("a", "g").is_err());
    }

    #[test]
    fn what_only_the_crate_finds_special_is_plain() {
        for (pattern, text) in [
            ("a{b", "a{b"),
            ("{}", "{}"),
            ("a{2}", "aa"),
            ("a{1,}b{0,2}", "ab"),
            (r"\<b\>\/\-\ ", "<b>/- "),
            ("[a[b]+", "a[b"),
            ("[&&~~]{4}", "&~&~"),
            ("[]x]+$", "]x]"),
            ("[^]x]", "y"),
            ("[[:digit:]]+", "42"),
            (r"[\Q^-]\E]{3}", "^-]"),
            (r"é\.", "é."),
        ] {
            assert!(matches(pattern, "", text), "{pattern}");
        }
    }

    #[test]
    fn what_cannot_be_done_is_refused() {
        for pattern in ["(?=a)", "(?<!a)b", r"(a)\1", "(", "[", "(?P<a", "\\"] {
            let refused = compile(pattern, "");
            assert!(refused.as_ref().is_err_and(|error| error.starts_with("the $regex")), "{pattern}: {refused:?}");
        }
        assert!(compile(&"a".repeat(1_001), "").is_err());
        assert!(compile("((a{99}){99}){99}", "").is_err());
        assert!(compile(&format!("{}a{}", "(".repeat(100), ")".repeat(100)), "").is_err());
    }

    proptest! {
        #[test]
        fn any_quoted_text_finds_itself_and_only_itself(text in "\\PC{0,20}", options in "[imsx]{0,3}") {
            prop_assume!(!text.contains("\\E") && !text.ends_with('\\'));
            let regex = compile(&format!("^\\Q{text}\\E$"), &options).unwrap();
            prop_assert!(regex.is_match(&text));
            let doubled = format!("{text}{text}x");
            prop_assert!(!regex.is_match(&doubled));
        }

        #[test]
        fn no_pattern_panics(pattern in "\\PC{0,30}", more in "[\\\\\\[\\]{}&~^QEx-]{0,12}") {
            let _ = compile(&pattern, "");
            let _ = compile(&more, "");
        }
    }
}
