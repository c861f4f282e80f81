// SPDX-License-Identifier: GPL-2.0

//! Colours of a terminal: three for how well something is, and bold.

/// For headings.
pub const BOLD: &str = "\x1b[1m";
const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";
const RED: &str = "\x1b[31m";
const RESET: &str = "\x1b[0m";

/// The colour of a word that tells a state; none for words that say neither good nor bad.
pub fn of_state(word: &str) -> &'static str {
    match word {
        "active" | "open" | "enabled" | "available" | "OK" | "FIXED" => GREEN,
        "pending" | "suspect" | "opening" | "disabled" | "WARN" => YELLOW,
        "gone" | "FAIL" => RED,
        _ => "",
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
