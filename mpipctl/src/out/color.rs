// SPDX-License-Identifier: GPL-2.0

//! Colours of a terminal: three for how well something is, and bold.

/// For headings.
pub const BOLD: &str = "\x1b[1m";
const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";
const RED: &str = "\x1b[31m";
const RESET: &str = "\x1b[0m";

/// How well something is that is in a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// As it should be.
    Good,
    /// It may become good, or bad.
    Doubtful,
    /// It is of no use.
    Bad,
}

/// What a word that tells a state says; none for words that say neither good nor bad.
pub fn health(word: &str) -> Option<Health> {
    match word {
        "active" | "open" | "enabled" | "available" | "OK" | "FIXED" => Some(Health::Good),
        "pending" | "suspect" | "opening" | "disabled" | "WARN" => Some(Health::Doubtful),
        "gone" | "FAIL" => Some(Health::Bad),
        _ => None,
    }
}

/// The colour of such a word.
pub fn of_state(word: &str) -> &'static str {
    match health(word) {
        Some(Health::Good) => GREEN,
        Some(Health::Doubtful) => YELLOW,
        Some(Health::Bad) => RED,
        None => "",
    }
}

/// The text in a colour; as it is without one.
pub fn paint(color: &str, text: &str) -> String {
    if color.is_empty() {
        text.to_string()
    } else {
        format!("{color}{text}{RESET}")
    }
}
