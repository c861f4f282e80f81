// SPDX-License-Identifier: GPL-2.0

//! What `top` knows and what keys do to it: no clock, no kernel, no terminal.

mod sessions;

use std::collections::HashMap;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use ratatui::crossterm::event::KeyCode;
use ratatui::crossterm::event::KeyEvent;
use ratatui::crossterm::event::KeyModifiers;
use serde::Serialize;

use crate::cli::Column;
use crate::nl::Node;
use crate::nl::Path;
use crate::nl::PathState;
use crate::nl::Session;

pub(super) use sessions::SessionRow;
pub(super) use sessions::Sessions;

/// So many samples of each path are kept; a graph shows as many as it has columns.
const HISTORY: usize = 512;

const SECOND: Duration = Duration::from_secs(1);

/// What a graph shows at most: it multiplies by its height.
const HIGHEST: u64 = u64::MAX >> 10;

/// One look at the kernel.
#[derive(Debug)]
pub(super) struct Snapshot {
    /// When, on a clock that only goes forward.
    pub at: Duration,
    pub node: Node,
    /// Each with the name of its interface.
    pub paths: Vec<(Path, Option<String>)>,
    pub sessions: Vec<Session>,
}

/// What moved between two looks, in bytes per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Rates {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tx_rate: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rx_rate: Option<u64>,
}

impl Rates {
    /// From counts of bytes and the time between them. A count that has shrunk began anew.
    pub fn between(then: (u64, u64), now: (u64, u64), elapsed: Duration) -> Self {
        let rate = |then: u64, now: u64| {
            let bytes = if now >= then { now - then } else { now };
            let rate = (u128::from(bytes) * 1_000_000).checked_div(elapsed.as_micros())?;
            u64::try_from(rate).ok()
        };
        Self {
            tx_rate: rate(then.0, now.0),
            rx_rate: rate(then.1, now.1),
        }
    }
}

/// A column of a path's graphs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sample {
    pub tx: u64,
    pub rx: u64,
    /// Round trip, microseconds.
    pub rtt: u64,
    pub weight: u64,
    /// Parts of a million.
    pub loss: u64,
}

/// A path, how it does now, and how it did.
#[derive(Clone, Debug, Serialize)]
pub(super) struct PathRow {
    #[serde(flatten)]
    pub path: Path,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dev: Option<String>,
    #[serde(flatten)]
    pub rates: Rates,
    /// The part of what was sent since the last look that was lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<f64>,
    /// The latest sample is the last.
    #[serde(skip)]
    pub history: VecDeque<Sample>,
}

impl PathRow {
    /// A path id may be used again for other addresses.
    fn key(path: &Path) -> (u64, u8, Option<IpAddr>, Option<IpAddr>) {
        (path.peer.0, path.id, path.local, path.remote)
    }

    /// The round trip, if one was measured.
    pub fn rtt(&self) -> Option<u32> {
        self.path.srtt_us.filter(|us| *us != 0)
    }

    fn sample(&self) -> Sample {
        let rate = |rate: Option<u64>| rate.unwrap_or(0).min(HIGHEST);
        Sample {
            tx: rate(self.rates.tx_rate),
            rx: rate(self.rates.rx_rate),
            rtt: self.rtt().unwrap_or(0).into(),
            weight: self.path.weight.unwrap_or(0).into(),
            loss: self.loss.map_or(0, |loss| (loss * 1e6) as u64),
        }
    }

    fn new(path: Path, dev: Option<String>, before: Option<(Self, Duration)>) -> Self {
        let mut row = Self {
            path,
            dev,
            rates: Rates::default(),
            loss: None,
            history: VecDeque::new(),
        };
        let Some((old, elapsed)) = before else {
            return row;
        };
        let bytes = |p: &Path| (p.tx_bytes.unwrap_or(0), p.rx_bytes.unwrap_or(0));
        row.rates = Rates::between(bytes(&old.path), bytes(&row.path), elapsed);
        row.loss = loss(&old.path, &row.path);
        row.history = old.history;
        if row.history.len() == HISTORY {
            row.history.pop_front();
        }
        row.history.push_back(row.sample());
        row
    }
}

/// Unknown while nothing is sent. What is lost is noticed later than it was sent.
fn loss(old: &Path, new: &Path) -> Option<f64> {
    let grown = |then: Option<u64>, now: Option<u64>| Some(now?.saturating_sub(then?));
    let sent = grown(old.tx_packets, new.tx_packets)?;
    let lost = grown(old.lost, new.lost)?;
    (sent != 0).then(|| (lost as f64 / sent as f64).min(1.0))
}

/// Which part of the screen is scrolled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Focus {
    Paths,
    #[default]
    Sessions,
}

/// What a key asks of whoever draws.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Stay,
    Quit,
    Suspend,
}

/// A place in a list that is longer than the screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Scroll {
    pub first: usize,
    /// How many were visible when it was drawn.
    pub height: usize,
}

impl Scroll {
    /// Which of `length` are visible with this height; what was scrolled too far comes back.
    pub fn window(&mut self, length: usize, height: usize) -> std::ops::Range<usize> {
        self.height = height;
        self.first = self.first.min(length.saturating_sub(height));
        self.first..length.min(self.first + height)
    }
}

/// All that `top` shows.
#[derive(Debug)]
pub(super) struct Top {
    pub netns: String,
    pub interval: Duration,
    /// On the clock of the looks.
    pub now: Duration,
    pub node: Option<Node>,
    pub paths: Vec<PathRow>,
    pub sessions: Sessions,
    pub focus: Focus,
    pub path_scroll: Scroll,
    pub session_scroll: Scroll,
    pub paused: bool,
    pub help: bool,
    /// The filter while it is typed.
    pub typed: Option<String>,
    last: Option<Duration>,
}

impl Top {
    pub fn new(netns: String, interval: Duration, order: Column, filter: &str) -> Self {
        Self {
            netns,
            interval,
            now: Duration::ZERO,
            node: None,
            paths: Vec::new(),
            sessions: Sessions::new(order, filter),
            focus: Focus::default(),
            path_scroll: Scroll::default(),
            session_scroll: Scroll::default(),
            paused: false,
            help: false,
            typed: None,
            last: None,
        }
    }

    /// Takes the next look and compares it with the last one.
    pub fn take(&mut self, snapshot: Snapshot) {
        let elapsed = self.last.map(|last| snapshot.at.saturating_sub(last));
        self.last = Some(snapshot.at);
        self.node = Some(snapshot.node);
        let old = std::mem::take(&mut self.paths);
        let mut old: HashMap<_, _> = old
            .into_iter()
            .map(|row| (PathRow::key(&row.path), row))
            .collect();
        let rows = snapshot.paths.into_iter().map(|(path, dev)| {
            let before = old.remove(&PathRow::key(&path)).zip(elapsed);
            PathRow::new(path, dev, before)
        });
        self.paths = rows.collect();
        // What carries data first; the kernel's order among equals.
        self.paths
            .sort_by_key(|row| row.path.state != Some(PathState::Active));
        self.sessions
            .take(snapshot.sessions, elapsed.unwrap_or_default());
    }

    /// How old in whole seconds the last look is, when the next one should have come a second ago.
    pub fn age(&self) -> Option<u64> {
        let age = self.now.saturating_sub(self.last?);
        (age >= self.interval + SECOND).then_some(age.as_secs())
    }

    /// When that will be another number.
    pub fn ages(&self) -> Option<Duration> {
        let last = self.last?;
        let age = self.now.saturating_sub(last).as_secs();
        let first = self.interval + SECOND;
        Some(last + first.max(Duration::from_secs(age) + SECOND))
    }

    /// Whether the first look is still to come.
    pub fn is_blind(&self) -> bool {
        self.last.is_none()
    }

    /// Does what a key means.
    pub fn press(&mut self, key: KeyEvent) -> Step {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return match key.code {
                KeyCode::Char('c') => Step::Quit,
                KeyCode::Char('z') => Step::Suspend,
                _ => Step::Stay,
            };
        }
        if let Some(typed) = self.typed.take() {
            self.typed = self.edit(typed, key.code);
            return Step::Stay;
        }
        if self.help {
            self.help = false;
            return Step::Stay;
        }
        let scroll = match self.focus {
            Focus::Paths => &mut self.path_scroll,
            Focus::Sessions => &mut self.session_scroll,
        };
        let page = scroll.height.max(1);
        match key.code {
            KeyCode::Char('q') => return Step::Quit,
            KeyCode::Char('h' | '?') => self.help = true,
            KeyCode::Char('p' | ' ') => self.paused = !self.paused,
            KeyCode::Char('s' | '>') | KeyCode::Right => self.sessions.order_by_neighbour(1),
            KeyCode::Char('S' | '<') | KeyCode::Left => self.sessions.order_by_neighbour(-1),
            KeyCode::Char('r') => self.sessions.reverse(),
            KeyCode::Char('/') => self.typed = Some(self.sessions.filter().to_string()),
            KeyCode::Esc => self.sessions.set_filter(""),
            KeyCode::Tab | KeyCode::BackTab => {
                self.focus = match self.focus {
                    Focus::Paths => Focus::Sessions,
                    Focus::Sessions => Focus::Paths,
                }
            }
            KeyCode::Up | KeyCode::Char('k') => scroll.first = scroll.first.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => scroll.first = scroll.first.saturating_add(1),
            KeyCode::PageUp => scroll.first = scroll.first.saturating_sub(page),
            KeyCode::PageDown => scroll.first = scroll.first.saturating_add(page),
            KeyCode::Home | KeyCode::Char('g') => scroll.first = 0,
            KeyCode::End | KeyCode::Char('G') => scroll.first = usize::MAX - page,
            _ => {}
        }
        Step::Stay
    }

    /// What is typed counts at once; leaving with Esc takes the filter away.
    fn edit(&mut self, mut typed: String, key: KeyCode) -> Option<String> {
        let mut done = false;
        match key {
            KeyCode::Enter => done = true,
            KeyCode::Esc => {
                typed.clear();
                done = true;
            }
            KeyCode::Backspace => {
                typed.pop();
            }
            KeyCode::Char(c) => typed.push(c),
            _ => {}
        }
        self.sessions.set_filter(&typed);
        (!done).then_some(typed)
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::*;
    use super::*;

    #[test]
    fn rates_come_from_two_looks() {
        let mut top = top();
        top.take(look(0, 2, 3));
        assert_eq!(top.paths[0].rates, Rates::default());
        assert!(top.paths[0].history.is_empty());
        top.take(look(2, 2, 3));
        let row = &top.paths[0];
        assert_eq!(row.rates.tx_rate, Some(5_000_000));
        assert_eq!(row.rates.rx_rate, Some(100_000));
        assert_eq!(row.loss, Some(0.01));
        assert_eq!(row.history.len(), 1);
        assert_eq!(row.history[0].loss, 10_000);
        assert_eq!(row.history[0].rtt, 12_000);
    }

    #[test]
    fn counts_that_begin_anew() {
        let second = Duration::from_secs(1);
        let rates = Rates::between((1000, 5), (300, 5), second);
        assert_eq!((rates.tx_rate, rates.rx_rate), (Some(300), Some(0)));
        let rates = Rates::between((0, 0), (u64::MAX, 1), Duration::from_micros(1));
        assert_eq!((rates.tx_rate, rates.rx_rate), (None, Some(1_000_000)));
        let rates = Rates::between((0, 0), (1, 1), Duration::ZERO);
        assert_eq!(rates, Rates::default());
    }

    #[test]
    fn a_path_with_other_addresses_is_another_path() {
        let mut top = top();
        top.take(look(0, 1, 0));
        top.take(look(1, 1, 0));
        let mut next = look(2, 1, 0);
        next.paths[0].0.local = Some("10.9.9.9".parse().unwrap());
        top.take(next);
        assert!(top.paths[0].history.is_empty());
        assert_eq!(top.paths[0].rates, Rates::default());
    }

    #[test]
    fn history_is_bounded() {
        let mut top = top();
        for second in 0..HISTORY as u64 + 9 {
            top.take(look(second, 1, 0));
        }
        assert_eq!(top.paths[0].history.len(), HISTORY);
    }

    #[test]
    fn keys_scroll_within_the_list() {
        let mut top = top();
        top.take(look(0, 1, 50));
        let visible = |top: &mut Top| top.session_scroll.window(50, 10);
        assert_eq!(visible(&mut top), 0..10);
        for (keys, window) in [
            (vec![KeyCode::Up], 0..10),
            (vec![KeyCode::Down, KeyCode::Char('j')], 2..12),
            (vec![KeyCode::PageDown], 12..22),
            (vec![KeyCode::End, KeyCode::Down], 40..50),
            (vec![KeyCode::PageUp], 30..40),
            (vec![KeyCode::Tab, KeyCode::Home], 30..40),
            (vec![KeyCode::Tab, KeyCode::Home], 0..10),
        ] {
            for key in &keys {
                assert_eq!(press(&mut top, *key), Step::Stay);
            }
            assert_eq!(visible(&mut top), window, "{keys:?}");
        }
        assert_eq!(top.session_scroll.window(3, 10), 0..3);
        assert_eq!(top.session_scroll.window(0, 0), 0..0);
    }

    #[test]
    fn keys_quit_and_suspend() {
        let mut top = top();
        assert_eq!(press(&mut top, KeyCode::Char('q')), Step::Quit);
        let control = |c| KeyEvent::new(KeyCode::Char(c), KeyModifiers::CONTROL);
        assert_eq!(top.press(control('c')), Step::Quit);
        assert_eq!(top.press(control('z')), Step::Suspend);
        // Help takes the next key, whatever it is.
        press(&mut top, KeyCode::Char('h'));
        assert_eq!(press(&mut top, KeyCode::Char('q')), Step::Stay);
        assert!(!top.help);
        // A filter may hold any letter.
        press(&mut top, KeyCode::Char('/'));
        assert_eq!(press(&mut top, KeyCode::Char('q')), Step::Stay);
        assert_eq!(top.typed.as_deref(), Some("q"));
    }

    #[test]
    fn a_filter_counts_while_it_is_typed() {
        let mut top = top();
        top.take(look(0, 1, 50));
        press(&mut top, KeyCode::Char('/'));
        for c in "TCP :5007".chars() {
            press(&mut top, KeyCode::Char(c));
        }
        assert_eq!(top.sessions.shown().len(), 0, "local ports are even");
        press(&mut top, KeyCode::Backspace);
        assert_eq!(top.sessions.filter(), "TCP :500");
        assert_eq!(top.sessions.shown().len(), 3);
        press(&mut top, KeyCode::Enter);
        assert_eq!(
            (top.typed.as_ref(), top.sessions.filter()),
            (None, "TCP :500")
        );
        press(&mut top, KeyCode::Char('/'));
        assert_eq!(top.typed.as_deref(), Some("TCP :500"));
        press(&mut top, KeyCode::Esc);
        assert_eq!(top.sessions.shown().len(), 50);
    }

    fn press(top: &mut Top, code: KeyCode) -> Step {
        top.press(KeyEvent::from(code))
    }
}
