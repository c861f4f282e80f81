// SPDX-License-Identifier: GPL-2.0

//! Quantities as `top` shows them, and text in columns.

use std::time::Duration;

use clap::ValueEnum;

use crate::cli::Column;
use crate::nl::Session;
use crate::out::text::milliseconds;
use crate::out::text::or_none;

/// An interval as short as it can be said: 500ms, 1s, 2.5s.
pub(super) fn seconds(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        format!("{}ms", time.as_millis())
    } else {
        format!("{}s", time.as_secs_f64())
    }
}

pub(super) fn idle(session: &Session) -> String {
    or_none(session.idle_ms.map(milliseconds))
}

/// The heading of a column is its name.
pub(super) fn title(column: Column) -> String {
    let value = column.to_possible_value();
    value.map_or_else(String::new, |value| value.get_name().to_uppercase())
}

/// Text of exactly this width. What is too long loses its beginning: an endpoint's port is at its
/// end.
pub(super) fn fit(text: &str, width: usize, right: bool) -> String {
    let length = text.chars().count();
    if length > width {
        let rest = text.chars().skip(length - width + usize::from(width > 0));
        let mark = if width > 0 { "…" } else { "" };
        return format!("{mark}{}", rest.collect::<String>());
    }
    if right {
        format!("{text:>width$}")
    } else {
        format!("{text:<width$}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities() {
        for (ms, text) in [
            (500, "500ms"),
            (1000, "1s"),
            (2500, "2.5s"),
            (60_000, "60s"),
        ] {
            assert_eq!(seconds(Duration::from_millis(ms)), text);
        }
    }

    #[test]
    fn text_fits() {
        for (text, width, right, fitting) in [
            ("tcp", 5, false, "tcp  "),
            ("7", 3, true, "  7"),
            ("10.0.1.1:54616", 8, false, "…1:54616"),
            ("10.0.1.1:54616", 1, false, "…"),
            ("10.0.1.1:54616", 0, false, ""),
            ("", 2, true, "  "),
        ] {
            assert_eq!(fit(text, width, right), fitting);
        }
    }
}
