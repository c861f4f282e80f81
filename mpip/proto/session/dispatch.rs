// SPDX-License-Identifier: GPL-2.0

//! Which lane a packet takes, and how TCP's window follows the paths.

use super::Hold;
use super::Lane;
use super::LaneState;
use super::Mask;
use super::PathInfo;
use super::Session;
use super::ALL;
use super::MAX_LANES;
use crate::proto::bits::bits;
use crate::proto::earliest;
use crate::proto::earliest::Candidate;
use crate::proto::earliest::Load;
use crate::proto::path::Standing;
use crate::proto::policy::Mode;
use crate::proto::policy::Priority;
use crate::proto::policy::Treatment;
use crate::proto::rate;
use crate::proto::seq;
use crate::proto::weighted;
use crate::proto::weighted::Smooth;
use core::cmp::Ordering;

/// What kind of packet is to be dispatched.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Class {
    /// A datagram.
    Datagram,
    /// Data of a stream, of which so many bytes are in flight with this packet.
    Stream(u32),
    /// A segment without data: it needs no capacity, and a late acknowledgment is dropped, so it
    /// takes the quickest path.
    Small,
    /// Data that was sent before: the path that it was lost on may be dead without anybody having
    /// noticed yet, so it takes one of those whose answers are not overdue. Of these it takes none
    /// of the lanes in the mask if there is another.
    Again(u32),
}

/// Who chooses the lane.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Scheduler {
    /// By weight (section 3.5.1).
    Weighted,
    /// By predicted arrival.
    Earliest,
}

/// How packets are dispatched, from the parameters.
#[derive(Copy, Clone, Debug)]
pub struct Dispatch {
    /// Who chooses.
    pub scheduler: Scheduler,
    /// Algorithm 1's step S.
    pub step: u16,
    /// Algorithm 1's interval T, microseconds.
    pub interval: u32,
    /// What the packet's rule wants.
    pub treatment: Treatment,
    /// The rule is not that of the whole session: it asks something of the packet.
    pub passing: bool,
}

/// Whether a stream is finding out how much a path carries that has just been added.
///
/// TCP ends its slow start when the round-trip time grows, which it does as soon as the nearest
/// path has a queue, whatever the others could carry. So each path that is added, or returns, gets
/// a slow start of its own, until all have a queue at the same time, but for those that have lost
/// something.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Probing {
    /// No.
    Done,
    /// Its window may grow now.
    Due,
    /// Its window may grow when everything before this sequence number is acknowledged, and not
    /// sooner than [`PROBE_US`] after this time: reports tell of a queue that late. The lanes are
    /// those whose paths have lost something since it began.
    Until(u32, u32, Mask),
}

/// How many times the rate of the fastest of the others a path is thought to have before its own
/// is known: the slowest is the first that is known, for it is the first with a queue.
const ASSUMED: u32 = 2;

/// Shortest time between two steps of a window that grows, microseconds.
const PROBE_US: u32 = 25_000;

/// With so much queue on all paths, microseconds, they are filled.
const FILLED_US: u32 = 8_000;

/// How long the queue of a path is, thought or measured, microseconds.
fn queue(path: &impl PathInfo, now: u32) -> u32 {
    path.wait_us(now).max(path.queue_left_us(now))
}

impl<P: PathInfo, D, H: Hold<Lane<P, D>>> Session<P, D, H> {
    /// Recomputes the set of active lanes; when it changes, the weights start anew: from what
    /// was learnt if that is known of all of them, else from 1000/N (section 3.5.1).
    pub(super) fn relearn(&mut self) {
        let mut active = 0u32;
        for (i, lane) in self.lanes.iter().enumerate() {
            if lane.as_ref().is_some_and(|l| l.state == LaneState::Active) {
                active |= 1 << i;
            }
        }
        let active = Mask::new(active);
        if active == self.active {
            return;
        }
        self.active = active;
        let known = self
            .lanes
            .iter()
            .flatten()
            .filter(|l| l.state == LaneState::Active)
            .all(|l| l.path.weight() != 0);
        let initial = weighted::initial(self.active_lanes());
        for (weight, lane) in self.weights.iter_mut().zip(&self.lanes) {
            *weight = match lane {
                Some(l) if l.state == LaneState::Active && known => l.path.weight(),
                Some(l) if l.state == LaneState::Active => initial,
                _ => 0,
            };
        }
        self.smooth = Smooth::new();
    }

    /// Whether a burst may leave now: the queue of one of the paths in use is far from full, or it
    /// is short.
    pub fn has_room(&self, now: u32) -> bool {
        const SHORT_US: u32 = 10_000;
        let reliable = self.reliable(self.unreserved()).1;
        let used = Some(reliable & self.eligible.get()).filter(|used| *used != 0);
        let mut used = self.those(used.unwrap_or(reliable));
        used.any(|(_, lane)| {
            let full = lane.path.full_us();
            lane.path.wait_us(now) < full.saturating_sub(full / 4).max(SHORT_US)
        })
    }

    /// Of the active lanes in the mask `among` those whose paths can be relied on best, and how
    /// far; the original one if all are down.
    pub(super) fn reliable(&self, among: u32) -> (Standing, u32) {
        // Of those that are as good as silent, one whose path is not, or that nobody has called
        // unwanted, comes first.
        let (mut best, mut lanes) = ((Standing::Down, false, Standing::Down), 1u32);
        for (i, lane) in self.those(among & self.active.get()) {
            if i == 0 && self.is_replaced() {
                continue;
            }
            let path = lane.path.standing();
            let rank = (lane.standing_on(path), !lane.is_unwanted(), path);
            if rank.0 == Standing::Down {
                continue;
            }
            match rank.cmp(&best) {
                Ordering::Less => {}
                Ordering::Equal => lanes |= 1 << i,
                Ordering::Greater => (best, lanes) = (rank, 1 << i),
            }
        }
        (best.0, lanes)
    }

    /// Algorithm 1 for the eligible lanes, every interval T. Where a weight was set none is learnt.
    fn adjust(&mut self, now: u32, eligible: u32, dispatch: &Dispatch) {
        if seq::age(now, self.last_adjust) < dispatch.interval {
            return;
        }
        self.last_adjust = now;
        let mut weights = [0u16; MAX_LANES];
        let mut queues = [0u32; MAX_LANES];
        let mut index = [0usize; MAX_LANES];
        let mut n = 0usize;
        for (i, lane) in self.those(eligible) {
            weights[n] = self.weight(i);
            queues[n] = lane.path.queue_us();
            index[n] = i;
            n = n.saturating_add(1);
        }
        if n < 2 {
            return;
        }
        weighted::adjust(&mut weights[..n], &queues[..n], dispatch.step);
        for (weight, i) in weights[..n].iter().zip(&index[..n]) {
            let path = self.lane(*i).map(|lane| &lane.path);
            if let Some(path) = path.filter(|path| path.fixed_weight() == 0) {
                path.learn(*weight);
                self.weights[*i] = *weight;
            }
        }
    }

    /// Chooses the lane for a packet of `len` bytes. `fits` says whether a lane can carry the
    /// packet. The original one if none can.
    pub fn pick(
        &mut self,
        now: u32,
        len: u32,
        class: Class,
        dispatch: &Dispatch,
        fits: impl Fn(usize, &mut Lane<P, D>) -> bool,
    ) -> usize {
        let treatment = &dispatch.treatment;
        let mut eligible = self.lanes_for(now, treatment);
        // Packets that are treated in another way say nothing of the paths that the session fills.
        if eligible != self.eligible.get() && !dispatch.passing {
            self.on_change(eligible);
        }
        if self.active.get() == 1 || treatment.mode == Mode::Never {
            return 0;
        }
        if dispatch.scheduler == Scheduler::Weighted {
            self.adjust(now, eligible, dispatch);
        }
        let mut others = !0;
        loop {
            if let Some(index) = self.pick_of(eligible, now, len, class, dispatch, &fits) {
                return index;
            }
            // What is too large for those takes one that can be relied on less.
            others &= !eligible;
            let (standing, lanes) = self.reliable(others);
            if standing == Standing::Down {
                return 0;
            }
            eligible = lanes;
        }
    }

    /// The best of the lanes in the mask `eligible` that can carry the packet.
    fn pick_of(
        &mut self,
        mut eligible: u32,
        now: u32,
        len: u32,
        class: Class,
        dispatch: &Dispatch,
        fits: &impl Fn(usize, &mut Lane<P, D>) -> bool,
    ) -> Option<usize> {
        let treatment = &dispatch.treatment;
        // Of copies the first that arrives counts.
        let urgent = treatment.priority == Priority::Latency || treatment.mode == Mode::Protected;
        let load = match class {
            _ if urgent => Load::Urgent,
            Class::Small | Class::Again(_) => Load::Urgent,
            Class::Datagram => Load::Datagram,
            Class::Stream(flight) => Load::Stream(flight),
        };
        while eligible != 0 {
            let among = match class {
                Class::Again(lost) => {
                    let lively = self.lively(now, eligible);
                    Some(lively & !lost)
                        .filter(|rest| *rest != 0)
                        .unwrap_or(lively)
                }
                _ => eligible,
            };
            let index = match dispatch.scheduler {
                Scheduler::Weighted if urgent || class == Class::Small => self
                    .quickest(among)
                    .or_else(|| self.by_weight(now, load, among, len)),
                Scheduler::Weighted => self.by_weight(now, load, among, len),
                Scheduler::Earliest => self.by_arrival(now, load, among, len),
            }?;
            let assumed = self.assumed(index, eligible);
            if let Some(lane) = self.lane_mut(index) {
                if fits(index, lane) {
                    lane.path.queued(now, len, assumed);
                    // What goes elsewhere because of the nearest one's queue asks nobody to make
                    // way.
                    if treatment.priority == Priority::Latency && self.is_nearest(index, eligible) {
                        if let Some(lane) = self.lane(index) {
                            lane.path.hurry(now);
                        }
                    }
                    return Some(index);
                }
            }
            eligible &= !(1 << index);
        }
        None
    }

    /// Whether none of the lanes in the mask is on a nearer path.
    fn is_nearest(&self, index: usize, among: u32) -> bool {
        let base = |lane: &Lane<P, D>| lane.path.base_us();
        let Some(own) = self.lane(index).and_then(base) else {
            return false;
        };
        let mut others = self.those(among).filter_map(|(_, lane)| base(lane));
        others.all(|other| seq::delta(own as u32, other as u32) <= 0)
    }

    /// The set of paths in use changes. Those that come are filled anew; what was in flight on
    /// those that go does not fit into the others.
    fn on_change(&mut self, eligible: u32) {
        let before = self.eligible.get();
        self.eligible = Mask::new(eligible);
        if eligible & !before != 0 {
            self.probing = Probing::Due;
            // What TCP was not told yet is not true any more.
            self.shrink = None;
        }
        let gone = before & !eligible;
        if gone != 0 && eligible & before != 0 {
            // Bytes per second, in thousands; as good as the others where nothing is known.
            let sum = |mask: u32| {
                let rates = self.those(mask).map(|(_, l)| l.path.rate() / 1000);
                rates.fold((0u32, false), |(sum, unknown), rate| {
                    (sum.saturating_add(rate), unknown || rate == 0)
                })
            };
            let (all, unknown) = sum(before);
            let (rest, _) = sum(before & eligible);
            let (part, whole) = if unknown {
                ((before & eligible).count_ones(), before.count_ones())
            } else {
                (rest, all)
            };
            // Some may have gone before, and TCP has not been told.
            let (p, w) = self.shrink.unwrap_or((1, 1));
            let product = |a: u32, b: u16| u64::from(a).saturating_mul(u64::from(b));
            let (part, whole) = (product(part, p), product(whole, w));
            let excess = u64::BITS
                .saturating_sub(whole.leading_zeros())
                .saturating_sub(u16::BITS);
            self.shrink = Some(((part >> excess) as u16, (whole >> excess) as u16));
        }
    }

    /// A lane that is used, or would be if it were quicker, on which a question is due although
    /// this packet goes to the `chosen` one: how long its path needs for what was sent there before
    /// is not known, or what is known of it must not grow old while others are better. To be asked
    /// for each packet.
    pub fn forgotten(&mut self, now: u32, interval: u32, chosen: usize) -> Option<usize> {
        if self.watched.get().is_power_of_two() {
            return None;
        }
        let others = self.watched.get() & !(1 << chosen);
        let behind = self.those(others).find(|(_, l)| l.path.take_behind(now, 0));
        if let Some((i, _)) = behind {
            return Some(i);
        }
        if seq::age(now, self.looked_at) < interval {
            return None;
        }
        self.looked_at = now;
        let mut used = self.those(others);
        used.find(|(_, lane)| lane.path.is_forgotten(now, interval))
            .map(|(i, _)| i)
    }

    /// The part of TCP's window that is left after paths have gone, as a fraction, once.
    pub fn take_shrink(&mut self) -> Option<(u32, u32)> {
        let (part, whole) = self.shrink.take()?;
        Some((part.into(), whole.into()))
    }

    /// Whether TCP's window should grow because a path that was added is not filled yet, and how
    /// many bytes would fill all; 0 if that is unknown. To be asked for each segment with data,
    /// which ends at `end`, after [`Session::pick`]. `lost` is given if it was sent before: the
    /// lane on which it was lost, if that is known. `una` is what is acknowledged.
    pub fn may_grow(
        &mut self,
        now: u32,
        end: u32,
        una: u32,
        lost: Option<Option<usize>>,
    ) -> Option<u32> {
        let lossy = lost.map_or(0, |lane| lane.map_or(u32::MAX, |lane| 1 << lane));
        let before = match self.probing {
            Probing::Done => return None,
            Probing::Until(mark, since, _)
                if lost.is_none()
                    && (seq::before(una, mark) || seq::age(now, since) < PROBE_US) =>
            {
                return None
            }
            Probing::Until(_, _, filled) => filled.get(),
            Probing::Due => 0,
        };
        // Where something urgent is sent there is to be no queue.
        let known = |l: &Lane<P, D>| match l.path.rate() {
            // What is thought of it comes from a rate that was assumed, and may be much too low.
            0 => l.path.queue_left_us(now),
            _ => queue(&l.path, now),
        };
        let full = |l: &Lane<P, D>| known(l) >= FILLED_US || l.path.is_urgent(now);
        let lossy = before | lossy;
        let filled = lossy | self.mask(u32::MAX, full);
        self.probing = if self.eligible.get() & !filled == 0 {
            Probing::Done
        } else {
            Probing::Until(end, now, Mask::new(lossy))
        };
        (self.probing != Probing::Done && lost.is_none()).then(|| self.filling())
    }

    /// How long it may take until the other end has what is sent again, after it has asked for it,
    /// microseconds; 0 while that is not known.
    pub fn repair_us(&self) -> u32 {
        let used = self.those(self.eligible.get());
        used.map(|(_, lane)| lane.path.base_rtt_us())
            .max()
            .unwrap_or(0)
    }

    /// How many bytes in flight give all paths in use a queue: what they carry together until the
    /// answer from the farthest is there. 0 while a rate is unknown.
    fn filling(&self) -> u32 {
        let (mut rates, mut longest) = (0u64, 0);
        for (_, lane) in self.those(self.eligible.get()) {
            let rate = lane.path.rate();
            if rate == 0 {
                return 0;
            }
            rates = rates.saturating_add(rate.into());
            longest = longest.max(lane.path.base_rtt_us());
        }
        let time = u64::from(longest.saturating_add(FILLED_US));
        u32::try_from(rates.saturating_mul(time) / 1_000_000).unwrap_or(u32::MAX)
    }

    /// How much later than to what is sent on a lane now the answer may come to what was sent
    /// before on another, microseconds.
    pub fn lag_us(&self, now: u32, index: usize) -> u32 {
        let trip = |l: &Lane<P, D>| {
            let queue = queue(&l.path, now);
            l.path.base_rtt_us().saturating_add(queue)
        };
        // What was on one that has failed is lost, and on one that is kept back there is nothing.
        let used = self.mask(self.eligible.get(), |l| l.standing() > Standing::Suspect);
        let longest = self.those(used).map(|(_, lane)| trip(lane)).max();
        let longest = longest.unwrap_or(0);
        longest.saturating_sub(self.lane(index).map_or(0, trip))
    }

    fn by_weight(&mut self, now: u32, load: Load, among: u32, len: u32) -> Option<usize> {
        let weights = core::array::from_fn(|i| self.weight(i));
        let among = self.out_of_the_way(now, load, among);
        self.smooth.pick(&weights, among, len)
    }

    /// Those of the lanes in the mask on whose paths no queue is left to something urgent, and
    /// others only if there is less to wait for even so. All if there are no such.
    fn out_of_the_way(&self, now: u32, load: Load, among: u32) -> u32 {
        let wait = |lane: &Lane<P, D>| lane.path.wait_us(now);
        let extra = |lane: &Lane<P, D>| {
            let urgent = lane.path.is_urgent(now);
            earliest::yields(urgent, wait(lane), load)
        };
        let taken = self.mask(among, |lane| extra(lane) != 0);
        let free = among & !taken;
        if taken == 0 || free == 0 {
            return among;
        }
        let waits = self.those(free).map(|(_, lane)| wait(lane));
        let least = waits.min().unwrap_or(u32::MAX);
        free | self.mask(taken, |l| wait(l).saturating_add(extra(l)) < least)
    }

    fn by_arrival(&mut self, now: u32, load: Load, among: u32, len: u32) -> Option<usize> {
        // To clear room for all would take longer than all the rest.
        match among.count_ones() {
            ..=2 => self.by_arrival_of::<2>(now, load, among, len),
            _ => self.by_arrival_of::<MAX_LANES>(now, load, among, len),
        }
    }

    /// As [`Session::by_arrival`], for `N` lanes at most.
    fn by_arrival_of<const N: usize>(
        &mut self,
        now: u32,
        load: Load,
        among: u32,
        len: u32,
    ) -> Option<usize> {
        const NONE: Candidate = Candidate {
            lane: 0,
            wait: 0,
            loss: 0,
            random_loss: 0,
            base: 0,
            rate: 0,
            new: false,
            service: 0,
            rtt: 0,
            noise: 0,
            urgent: false,
            limit: 0,
        };
        let mut candidates = [NONE; N];
        let mut n = 0usize;
        for (i, lane) in self.those(among) {
            // One that was never measured has to wait until it is.
            let (Some(base), Some(slot)) = (lane.path.base_us(), candidates.get_mut(n)) else {
                continue;
            };
            let rate = lane.path.rate();
            let wait = lane.path.wait_us(now);
            let prospect = lane.path.prospect();
            *slot = Candidate {
                lane: i,
                wait,
                loss: lane.path.loss(),
                random_loss: lane.path.random_loss(),
                base,
                rate,
                new: lane.path.is_new(),
                service: rate::service_after(wait, len, rate, prospect),
                rtt: lane.path.base_rtt_us(),
                noise: lane.path.noise_us(),
                urgent: lane.path.is_urgent(now),
                limit: lane.path.limit_us(),
            };
            n = n.saturating_add(1);
        }
        let candidates = candidates.get_mut(..n)?;
        let grows = self.probing != Probing::Done;
        let Some(chosen) = earliest::choose(candidates, load, grows) else {
            return bits(among & ALL).next();
        };
        if chosen.is_power_of_two() {
            return Some(chosen.trailing_zeros() as usize);
        }
        let shares = earliest::shares(candidates, chosen);
        self.smooth.pick(&shares, chosen, len)
    }

    /// What the rate of a lane's path is taken for while it is unknown and that of others is not,
    /// bytes per second. Else all would go there, for the others would seem to have the longer
    /// queues, and all other paths would run dry.
    fn assumed(&self, index: usize, eligible: u32) -> u32 {
        if self.lane(index).is_some_and(|lane| lane.path.rate() != 0) {
            return 0;
        }
        let rates = self.those(eligible).map(|(_, lane)| lane.path.rate());
        rates.max().unwrap_or(0).saturating_mul(ASSUMED)
    }

    fn quickest(&self, eligible: u32) -> Option<usize> {
        self.those(eligible)
            .filter_map(|(i, lane)| Some((i, lane.path.delay_us()?)))
            .min_by(|(_, a), (_, b)| a.wrapping_sub(*b).cmp(&0))
            .map(|(i, _)| i)
    }

    /// The lanes whose paths do not keep us waiting for an answer, or not longer than the others.
    fn lively(&self, now: u32, eligible: u32) -> u32 {
        const LATE_US: u32 = 2_000;
        let silent = |lane: &Lane<P, D>| lane.path.silent_us(now);
        let Some(least) = self.those(eligible).map(|(_, lane)| silent(lane)).min() else {
            return eligible;
        };
        let late = least.saturating_add(LATE_US);
        self.mask(eligible, |lane| silent(lane) <= late)
    }
}
