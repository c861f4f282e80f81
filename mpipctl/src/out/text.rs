// SPDX-License-Identifier: GPL-2.0

//! Aligned tables, and quantities as people write them.

use std::fmt::Display;
use std::io;
use std::io::Write;

use super::color;

/// What stands for a value that is not known.
const NONE: &str = "-";
const INDENT: &str = "    ";

/// A table whose rows may have lines of details below them.
#[derive(Clone, Debug)]
pub struct Table {
    header: Vec<&'static str>,
    rows: Vec<Row>,
}

/// The colour of a cell with this text.
type Brush = fn(&str) -> &'static str;

/// A row of a table, and the lines below it.
#[derive(Clone, Debug)]
pub struct Row {
    // All cells, and where each ends: there may be very many rows.
    text: Box<str>,
    ends: Box<[usize]>,
    details: Vec<String>,
}

impl Row {
    /// A row of these cells, with these lines below it.
    pub fn new(cells: &[String], details: Vec<String>) -> Self {
        let mut end = 0;
        let ends = cells.iter().map(|cell| {
            end += cell.len();
            end
        });
        Self {
            ends: ends.collect(),
            text: cells.concat().into(),
            details,
        }
    }

    fn cells(&self) -> impl Iterator<Item = &str> {
        let mut start = 0;
        self.ends.iter().map(move |&end| {
            let cell = &self.text[start..end];
            start = end;
            cell
        })
    }
}

impl Table {
    /// An empty table with these columns.
    pub fn new(header: Vec<&'static str>) -> Self {
        let rows = Vec::new();
        Self { header, rows }
    }

    /// A table of these rows.
    pub fn of(header: Vec<&'static str>, rows: Vec<Row>) -> Self {
        Self { header, rows }
    }

    /// Appends a row and the lines below it.
    pub fn row(&mut self, cells: Vec<String>, details: Vec<String>) {
        debug_assert_eq!(cells.len(), self.header.len());
        self.rows.push(Row::new(&cells, details));
    }

    /// Writes the table: aligned below its header, or with one line per row and neither
    /// alignment nor header.
    pub fn write(&self, out: &mut dyn Write, oneline: bool, color: bool) -> io::Result<()> {
        if oneline {
            self.write_oneline(out, color)
        } else {
            self.write_aligned(out, color)
        }
    }

    /// What a column is painted with.
    fn brush(&self, column: usize, color: bool) -> Brush {
        match self.header.get(column) {
            Some(&("STATE" | "AVAILABILITY" | "RESULT")) if color => color::of_state,
            _ => |_| "",
        }
    }

    fn brushes(&self, color: bool) -> Vec<Brush> {
        (0..self.header.len())
            .map(|column| self.brush(column, color))
            .collect()
    }

    fn write_oneline(&self, out: &mut dyn Write, color: bool) -> io::Result<()> {
        let brushes = self.brushes(color);
        for row in &self.rows {
            for (i, (cell, brush)) in row.cells().zip(&brushes).enumerate() {
                if i != 0 {
                    write!(out, " ")?;
                }
                write_painted(out, brush(cell), cell)?;
            }
            for line in &row.details {
                write!(out, " \\ {line}")?;
            }
            writeln!(out)?;
        }
        Ok(())
    }

    fn write_aligned(&self, out: &mut dyn Write, color: bool) -> io::Result<()> {
        let mut widths: Vec<usize> = self.header.iter().map(|h| h.len()).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row.cells()) {
                *width = (*width).max(cell.len());
            }
        }
        let bold: Brush = if color { |_| color::BOLD } else { |_| "" };
        let header = self.header.iter().copied();
        write_cells(out, header, &widths, &vec![bold; widths.len()])?;
        let brushes = self.brushes(color);
        for row in &self.rows {
            write_cells(out, row.cells(), &widths, &brushes)?;
            for line in &row.details {
                writeln!(out, "{INDENT}{line}")?;
            }
        }
        Ok(())
    }
}

/// The last cell is not padded, so that lines have no blanks at their end. Padding is not painted.
fn write_cells<'a>(
    out: &mut dyn Write,
    cells: impl Iterator<Item = &'a str>,
    widths: &[usize],
    brushes: &[Brush],
) -> io::Result<()> {
    let last = widths.len().saturating_sub(1);
    for (i, ((cell, &width), brush)) in cells.zip(widths).zip(brushes).enumerate() {
        write_painted(out, brush(cell), cell)?;
        if i == last {
            writeln!(out)?;
        } else {
            let padding = width.saturating_sub(cell.len()) + 1;
            write!(out, "{:padding$}", "")?;
        }
    }
    Ok(())
}

fn write_painted(out: &mut dyn Write, color: &str, text: &str) -> io::Result<()> {
    match color {
        "" => out.write_all(text.as_bytes()),
        _ => write!(out, "{}", color::paint(color, text)),
    }
}

/// A value, or what stands for none.
pub fn or_none<T: Display>(value: Option<T>) -> String {
    value.map_or_else(|| NONE.to_string(), |value| value.to_string())
}

/// A number with a decimal prefix: 999, 1.0k, 81.2M.
pub fn count(number: u64) -> String {
    let mut unit = 1u128;
    for prefix in ["", "k", "M", "G", "T", "P", "E"] {
        // In tenths, rounded, of 1000^n. What rounds up to 1000 has the next prefix.
        let tenths = (u128::from(number) * 10 + unit / 2) / unit;
        if unit == 1 && number < 1000 {
            return number.to_string();
        }
        if unit > 1 && tenths < 10_000 {
            return format!("{}.{}{prefix}", tenths / 10, tenths % 10);
        }
        unit *= 1000;
    }
    number.to_string()
}

/// Bytes per second as people call them: 48.1Mbit/s.
pub fn rate(bytes: u64) -> String {
    format!("{}bit/s", count(bytes.saturating_mul(8)))
}

/// A part of one: 0.0%, 1.2%, 100%.
pub fn percent(part: f64) -> String {
    if part >= 0.9995 {
        "100%".to_string()
    } else {
        format!("{:.1}%", part * 100.0)
    }
}

/// Microseconds: 350us, 12.4ms, 1.2s.
pub fn microseconds(us: i64) -> String {
    let sign = if us < 0 { "-" } else { "" };
    match us.unsigned_abs() {
        us @ 0..1_000 => format!("{sign}{us}us"),
        us @ 1_000..999_950 => {
            let tenths = (us + 50) / 100;
            format!("{sign}{}.{}ms", tenths / 10, tenths % 10)
        }
        us => {
            let tenths = us.saturating_add(50_000) / 100_000;
            format!("{sign}{}.{}s", tenths / 10, tenths % 10)
        }
    }
}

/// Milliseconds since something happened: 350ms, 3.2s, 2m05s, 3h12m, 2d03h.
pub fn milliseconds(ms: u64) -> String {
    let (seconds, tenths) = (ms / 1000, ms / 100 % 10);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match seconds {
        0 => format!("{ms}ms"),
        1..60 => format!("{seconds}.{tenths}s"),
        60..3600 => format!("{minutes}m{:02}s", seconds % 60),
        3600..86400 => format!("{hours}h{:02}m", minutes % 60),
        _ => format!("{days}d{:02}h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1.0k"),
            (1049, "1.0k"),
            (1050, "1.1k"),
            (999_949, "999.9k"),
            (999_950, "1.0M"),
            (81_234_567, "81.2M"),
            (u64::MAX, "18.4E"),
        ] {
            assert_eq!(count(number), text);
        }
    }

    #[test]
    fn rates_and_parts() {
        assert_eq!(rate(6_012_500), "48.1Mbit/s");
        assert_eq!(rate(u64::MAX), "18.4Ebit/s");
        for (part, text) in [
            (0.0, "0.0%"),
            (0.0123, "1.2%"),
            (0.9994, "99.9%"),
            (1.0, "100%"),
        ] {
            assert_eq!(percent(part), text);
        }
    }

    #[test]
    fn durations() {
        for (us, text) in [
            (0, "0us"),
            (999, "999us"),
            (12_449, "12.4ms"),
            (999_949, "999.9ms"),
            (999_950, "1.0s"),
            (-41_000, "-41.0ms"),
            (i64::MIN, "-9223372036854.8s"),
        ] {
            assert_eq!(microseconds(us), text);
        }
        for (ms, text) in [
            (0, "0ms"),
            (999, "999ms"),
            (3_250, "3.2s"),
            (59_999, "59.9s"),
            (125_000, "2m05s"),
            (11_520_000, "3h12m"),
            (183_600_000, "2d03h"),
        ] {
            assert_eq!(milliseconds(ms), text);
        }
    }

    fn table() -> Table {
        let mut table = Table::new(vec!["ID", "DEV", "STATE"]);
        let cells = ["1", "wwan0", "active"].map(str::to_string);
        table.row(cells.to_vec(), vec!["mtu 1500".to_string()]);
        let cells = ["200", "-", "gone"].map(str::to_string);
        table.row(cells.to_vec(), Vec::new());
        table
    }

    fn written(table: &Table, oneline: bool) -> String {
        let mut out = Vec::new();
        table.write(&mut out, oneline, false).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn tables() {
        assert_eq!(
            written(&table(), false),
            "ID  DEV   STATE\n1   wwan0 active\n    mtu 1500\n200 -     gone\n"
        );
        assert_eq!(
            written(&table(), true),
            "1 wwan0 active \\ mtu 1500\n200 - gone\n"
        );
        let empty = Table::new(vec!["ID", "DEV"]);
        assert_eq!(written(&empty, false), "ID DEV\n");
        assert_eq!(written(&empty, true), "");
    }

    #[test]
    fn colors() {
        let mut out = Vec::new();
        table().write(&mut out, false, true).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "\x1b[1mID\x1b[0m  \x1b[1mDEV\x1b[0m   \x1b[1mSTATE\x1b[0m\n\
             1   wwan0 \x1b[32mactive\x1b[0m\n    mtu 1500\n200 -     \x1b[31mgone\x1b[0m\n"
        );
    }
}
