// SPDX-License-Identifier: GPL-2.0

//! The list of sessions: rates, order, filter.

use std::collections::HashMap;
use std::fmt;
use std::fmt::Write;
use std::net::IpAddr;
use std::ops::Range;
use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;

use super::Rates;
use crate::cli::Column;
use crate::nl::Endpoint;
use crate::nl::PathState;
use crate::nl::Session;

/// A session and how it does now.
#[derive(Clone, Debug, Serialize)]
pub(in crate::cmd::top) struct SessionRow {
    #[serde(flatten)]
    pub session: Session,
    #[serde(flatten)]
    pub rates: Rates,
}

impl SessionRow {
    /// Lanes that carry data.
    pub fn active(&self) -> usize {
        let lanes = self.session.lane.iter();
        lanes
            .filter(|lane| lane.state == Some(PathState::Active))
            .count()
    }

    fn bytes(session: &Session) -> (u64, u64) {
        let mut sum = (0u64, 0u64);
        for lane in &session.lane {
            sum.0 = sum.0.saturating_add(lane.tx_bytes.unwrap_or(0));
            sum.1 = sum.1.saturating_add(lane.rx_bytes.unwrap_or(0));
        }
        sum
    }

    /// Each peer numbers its own.
    fn key(session: &Session) -> (u64, u32) {
        (session.peer.map_or(0, |peer| peer.0), session.id)
    }

    /// What a filter looks at. No word of one has blanks.
    fn describe(&self, text: &mut String) -> fmt::Result {
        let session = &self.session;
        text.clear();
        write!(text, "{} ", session.id)?;
        if let Some(protocol) = session.protocol {
            write!(text, "{protocol} ")?;
        }
        for end in [&session.local, &session.remote].into_iter().flatten() {
            write!(text, "{end} ")?;
        }
        match session.state {
            Some(state) => write!(text, "{state}"),
            None => Ok(()),
        }
    }
}

/// A session has to have all of these words.
struct Words {
    words: Vec<String>,
    /// The same room for the description of every session: there may be very many.
    text: String,
}

impl Words {
    fn of(filter: &str) -> Self {
        let filter = filter.to_lowercase();
        let words = filter.split_whitespace().map(str::to_string).collect();
        let text = String::new();
        Self { words, text }
    }

    fn fit(&mut self, row: &SessionRow) -> bool {
        if self.words.is_empty() {
            return true;
        }
        let is_described = row.describe(&mut self.text).is_ok();
        is_described && self.words.iter().all(|word| self.text.contains(word))
    }
}

/// All sessions, and which of them are shown in which order.
#[derive(Debug)]
pub(in crate::cmd::top) struct Sessions {
    rows: Vec<SessionRow>,
    shown: Vec<usize>,
    order: Column,
    reversed: bool,
    filter: String,
}

impl Sessions {
    pub fn new(order: Column, filter: &str) -> Self {
        Self {
            rows: Vec::new(),
            shown: Vec::new(),
            order,
            reversed: false,
            filter: filter.to_string(),
        }
    }

    pub fn take(&mut self, sessions: Vec<Session>, elapsed: Duration) {
        let old = self.rows.iter().map(|row| {
            let session = &row.session;
            (SessionRow::key(session), SessionRow::bytes(session))
        });
        let old: HashMap<_, _> = old.collect();
        let rows = sessions.into_iter().map(|session| {
            let now = SessionRow::bytes(&session);
            let then = old.get(&SessionRow::key(&session));
            let rates = then.map(|then| Rates::between(*then, now, elapsed));
            let rates = rates.unwrap_or_default();
            SessionRow { session, rates }
        });
        self.rows = rows.collect();
        self.arrange();
    }

    /// What passes the filter, in order.
    pub fn shown(&self) -> impl ExactSizeIterator<Item = &SessionRow> {
        self.shown.iter().map(|at| &self.rows[*at])
    }

    /// These of them.
    pub fn visible(&self, window: Range<usize>) -> impl Iterator<Item = &SessionRow> {
        self.shown[window].iter().map(|at| &self.rows[*at])
    }

    /// How many there are, shown or not.
    pub fn total(&self) -> usize {
        self.rows.len()
    }

    pub fn filter(&self) -> &str {
        &self.filter
    }

    pub fn set_filter(&mut self, filter: &str) {
        let is_longer = filter.starts_with(&self.filter);
        self.filter = filter.to_string();
        if !is_longer {
            return self.arrange();
        }
        // What did not fit does not fit now, and the order stays.
        let mut words = Words::of(filter);
        let rows = &self.rows;
        self.shown.retain(|at| words.fit(&rows[*at]));
    }

    /// The column that decides, and whether its largest come first.
    pub fn order(&self) -> (Column, bool) {
        (self.order, is_descending(self.order) != self.reversed)
    }

    /// Takes the next column, or the one before, each in its natural direction.
    pub fn order_by_neighbour(&mut self, step: isize) {
        let all = Column::value_variants();
        let here = all.iter().position(|column| *column == self.order);
        let next = (here.unwrap_or(0) as isize + step).rem_euclid(all.len() as isize);
        self.order = all[next as usize];
        self.reversed = false;
        self.arrange();
    }

    pub fn reverse(&mut self) {
        self.reversed = !self.reversed;
        self.arrange();
    }

    fn arrange(&mut self) {
        let mut words = Words::of(&self.filter);
        let (column, descending) = self.order();
        let rows = self.rows.iter().enumerate();
        let found = rows.filter(|(_, row)| words.fit(row));
        let mut found: Vec<(Key, usize)> = found.map(|(at, row)| (key(column, row), at)).collect();
        // The kernel's order among equals, either way.
        found.sort_by(|(a, _), (b, _)| match descending {
            true => b.cmp(a),
            false => a.cmp(b),
        });
        self.shown = found.into_iter().map(|(_, at)| at).collect();
    }
}

/// For quantities the largest come first, unless they are wanted the other way round.
fn is_descending(column: Column) -> bool {
    matches!(
        column,
        Column::Tx | Column::Rx | Column::Paths | Column::Held
    )
}

/// What decides over the order.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Number(Option<u64>),
    End(Option<(IpAddr, Option<u16>)>),
    Word(Option<String>),
}

fn key(column: Column, row: &SessionRow) -> Key {
    let session = &row.session;
    let end = |end: &Option<Endpoint>| Key::End(end.as_ref().map(|it| (it.addr, it.port)));
    match column {
        Column::Proto => Key::Number(session.protocol.map(|it| it.0.into())),
        Column::Local => end(&session.local),
        Column::Remote => end(&session.remote),
        Column::State => Key::Word(session.state.map(|it| it.to_string())),
        Column::Paths => Key::Number(Some(row.active() as u64)),
        Column::Tx => Key::Number(row.rates.tx_rate),
        Column::Rx => Key::Number(row.rates.rx_rate),
        Column::Held => Key::Number(session.held.map(u64::from)),
        Column::Idle => Key::Number(session.idle_ms),
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use super::super::super::fixture::*;
    use super::*;

    fn ports(sessions: &Sessions) -> Vec<u16> {
        let rows = sessions.shown();
        rows.map(|row| row.session.local.as_ref().unwrap().port.unwrap())
            .collect()
    }

    #[test]
    fn the_busiest_come_first() {
        let mut top = top();
        top.take(look(0, 2, 3));
        assert_eq!(
            ports(&top.sessions),
            [5000, 5002, 5004],
            "the kernel's order"
        );
        top.take(look(1, 2, 3));
        assert_eq!(ports(&top.sessions), [5004, 5002, 5000]);
        let rates: Vec<_> = top.sessions.shown().map(|row| row.rates.tx_rate).collect();
        assert_eq!(rates, [Some(30_000), Some(20_000), Some(10_000)]);
        top.sessions.reverse();
        assert_eq!(ports(&top.sessions), [5000, 5002, 5004]);
        assert_eq!(top.sessions.order(), (Column::Tx, false));
    }

    #[test]
    fn every_column_orders_and_comes_round() {
        let mut top = top();
        top.take(look(0, 2, 20));
        top.take(look(1, 2, 20));
        for column in Column::value_variants() {
            top.sessions.order = *column;
            top.sessions.arrange();
            let shown: Vec<&SessionRow> = top.sessions.shown().collect();
            let descending = top.sessions.order().1;
            let wrong = if descending {
                Ordering::Less
            } else {
                Ordering::Greater
            };
            for pair in shown.windows(2) {
                let order = key(*column, pair[0]).cmp(&key(*column, pair[1]));
                assert_ne!(order, wrong, "{column:?}");
            }
        }
        let first = top.sessions.order();
        for _ in Column::value_variants() {
            top.sessions.order_by_neighbour(1);
        }
        assert_eq!(top.sessions.order(), first);
        top.sessions.order_by_neighbour(-1);
        top.sessions.order_by_neighbour(1);
        assert_eq!(top.sessions.order(), first);
    }

    #[test]
    fn words_of_a_filter_all_have_to_be_there() {
        let mut top = top();
        top.take(look(0, 2, 20));
        for (filter, count) in [
            ("", 20),
            ("tcp", 10),
            ("UDP", 10),
            ("udp 10.0.0.2:50", 10),
            ("udp tcp", 0),
            ("closing", 4),
            (":5012", 1),
        ] {
            top.sessions.set_filter(filter);
            assert_eq!(top.sessions.shown().len(), count, "{filter}");
            assert_eq!(top.sessions.total(), 20);
        }
    }

    #[test]
    fn a_filter_that_grows_finds_the_same_in_the_same_order() {
        let mut typed = top();
        typed.take(look(0, 2, 500));
        typed.take(look(1, 2, 500));
        let filter = "tcp :50 open";
        for end in (1..=filter.len()).chain((0..filter.len()).rev()) {
            typed.sessions.set_filter(&filter[..end]);
            let mut whole = top();
            whole.take(look(0, 2, 500));
            whole.sessions = Sessions::new(Column::Tx, &filter[..end]);
            whole.take(look(0, 2, 500));
            whole.take(look(1, 2, 500));
            assert_eq!(ports(&typed.sessions), ports(&whole.sessions), "{end}");
        }
    }
}
