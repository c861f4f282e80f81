// SPDX-License-Identifier: GPL-2.0

//! How `top` looks, on a screen of any size.

use ratatui::layout::Alignment;
use ratatui::layout::Constraint;
use ratatui::layout::Layout;
use ratatui::layout::Rect;
use ratatui::style::Color;
use ratatui::style::Modifier;
use ratatui::style::Style;
use ratatui::text::Line;
use ratatui::text::Span;
use ratatui::widgets::Block;
use ratatui::widgets::Clear;
use ratatui::widgets::Paragraph;
use ratatui::widgets::RenderDirection;
use ratatui::widgets::Sparkline;
use ratatui::Frame;

use super::state::Focus;
use super::state::PathRow;
use super::state::Sample;
use super::state::SessionRow;
use super::state::Top;
use super::text;
use crate::cli::Column;
use crate::out::color;
use crate::out::color::Health;
use crate::out::text::count;
use crate::out::text::microseconds;
use crate::out::text::or_none;
use crate::out::text::percent;
use crate::out::text::rate;

/// Lines of a path: who it is, its numbers, and its graphs.
const WORDS: u16 = 2;
const GRAPH: std::ops::RangeInclusive<u16> = 1..=4;
/// Its numbers and graphs stand side by side, with a blank between them.
const GRAPHS: [(&str, Color); 5] = [
    ("TX", Color::Green),
    ("RX", Color::Cyan),
    ("RTT", Color::Yellow),
    ("WEIGHT", Color::Blue),
    ("LOSS", Color::Red),
];
/// The sessions have so many lines at least, if there are as many, headings included.
const SESSIONS: u16 = 6;

const HELP: &[&str] = &[
    "q, Ctrl-C     quit",
    "Ctrl-Z        stop; fg goes on",
    "p, blank      pause",
    "s S, > <      order sessions by the next, the last column",
    "r             the other way round",
    "/             show sessions that have all these words",
    "Esc           show all again",
    "Tab           scroll the paths, or the sessions",
    "Up Down PgUp PgDn Home End, k j g G   scroll",
    "",
    "Graphs begin at 0; the latest is on the right.",
];

/// Whether there are colours.
#[derive(Clone, Copy, Debug)]
pub(super) struct Theme(pub bool);

impl Theme {
    fn paint(self, color: Color) -> Style {
        if self.0 {
            Style::new().fg(color)
        } else {
            Style::new()
        }
    }

    fn state(self, word: &str) -> Style {
        match color::health(word) {
            Some(Health::Good) => self.paint(Color::Green),
            Some(Health::Doubtful) => self.paint(Color::Yellow),
            Some(Health::Bad) => self.paint(Color::Red),
            None => Style::new(),
        }
    }
}

/// Draws everything. How much fits is noted for the keys that scroll by pages.
pub(super) fn draw(frame: &mut Frame<'_>, top: &mut Top, theme: Theme) {
    let area = frame.area();
    let body = area.height.saturating_sub(2);
    let wanted = u16::try_from(top.sessions.shown().len()).unwrap_or(u16::MAX);
    let sessions = wanted.saturating_add(2).min(SESSIONS.max(body / 3));
    let block = WORDS + GRAPH.end();
    let paths = u16::try_from(top.paths.len()).unwrap_or(u16::MAX);
    let paths = paths.saturating_mul(block).saturating_add(1);
    let paths = paths.min(body.saturating_sub(sessions));
    let [head, paths, sessions, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(paths),
        Constraint::Fill(1),
        Constraint::Length(1),
    ])
    .areas(area);
    draw_head(frame, head, top, theme);
    draw_paths(frame, paths, top, theme);
    draw_sessions(frame, sessions, top, theme);
    draw_foot(frame, foot, top);
    if top.help {
        draw_help(frame, area);
    }
}

fn draw_head(frame: &mut Frame<'_>, area: Rect, top: &Top, theme: Theme) {
    let Some(node) = &top.node else {
        return;
    };
    let right = match top.age() {
        _ if top.paused => Line::from("paused "),
        _ if top.is_blind() => Line::from("reading "),
        Some(age) => Line::styled(format!("{age}s old "), theme.paint(Color::Yellow)),
        None => Line::from(format!("every {} ", text::seconds(top.interval))),
    };
    let width = right.width() as u16;
    let [left, at] =
        Layout::horizontal([Constraint::Fill(1), Constraint::Length(width)]).areas(area);
    let state = if node.enabled { "enabled" } else { "disabled" };
    let line = Line::from(vec![
        Span::styled(
            format!(" mpip {} ", or_none(node.version.as_ref())),
            Modifier::BOLD,
        ),
        Span::styled(state, theme.state(state)),
        Span::raw(format!(
            "  netns {}  peers {}  sessions {}  paths {}/{}",
            top.netns,
            node.peers.unwrap_or(0),
            node.sessions.unwrap_or(0),
            node.active_paths.unwrap_or(0),
            node.paths.unwrap_or(0),
        )),
    ]);
    frame.render_widget(line, left);
    frame.render_widget(right, at);
}

/// A bar over the whole width; bright if the keys act on what is below.
fn heading(top: &Top, focus: Focus, words: String) -> Line<'static> {
    let style = if top.focus == focus {
        Style::new().add_modifier(Modifier::REVERSED | Modifier::BOLD)
    } else {
        Style::new().add_modifier(Modifier::REVERSED | Modifier::DIM)
    };
    Line::styled(words, style)
}

fn draw_heading(frame: &mut Frame<'_>, area: Rect, line: Line<'static>) {
    let area = Rect {
        height: area.height.min(1),
        ..area
    };
    let style = line.style;
    frame.render_widget(Paragraph::new(line).style(style), area);
}

/// `1-5 of 9`, or only how many if all are there.
fn extent(window: &std::ops::Range<usize>, length: usize) -> String {
    if window.len() == length {
        length.to_string()
    } else {
        format!("{}-{} of {length}", window.start + 1, window.end)
    }
}

fn draw_paths(frame: &mut Frame<'_>, area: Rect, top: &mut Top, theme: Theme) {
    if area.is_empty() {
        return;
    }
    let room = area.height - 1;
    let length = top.paths.len();
    // As many as fit with the smallest graphs; then what is left makes those larger.
    let fit = usize::from(room / (WORDS + GRAPH.start())).max(1);
    let window = top.path_scroll.window(length, fit);
    let visible = &top.paths[window.clone()];
    let height = match u16::try_from(visible.len()) {
        Ok(0) | Err(_) => 0,
        Ok(count) => (room / count).min(WORDS + GRAPH.end()),
    };
    let [columns, ..] = columns(Rect { height: 1, ..area });
    let scale = Scale::of(&top.paths, usize::from(columns.width));
    let mut words = format!(" PATHS {}", extent(&window, length));
    if top.paths.iter().any(|row| !row.history.is_empty()) {
        words += &format!("   graphs up to {}", scale.words());
    }
    draw_heading(frame, area, heading(top, Focus::Paths, words));
    for (at, row) in visible.iter().enumerate() {
        let y = area.y + 1 + at as u16 * height;
        let block = Rect { y, height, ..area }.intersection(area);
        draw_path(frame, block, row, &scale, theme);
    }
}

/// The places of the numbers, and of the graphs below them.
fn columns(area: Rect) -> [Rect; GRAPHS.len()] {
    let [_, area] = Layout::horizontal([Constraint::Length(1), Constraint::Fill(1)]).areas(area);
    let columns: [Rect; GRAPHS.len()] =
        Layout::horizontal([Constraint::Fill(1); GRAPHS.len()]).areas(area);
    columns.map(|column| Rect {
        width: column.width.saturating_sub(1),
        ..column
    })
}

/// What the graphs of all paths reach up to, so that they can be compared.
struct Scale {
    tops: [u64; GRAPHS.len()],
}

fn values(sample: &Sample) -> [u64; GRAPHS.len()] {
    let Sample {
        tx,
        rx,
        rtt,
        weight,
        loss,
    } = *sample;
    [tx, rx, rtt, weight, loss]
}

impl Scale {
    /// Of what is visible in so many columns. The weight's is what it can be; a loss that is not
    /// worth a look does not fill the graph.
    fn of(paths: &[PathRow], columns: usize) -> Self {
        let mut tops = [1, 1, 1, 1000, 10_000];
        for row in paths {
            for sample in row.history.iter().rev().take(columns) {
                for (top, value) in tops.iter_mut().zip(values(sample)) {
                    *top = value.max(*top);
                }
            }
        }
        Self { tops }
    }

    fn words(&self) -> String {
        let [tx, rx, rtt, _, loss] = self.tops;
        format!(
            "{}, {}, {}, {}",
            rate(tx),
            rate(rx),
            microseconds(rtt as i64),
            percent(loss as f64 / 1e6),
        )
    }
}

fn draw_path(frame: &mut Frame<'_>, area: Rect, row: &PathRow, scale: &Scale, theme: Theme) {
    let [who, numbers, graphs] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Fill(1),
    ])
    .areas(area);
    frame.render_widget(identity(row, theme), who);
    let path = &row.path;
    let texts = [
        or_none(row.rates.tx_rate.map(rate)),
        or_none(row.rates.rx_rate.map(rate)),
        or_none(row.rtt().map(|us| microseconds(us.into()))),
        or_none(path.weight),
        or_none(row.loss.map(percent)),
    ];
    for (n, (at, text)) in columns(numbers).into_iter().zip(texts).enumerate() {
        let (name, color) = GRAPHS[n];
        let name = Span::styled(format!("{name} "), theme.paint(color));
        frame.render_widget(Line::from(vec![name, Span::raw(text)]), at);
    }
    for (n, at) in columns(graphs).into_iter().enumerate() {
        let latest = row.history.iter().rev().take(at.width.into());
        let data: Vec<u64> = latest.map(|sample| values(sample)[n]).collect();
        let graph = Sparkline::default()
            .data(&data)
            .max(scale.tops[n])
            .direction(RenderDirection::RightToLeft)
            .style(theme.paint(GRAPHS[n].1));
        frame.render_widget(graph, at);
    }
}

fn identity(row: &PathRow, theme: Theme) -> Line<'static> {
    let path = &row.path;
    let index = path.ifindex.filter(|index| *index != 0);
    let dev = row.dev.clone().or(index.map(|index| format!("if{index}")));
    let state = or_none(path.state);
    let style = theme.state(&state);
    let mut rest = String::new();
    let fields = [
        ("queue", path.queue_us.map(|us| microseconds(us.into()))),
        ("way", path.way.map(|way| way.to_string())),
        ("lost", path.lost.map(|lost| lost.to_string())),
        ("reason", path.reason.map(|reason| reason.to_string())),
    ];
    for (name, value) in fields {
        if let Some(value) = value {
            rest += &format!("  {name} {value}");
        }
    }
    Line::from(vec![
        Span::styled(format!(" {} {}  ", path.id, or_none(dev)), Modifier::BOLD),
        Span::styled(state, style),
        Span::raw(format!(
            "  {} > {}{rest}",
            or_none(path.local),
            or_none(path.remote)
        )),
    ])
}

fn draw_sessions(frame: &mut Frame<'_>, area: Rect, top: &mut Top, theme: Theme) {
    if area.is_empty() {
        return;
    }
    let length = top.sessions.shown().len();
    let height = usize::from(area.height.saturating_sub(2));
    let window = top.session_scroll.window(length, height);
    let mut words = format!(" SESSIONS {}", extent(&window, length));
    if !top.sessions.filter().is_empty() {
        let (filter, total) = (top.sessions.filter(), top.sessions.total());
        words += &format!("   filter \"{filter}\", all are {total}");
    }
    draw_heading(frame, area, heading(top, Focus::Sessions, words));
    let rows: Vec<&SessionRow> = top.sessions.visible(window).collect();
    let order = top.sessions.order();
    let table = Sheet::new(&rows, usize::from(area.width), order.0);
    let titles = Line::styled(table.titles(order), Modifier::BOLD);
    let lines = [titles].into_iter().chain(table.lines(theme));
    let below = Rect {
        y: area.y + 1,
        height: area.height - 1,
        ..area
    };
    frame.render_widget(Paragraph::new(lines.collect::<Vec<_>>()), below);
}

/// The visible sessions as columns of text.
struct Sheet {
    columns: Vec<(Column, usize)>,
    cells: Vec<Vec<String>>,
}

impl Sheet {
    /// The addresses have what the others leave. The local one gives way first: its port says most.
    /// What they are ordered by is always shown.
    fn new(rows: &[&SessionRow], width: usize, order: Column) -> Self {
        let mut columns = vec![
            (Column::Proto, 6),
            (Column::Local, 0),
            (Column::Remote, 0),
            (Column::State, 7),
            (Column::Paths, 6),
            (Column::Tx, 6),
            (Column::Rx, 6),
            (Column::Idle, 5),
        ];
        if width >= 100 || order == Column::Held {
            columns.push((Column::Held, 5));
        }
        let cells: Vec<Vec<String>> = rows
            .iter()
            .map(|row| {
                columns
                    .iter()
                    .map(|(column, _)| cell(row, *column))
                    .collect()
            })
            .collect();
        let taken: usize = columns.iter().map(|(_, width)| width + 1).sum();
        let room = width.saturating_sub(taken + 1);
        let longest = |at: usize| {
            let lengths = cells.iter().map(|row| row[at].chars().count());
            lengths.max().unwrap_or(0).max(9)
        };
        let remote = longest(2).min(room.saturating_sub(9));
        columns[2].1 = remote;
        columns[1].1 = longest(1).min(room - remote);
        Self { columns, cells }
    }

    fn titles(&self, order: (Column, bool)) -> String {
        let mut line = " ".to_string();
        for (column, width) in &self.columns {
            let name = text::title(*column);
            let mark = match order {
                (by, true) if by == *column => "▼",
                (by, false) if by == *column => "▲",
                _ => "",
            };
            line += &text::fit(&format!("{name}{mark}"), *width, is_number(*column));
            line.push(' ');
        }
        line
    }

    fn lines(self, theme: Theme) -> impl Iterator<Item = Line<'static>> {
        let columns = self.columns;
        self.cells.into_iter().map(move |cells| {
            let mut spans = vec![Span::raw(" ")];
            for ((column, width), cell) in columns.iter().zip(cells) {
                let style = match column {
                    Column::State => theme.state(&cell),
                    _ => Style::new(),
                };
                let text = text::fit(&cell, *width, is_number(*column));
                spans.extend([Span::styled(text, style), Span::raw(" ")]);
            }
            Line::from(spans)
        })
    }
}

fn is_number(column: Column) -> bool {
    matches!(
        column,
        Column::Paths | Column::Tx | Column::Rx | Column::Held | Column::Idle
    )
}

fn cell(row: &SessionRow, column: Column) -> String {
    let session = &row.session;
    let bits = |rate: Option<u64>| or_none(rate.map(|rate| count(rate.saturating_mul(8))));
    match column {
        Column::Proto => or_none(session.protocol),
        Column::Local => or_none(session.local.as_ref()),
        Column::Remote => or_none(session.remote.as_ref()),
        Column::State => or_none(session.state),
        Column::Paths => format!("{}/{}", row.active(), session.lane.len()),
        Column::Tx => bits(row.rates.tx_rate),
        Column::Rx => bits(row.rates.rx_rate),
        Column::Held => or_none(session.held),
        Column::Idle => text::idle(session),
    }
}

fn draw_foot(frame: &mut Frame<'_>, area: Rect, top: &Top) {
    let line = match &top.typed {
        Some(typed) => Line::from(format!(" Filter: {typed}_   Enter keeps it, Esc shows all")),
        None => Line::from(" q quit  p pause  s sort  r reverse  / filter  Tab paths  h help"),
    };
    frame.render_widget(line, area);
}

fn draw_help(frame: &mut Frame<'_>, area: Rect) {
    let width = HELP.iter().map(|line| line.len()).max().unwrap_or(0) as u16 + 4;
    let height = HELP.len() as u16 + 2;
    let box_ = Rect {
        x: area.width.saturating_sub(width) / 2,
        y: area.height.saturating_sub(height) / 2,
        width: width.min(area.width),
        height: height.min(area.height),
    };
    let lines: Vec<Line<'_>> = HELP
        .iter()
        .map(|line| Line::from(format!(" {line}")))
        .collect();
    let block = Block::bordered()
        .title(" mpipctl top ")
        .title_alignment(Alignment::Center);
    frame.render_widget(Clear, box_);
    frame.render_widget(Paragraph::new(lines).block(block), box_);
}

#[cfg(test)]
mod tests;
