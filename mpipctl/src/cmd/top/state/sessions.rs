// SPDX-License-Identifier: GPL-2.0

//! The list of sessions: rates, order, filter.

use std::cmp::Ordering;
use std::collections::HashMap;
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

    fn matches(&self, words: &[String]) -> bool {
        let session = &self.session;
        let fields = [
            Some(session.id.to_string()),
            session.protocol.map(|it| it.to_string()),
            session.local.as_ref().map(ToString::to_string),
            session.remote.as_ref().map(ToString::to_string),
            session.state.map(|it| it.to_string()),
        ];
        let has = |word: &String| fields.iter().flatten().any(|it| it.contains(word.as_str()));
        words.iter().all(has)
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

    /// How many there are, shown or not.
    pub fn total(&self) -> usize {
        self.rows.len()
    }

    pub fn filter(&self) -> &str {
        &self.filter
    }

    pub fn set_filter(&mut self, filter: &str) {
        self.filter = filter.to_string();
        self.arrange();
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
        let words: Vec<String> = self
            .filter
            .to_lowercase()
            .split_whitespace()
            .map(str::to_string)
            .collect();
        let rows = &self.rows;
        self.shown = (0..rows.len())
            .filter(|at| words.is_empty() || rows[*at].matches(&words))
            .collect();
        let (column, descending) = self.order();
        self.shown.sort_by(|a, b| {
            let order = compare(column, &rows[*a], &rows[*b]);
            if descending {
                order.reverse()
            } else {
                order
            }
        });
    }
}

/// For quantities the largest come first, unless they are wanted the other way round.
fn is_descending(column: Column) -> bool {
    matches!(
        column,
        Column::Tx | Column::Rx | Column::Paths | Column::Held
    )
}

fn compare(column: Column, a: &SessionRow, b: &SessionRow) -> Ordering {
    let (x, y) = (&a.session, &b.session);
    let end = |end: &Option<Endpoint>| end.as_ref().map(|it| (it.addr, it.port));
    match column {
        Column::Proto => x.protocol.map(|it| it.0).cmp(&y.protocol.map(|it| it.0)),
        Column::Local => end(&x.local).cmp(&end(&y.local)),
        Column::Remote => end(&x.remote).cmp(&end(&y.remote)),
        Column::State => {
            let name = |s: &Session| s.state.map(|it| it.to_string());
            name(x).cmp(&name(y))
        }
        Column::Paths => a.active().cmp(&b.active()),
        Column::Tx => a.rates.tx_rate.cmp(&b.rates.tx_rate),
        Column::Rx => a.rates.rx_rate.cmp(&b.rates.rx_rate),
        Column::Held => x.held.cmp(&y.held),
        Column::Idle => x.idle_ms.cmp(&y.idle_ms),
    }
}

#[cfg(test)]
mod tests {
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
                assert_ne!(compare(*column, pair[0], pair[1]), wrong, "{column:?}");
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
}
