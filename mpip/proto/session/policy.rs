// SPDX-License-Identifier: GPL-2.0

//! Which lanes the rules leave to a packet.

use super::Hold;
use super::Lane;
use super::LaneState;
use super::Mask;
use super::PathInfo;
use super::Session;
use super::ALL;
use super::MAX_LANES;
use crate::proto::bits::bits;
use crate::proto::interface::Reserve;
use crate::proto::path::Standing;
use crate::proto::policy::Interfaces;
use crate::proto::policy::Limits;
use crate::proto::policy::Mode;
use crate::proto::policy::Treatment;

/// A path that is nearer by less than this is not worth moving for, microseconds.
const NEARER_US: i32 = 5_000;
/// Nor is one that is quicker by less than this because of queues: one's own would move along.
const QUICKER_US: i32 = 100_000;
/// How long it has to be so before a session moves, microseconds.
const STEADY_US: u32 = 500_000;

/// A suspect path gets copies until it has been silent for so long, microseconds.
const SILENT_US: u32 = 2_000_000;

/// What rules remember of a session's lanes, so that a path at the edge of a limit, or two that are
/// about as quick, do not take turns.
#[derive(Copy, Clone, Debug)]
pub(super) struct Habits {
    // Lanes that keep to the limits.
    admitted: Mask,
    // The lane of single mode; with `TEMPTED` another one has been better since `since`.
    single: u8,
    // In `SINCE_BITS`th parts of the clock.
    since: u16,
}

/// See [`Habits`].
const TEMPTED: u8 = 0x80;

/// Bits of the clock, microseconds, that make no difference to when another lane became better.
const SINCE_BITS: u32 = 14;
/// So much later, in the same parts, may a time be that was read on another CPU: a second.
const SKEW: u16 = (1_000_000 >> SINCE_BITS) as u16;

impl Habits {
    pub(super) const fn new() -> Habits {
        Habits {
            admitted: Mask(u8::MAX),
            single: 0,
            since: 0,
        }
    }

    /// The lane of single mode.
    fn lane(&self) -> usize {
        usize::from(self.single & !TEMPTED)
    }

    fn settle(&mut self, lane: usize) {
        self.single = lane as u8 & !TEMPTED;
    }

    /// Another lane is better now: whether it has been for long.
    fn tempt(&mut self, now: u32) -> bool {
        let now = (now >> SINCE_BITS) as u16;
        if self.single & TEMPTED == 0 {
            self.single |= TEMPTED;
            self.since = now;
        }
        let since = now.wrapping_sub(self.since);
        // Whoever was first may have read his clock later, on another CPU.
        since < u16::MAX - SKEW && u32::from(since) > STEADY_US >> SINCE_BITS
    }
}

/// Why an active lane carries no data of the session's own rule.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Unused {
    /// The rule wants the original one alone.
    Never,
    /// The rule names other interfaces.
    Interface,
    /// The path does not keep to the rule's limits.
    Limits,
    /// The rule wants one path, and another one is quicker or was chosen before.
    NotChosen,
    /// Other lanes have taken the original one's place.
    Replaced,
    /// Other paths can be relied on better.
    Unreliable,
    /// Its interface is not to be used.
    Excluded,
    /// The path itself is not to be used.
    Disabled,
    /// It is used only when nothing else works.
    Reserve(Reserve),
}

impl Unused {
    /// Whether a rule or a setting is to blame, and the path would do.
    pub const fn is_policy(self) -> bool {
        !matches!(
            self,
            Unused::Replaced | Unused::Unreliable | Unused::Excluded | Unused::Disabled
        )
    }
}

/// That with the least delay, which has the clocks' offset in it, and may wrap.
fn least<T>(delays: impl Iterator<Item = (i32, T)>) -> Option<(i32, T)> {
    delays.reduce(|a, b| match b.0.wrapping_sub(a.0) {
        ..0 => b,
        _ => a,
    })
}

impl<P: PathInfo, D, H: Hold<Lane<P, D>>> Session<P, D, H> {
    /// Other rules apply from now on.
    pub fn forget_habits(&mut self) {
        self.habits = Habits::new();
    }

    /// The lanes that packets treated like this may take, one bit each; never none. Those that come
    /// into question if they were quicker or better are looked after.
    pub fn lanes_for(&mut self, now: u32, treatment: &Treatment) -> u32 {
        let lanes = self.lanes_by(&treatment.interfaces);
        self.watched = Mask::new(lanes);
        match treatment.mode {
            Mode::All | Mode::Protected => lanes,
            Mode::Selected => self.within(lanes, &treatment.limits),
            Mode::Single => self.single(now, lanes),
            Mode::Never => 1,
        }
    }

    /// The lanes that get a copy of a packet which takes one of those in the mask `first`: all
    /// others that answer, be they as reliable or not, or have done so a moment ago. Who loses as
    /// much as these seems silent now and then.
    pub fn copies(&self, now: u32, first: u32, treatment: &Treatment) -> u32 {
        if treatment.mode != Mode::Protected {
            return 0;
        }
        let by = |lane: &Lane<P, D>| treatment.interfaces.contains(lane.path.ifindex());
        // Without one of its interfaces the rule's choice is void, as for the packet itself.
        let bound = !treatment.interfaces.is_any() && self.mask(first, by) != 0;
        let replaced = self.is_replaced();
        let among = self.active.get() & self.unreserved() & !first;
        let answers = self.mask(among, |lane| {
            let usable = match lane.path.standing() {
                Standing::Down => false,
                Standing::Suspect => lane.path.silent_us(now) < SILENT_US,
                _ => true,
            };
            usable && (!bound || by(lane))
        });
        answers & !u32::from(replaced)
    }

    /// Why a lane is not among those that [`Session::lanes_for`] or [`Session::copies`] give;
    /// `None` if it is, or is not active.
    pub fn why_unused(&mut self, now: u32, index: usize, treatment: &Treatment) -> Option<Unused> {
        let lane = self.lane(index)?;
        let bit = 1u32.checked_shl(index as u32)?;
        let elsewhere =
            !treatment.interfaces.is_any() && !treatment.interfaces.contains(lane.path.ifindex());
        let active = lane.state == LaneState::Active;
        let (excluded, reserve) = (lane.path.is_excluded(), lane.path.reserve());
        let disabled = lane.path.is_disabled();
        let used = self.lanes_for(now, treatment);
        if !active || (used | self.copies(now, used, treatment)) & bit != 0 {
            return None;
        }
        let reserve = reserve.filter(|_| self.unreserved() & bit == 0);
        Some(match (treatment.mode, reserve) {
            (Mode::Never, _) => Unused::Never,
            _ if excluded => Unused::Excluded,
            _ if disabled => Unused::Disabled,
            (_, Some(reserve)) => Unused::Reserve(reserve),
            _ if elsewhere => Unused::Interface,
            (Mode::Selected, _) if self.watched.get() & bit != 0 => Unused::Limits,
            (Mode::Single, _) if self.watched.get() & bit != 0 => Unused::NotChosen,
            _ if index == 0 && self.is_replaced() => Unused::Replaced,
            _ => Unused::Unreliable,
        })
    }

    /// The lanes that are not kept in reserve, if one of them works; else all. One bit each, and
    /// more.
    pub(super) fn unreserved(&self) -> u32 {
        let reserve = self.mask(self.active.get(), |lane| lane.path.reserve().is_some());
        // This is what it nearly always is.
        if reserve == 0 || self.reliable(!reserve).0 <= Standing::Suspect {
            return u32::MAX;
        }
        !reserve
    }

    /// The most reliable lanes by one of these interfaces; of all if none of those works. A lane
    /// that is kept in reserve is none of them while another one works, whatever the rule says.
    fn lanes_by(&self, interfaces: &Interfaces) -> u32 {
        let among = self.unreserved();
        if !interfaces.is_any() {
            let wanted = self.mask(among, |lane| interfaces.contains(lane.path.ifindex()));
            let (standing, lanes) = self.reliable(wanted);
            if standing > Standing::Suspect {
                return lanes;
            }
        }
        self.reliable(among).1
    }

    /// Those of the lanes in `among` that `wanted` says, one bit each.
    pub(super) fn mask(&self, among: u32, wanted: impl Fn(&Lane<P, D>) -> bool) -> u32 {
        self.those(among)
            .filter(|(_, lane)| wanted(lane))
            .fold(0, |mask, (i, _)| mask | (1 << i))
    }

    /// Lanes on paths that keep to the limits. One that did not before has to be better than that
    /// by a quarter.
    fn within(&mut self, lanes: u32, limits: &Limits) -> u32 {
        let delays = self.delays();
        let keeps = |i: usize, lane: &Lane<P, D>| {
            let known = self.habits.admitted.get() & (1 << i) != 0;
            let worse = |limit: u32| limit.saturating_sub(if known { 0 } else { limit / 4 });
            let delay = delays.get(i).copied().flatten();
            let loss = lane.path.loss().saturating_mul(1000) / 1024;
            let rate = lane.path.rate();
            let more = if known { 0 } else { limits.rate / 4 };
            let least = limits.rate.saturating_add(more);
            // One whose delay is not known has to wait until it is.
            (limits.delay_us == u32::MAX || delay.is_some_and(|us| us <= worse(limits.delay_us)))
                && loss <= worse(limits.loss)
                && (rate == 0 || rate >= least)
                && lane.path.cost() <= limits.cost
        };
        let good = self
            .those(lanes)
            .filter(|(i, lane)| keeps(*i, lane))
            .fold(0u32, |mask, (i, _)| mask | (1 << i));
        self.habits.admitted = Mask::new(good);
        if good != 0 {
            return good;
        }
        let known = |i: &usize| Some((delays.get(*i).copied().flatten()?, *i));
        bits(lanes & ALL)
            .filter_map(|i| known(&i))
            .min()
            .map_or(lanes, |(_, i)| 1 << i)
    }

    /// One-way delay towards the peer on each lane's path, microseconds, where it is known: half
    /// the least round trip of the nearest path, and how much later something arrives than it would
    /// there. The offset of the clocks cancels out.
    fn delays(&self) -> [Option<u32>; MAX_LANES] {
        let mut delays = [None; MAX_LANES];
        let active = |l: &&Lane<P, D>| l.state == LaneState::Active;
        let lanes = self.lanes.iter().map(|l| l.as_deref().filter(active));
        let known = lanes
            .clone()
            .flatten()
            .filter_map(|l| Some((l.path.base_us()?, l.path.base_rtt_us())));
        let Some((base, rtt)) = least(known) else {
            return delays;
        };
        for (slot, lane) in delays.iter_mut().zip(lanes) {
            let delay = lane.and_then(|l| l.path.delay_us());
            *slot = delay.map(|us| (rtt / 2).saturating_add_signed(us.wrapping_sub(base).max(0)));
        }
        delays
    }

    /// The one lane of single mode.
    fn single(&mut self, now: u32, lanes: u32) -> u32 {
        let distance = |i: usize| Some((self.lane(i)?.path.base_us()?, i));
        let among = || bits(lanes & ALL);
        let nearest = least(among().filter_map(distance));
        let mine = self.habits.lane();
        let first = || among().next().unwrap_or(0);
        let choice = match nearest {
            // It has failed: the next one at once.
            _ if lanes & (1 << mine) == 0 => nearest.map_or_else(first, |(_, i)| i),
            None => mine,
            Some((_, i)) if self.is_better(i, mine) => i,
            Some(_) => among().find(|i| self.is_better(*i, mine)).unwrap_or(mine),
        };
        let moves = lanes & (1 << mine) == 0 || choice == mine;
        if moves || self.habits.tempt(now) {
            self.habits.settle(choice);
        }
        1 << self.habits.lane()
    }

    /// Whether a lane's path is so much quicker than that of lane `mine` that it is worth moving.
    fn is_better(&self, index: usize, mine: usize) -> bool {
        let (Some(other), Some(own)) = (self.lane(index), self.lane(mine)) else {
            return false;
        };
        let ahead = |a: Option<i32>, b: Option<i32>| a.zip(b).map(|(a, b)| b.wrapping_sub(a));
        let nearer = ahead(other.path.base_us(), own.path.base_us());
        let quicker = ahead(other.path.delay_us(), own.path.delay_us());
        match nearer {
            Some(us) if us >= NEARER_US => quicker.is_some_and(|us| us > -QUICKER_US),
            Some(_) => quicker.is_some_and(|us| us >= QUICKER_US),
            // Nothing is known of the own one.
            None => own.path.base_us().is_none() && other.path.base_us().is_some(),
        }
    }
}
