// SPDX-License-Identifier: GPL-2.0

//! The rules of a namespace, and what they say of a session.
//!
//! The table is never changed: a change makes another one that shares nearly
//! all of it. Who looks at it takes a reference, under a lock that is held for
//! that long and taken only when a session is made or has to be looked up again.
//! Packets find what was found out for their session.

use crate::{
    net::{
        instance::Instance,
        session::{
            Inner,
            Session, //
        }, //
    },
    new_bh_lock,
    proto::{
        addr::Tuple,
        counters::Counter,
        packet::Packet,
        policy::{
            self,
            Flow,
            Groups,
            Interfaces,
            Mode,
            Names,
            Rule,
            Traits,
            Treatment,
            MAX_INTERFACES,
            MAX_RULES, //
        }, //
    },
    sys::{
        atomic::MarkedAccess,
        bh::BhLock,
        count::PerCpuCount,
        device,
        net::Net,
        skb::Skb,
        socket, //
    },
};
use kernel::{
    alloc::{
        flags::GFP_ATOMIC,
        AllocError, //
    },
    prelude::*,
    sync::{
        atomic::Atomic,
        Arc, //
    },
};

/// Rules in a part of the table at most: it is what a change copies.
const PART: usize = 128;

/// Why a rule was not added or removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RuleError {
    /// There are [`MAX_RULES`].
    Full,
    /// There is no rule with this number, nor would the new one be the next.
    NoSuch,
    /// There is no draft with this number.
    NoDraft,
    /// The rules in force are not those that the draft was made from.
    Changed,
    /// No memory.
    NoMemory,
}

impl From<AllocError> for RuleError {
    fn from(_: AllocError) -> RuleError {
        RuleError::NoMemory
    }
}

/// Interfaces that a rule names, and which they are now.
struct Named {
    names: Names,
    // As in `Interfaces`.
    indices: [Atomic<u32>; MAX_INTERFACES],
}

/// A rule and how many packets fell under it.
pub struct Counted {
    /// The rule. Which interfaces it is for, [`Counted::treatment`] tells.
    pub rule: Rule,
    named: Option<KBox<Named>>,
    hits: PerCpuCount,
}

impl Counted {
    /// No packet yet. With names the rule is for these interfaces. Process context.
    pub fn new(rule: Rule, names: Option<Names>) -> Result<Arc<Counted>, AllocError> {
        let hits = PerCpuCount::new().ok_or(AllocError)?;
        let named = names.map(|names| {
            let indices = [const { Atomic::new(0) }; MAX_INTERFACES];
            KBox::new(Named { names, indices }, GFP_KERNEL)
        });
        let named = named.transpose()?;
        Arc::new(Counted { rule, named, hits }, GFP_KERNEL)
    }

    /// What becomes of its packets now.
    pub fn treatment(&self) -> Treatment {
        let Some(named) = &self.named else {
            return self.rule.treatment;
        };
        let index = |i: usize| named.indices.get(i).map_or(0, |index| index.read_once());
        Treatment {
            interfaces: Interfaces(core::array::from_fn(index)),
            ..self.rule.treatment
        }
    }

    /// The interfaces that it names.
    pub fn names(&self) -> Option<&Names> {
        self.named.as_deref().map(|named| &named.names)
    }

    /// Finds out which interfaces have the names. Live sessions follow with their next packet.
    pub fn find(&self, net: Net) {
        let Some(named) = &self.named else { return };
        for (name, index) in named.names.iter().zip(&named.indices) {
            index.write_once(device::index_of(net, name));
        }
    }

    /// Counts packets.
    pub fn hit(&self, packets: u32) {
        self.hits.add(packets.into());
    }

    /// Packets that fell under it.
    pub fn hits(&self) -> u64 {
        self.hits.sum()
    }
}

type Part = KVec<Arc<Counted>>;

/// Rules in their order.
#[derive(Default)]
pub struct Table {
    // None is empty.
    parts: KVec<Arc<Part>>,
    len: usize,
    never: bool,
    owners: bool,
    single: bool,
    groups: bool,
    named: bool,
}

impl Table {
    /// No rules.
    pub fn new() -> Table {
        Table::default()
    }

    /// The same rules. Process context.
    pub fn copy(&self) -> Result<Table, AllocError> {
        let mut parts = KVec::with_capacity(self.parts.len(), GFP_KERNEL)?;
        for part in &self.parts {
            parts.push(part.clone(), GFP_KERNEL)?;
        }
        Ok(Table { parts, ..*self })
    }

    /// Number of rules.
    pub fn count(&self) -> usize {
        self.len
    }

    /// The rules, each with its number.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Arc<Counted>)> {
        (1u32..).zip(self.parts.iter().flat_map(|part| part.iter()))
    }

    /// The rule with this number, from 1 on.
    pub fn get(&self, number: usize) -> Option<&Arc<Counted>> {
        let mut left = number.checked_sub(1)?;
        for part in &self.parts {
            match part.get(left) {
                Some(rule) => return Some(rule),
                None => left = left.saturating_sub(part.len()),
            }
        }
        None
    }

    /// The same with a rule that gets this number, or the last one. Process context.
    pub fn with(&self, number: Option<u32>, rule: Arc<Counted>) -> Result<Table, RuleError> {
        if self.len >= MAX_RULES {
            return Err(RuleError::Full);
        }
        let at = match number {
            Some(number) => (number as usize).wrapping_sub(1),
            None => self.len,
        };
        if at > self.len {
            return Err(RuleError::NoSuch);
        }
        let mut table = Table::default();
        let room = self.parts.len().saturating_add(2);
        table.parts.reserve(room, GFP_KERNEL)?;
        let (mut left, mut rule) = (at, Some(rule));
        for part in &self.parts {
            if left <= part.len() {
                if let Some(rule) = rule.take() {
                    table.push(part.iter().take(left), Some(rule), part.iter().skip(left))?;
                    continue;
                }
            }
            left = left.saturating_sub(part.len());
            table.parts.push(part.clone(), GFP_KERNEL)?;
        }
        if rule.is_some() {
            table.push([].iter(), rule, [].iter())?;
        }
        table.sum_up();
        Ok(table)
    }

    /// The same without the rule with this number. Process context.
    pub fn without(&self, number: u32) -> Result<Table, RuleError> {
        let at = (number as usize).wrapping_sub(1);
        if at >= self.len {
            return Err(RuleError::NoSuch);
        }
        let mut table = Table::default();
        table.parts.reserve(self.parts.len(), GFP_KERNEL)?;
        let mut left = Some(at);
        for part in &self.parts {
            match left {
                Some(at) if at < part.len() => {
                    let behind = part.iter().skip(at.saturating_add(1));
                    table.push(part.iter().take(at), None, behind)?;
                    left = None;
                }
                _ => {
                    left = left.map(|at| at.saturating_sub(part.len()));
                    table.parts.push(part.clone(), GFP_KERNEL)?;
                }
            }
        }
        table.sum_up();
        Ok(table)
    }

    /// Appends a part with these rules, two of them if that is too large, none if it is empty.
    fn push<'a>(
        &mut self,
        before: impl Iterator<Item = &'a Arc<Counted>>,
        rule: Option<Arc<Counted>>,
        behind: impl Iterator<Item = &'a Arc<Counted>>,
    ) -> Result<(), AllocError> {
        let mut part = Part::with_capacity(PART.saturating_add(1), GFP_KERNEL)?;
        let all = Iterator::chain(Iterator::chain(before.cloned(), rule), behind.cloned());
        for rule in all {
            part.push(rule, GFP_KERNEL)?;
        }
        if part.len() > PART {
            let mut second = Part::with_capacity(PART.saturating_add(1), GFP_KERNEL)?;
            for rule in part.iter().skip(PART / 2) {
                second.push(rule.clone(), GFP_KERNEL)?;
            }
            part.truncate(PART / 2);
            self.parts.push(Arc::new(part, GFP_KERNEL)?, GFP_KERNEL)?;
            part = second;
        }
        if !part.is_empty() {
            self.parts.push(Arc::new(part, GFP_KERNEL)?, GFP_KERNEL)?;
        }
        Ok(())
    }

    fn sum_up(&mut self) {
        self.len = self.parts.iter().map(|part| part.len()).sum();
        for counted in self.parts.iter().flat_map(|part| part.iter()) {
            self.never |= counted.rule.treatment.mode == Mode::Never;
            self.named |= counted.named.is_some();
            let matches = &counted.rule.matches;
            self.groups |= matches.group.is_some();
            self.owners |= matches.uids.is_some() || matches.group.is_some();
            self.single |= counted.rule.treatment.mode == Mode::Single;
        }
    }

    /// The rules that may decide over a session's packets, with their numbers.
    pub fn candidates<'a>(
        &'a self,
        flow: &'a Flow,
    ) -> impl Iterator<Item = (u32, &'a Arc<Counted>)> + 'a {
        policy::candidates(self.iter(), |(_, counted)| &counted.rule, flow)
    }

    /// The rule that leaves all packets of a session on the original lane, if there is one.
    fn never<'a>(&'a self, flow: &'a Flow) -> Option<&'a Arc<Counted>> {
        let mut last = None;
        let rules = self.candidates(flow).map(|(_, counted)| {
            last = Some(counted);
            &counted.rule
        });
        let is = policy::is_never(rules);
        last.filter(|_| is)
    }

    fn judge(&self, flow: &Flow) -> Result<Option<KBox<Verdict>>, AllocError> {
        let mut rules = KVec::new();
        for (number, counted) in self.candidates(flow) {
            rules.push((number, counted.clone()), GFP_ATOMIC)?;
        }
        if rules.is_empty() {
            return Ok(None);
        }
        Ok(Some(KBox::new(Verdict(rules), GFP_ATOMIC)?))
    }
}

/// The rules of a namespace.
#[pin_data]
pub struct Rules {
    #[pin]
    table: BhLock<Arc<Table>>,
    generation: Atomic<u32>,
    any: Atomic<bool>,
    never: Atomic<bool>,
    owners: Atomic<bool>,
    single: Atomic<bool>,
    groups: Atomic<bool>,
    named: Atomic<bool>,
}

impl Rules {
    /// With this table.
    pub fn new(table: Arc<Table>) -> impl PinInit<Rules> {
        pin_init!(Rules {
            table <- new_bh_lock!(table, "mpip_rules"),
            generation: Atomic::new(0),
            any: Atomic::new(false),
            never: Atomic::new(false),
            owners: Atomic::new(false),
            single: Atomic::new(false),
            groups: Atomic::new(false),
            named: Atomic::new(false),
        })
    }

    /// The table and its generation. Any context.
    pub fn get(&self) -> (Arc<Table>, u32) {
        let table = self.table.lock();
        (table.clone(), self.generation())
    }

    /// Has another table count from now on. Process context; writers keep each other out.
    pub fn set(&self, table: Table) -> Result<(), RuleError> {
        let (any, never, single) = (table.len != 0, table.never, table.single);
        let (owners, groups, named) = (table.owners, table.groups, table.named);
        let mut table = Arc::new(table, GFP_KERNEL)?;
        let mut current = self.table.lock();
        core::mem::swap(&mut *current, &mut table);
        self.any.write_once(any);
        self.never.write_once(never);
        self.owners.write_once(owners);
        self.single.write_once(single);
        self.groups.write_once(groups);
        self.named.write_once(named);
        let next = self.generation().wrapping_add(1);
        self.generation.write_once(next);
        // The lock goes first: what is freed may be much.
        drop(current);
        drop(table);
        Ok(())
    }

    /// It changes with the table.
    pub fn generation(&self) -> u32 {
        self.generation.read_once()
    }

    /// Whether one of them asks for users or control groups.
    pub fn ask_owners(&self) -> bool {
        self.owners.read_once()
    }

    /// Whether one of them has sessions use one path at a time.
    pub fn know_single(&self) -> bool {
        self.single.read_once()
    }

    /// Whether one of them asks for control groups.
    pub fn ask_groups(&self) -> bool {
        self.groups.read_once()
    }

    /// Finds out which interfaces have the names that rules are for. Process context.
    pub fn find(&self, net: Net) {
        if !self.named.read_once() {
            return;
        }
        let (table, _) = self.get();
        for (_, counted) in table.iter() {
            counted.find(net);
        }
    }

    /// Whether there are any.
    pub fn are_any(&self) -> bool {
        self.any.read_once()
    }
}

/// Rules that are not in force yet.
pub struct Draft {
    /// What its maker calls it.
    pub token: u32,
    /// The generation that it was made from.
    pub generation: u32,
    /// The rules.
    pub table: Table,
}

/// What the rules say of a session: those that may decide over a packet, with their numbers.
pub struct Verdict(KVec<(u32, Arc<Counted>)>);

impl Verdict {
    /// The rule that a packet falls under, and whether it asks something of the packet.
    fn find(&self, traits: &Traits) -> Option<(&Counted, bool)> {
        let rules = self.0.iter().map(|(_, counted)| counted);
        let mut fitting = rules.filter(|counted| counted.rule.matches.fits_packet(traits));
        let counted = fitting.next()?;
        Some((counted, counted.rule.matches.asks_packet()))
    }

    /// Whether the session uses one path at a time.
    pub fn is_single(&self) -> bool {
        self.of_session().is_some_and(|t| t.mode == Mode::Single)
    }

    /// How packets are treated that no rule for some packets only is for.
    fn of_session(&self) -> Option<Treatment> {
        let (_, last) = self.0.last()?;
        (!last.rule.matches.asks_packet()).then(|| last.treatment())
    }
}

impl Inner {
    /// How packets of the session are treated that no rule for some packets only is for.
    pub fn treatment(&self) -> Treatment {
        let verdict = self.verdict.as_ref();
        let treatment = verdict.and_then(|verdict| verdict.of_session());
        treatment.unwrap_or(Treatment::PLAIN)
    }

    /// How a packet is treated, and whether that is because of what it is like. Counts it as
    /// `count` packets.
    pub fn treat(&self, skb: &Skb<'_>, packet: &Packet, count: u32) -> (Treatment, bool) {
        let Some(verdict) = &self.verdict else {
            return (Treatment::PLAIN, false);
        };
        let traits = Traits::read(skb.head(), packet, skb.len(), skb.segment_size());
        match verdict.find(&traits) {
            Some((counted, passing)) => {
                counted.hit(count);
                (counted.treatment(), passing)
            }
            None => (Treatment::PLAIN, false),
        }
    }
}

impl Instance {
    /// Whether there are rules.
    pub fn has_rules(&self) -> bool {
        self.shared.rules.are_any()
    }

    /// Whether the rules leave a flow to the way that it takes by itself. `skb` is what a socket of
    /// this host sends; without it the socket is looked for. Any context.
    pub fn is_never(&self, tuple: &Tuple, skb: Option<&Skb<'_>>) -> bool {
        let rules = &self.shared.rules;
        if !rules.never.read_once() {
            return false;
        }
        let (table, _) = rules.get();
        let (uid, group) = match skb {
            _ if !rules.ask_owners() => (None, None),
            Some(skb) => (skb.user(), skb.cgroup()),
            None => socket::user_of(self.net, tuple).map_or((None, None), |(u, g)| (Some(u), g)),
        };
        let flow = Flow {
            tuple: *tuple,
            uid,
            groups: group.map_or(Groups::NONE, |group| group.line()),
        };
        let never = table.never(&flow);
        if let Some(counted) = never {
            counted.hit(1);
        }
        never.is_some()
    }

    /// Finds out what the rules say of a session if they have changed since that was done last. Any
    /// context, without its lock; not for each packet.
    pub fn judge(&self, session: &Session) {
        let (table, generation) = self.shared.rules.get();
        if session.is_judged(generation) {
            return;
        }
        let known = session.owner_known();
        let Ok(mut verdict) = table.judge(&session.flow()) else {
            self.count(Counter::NoMemory);
            return;
        };
        let never = verdict.as_ref().is_some_and(|verdict| {
            policy::is_never(verdict.0.iter().map(|(_, counted)| &counted.rule))
        });
        {
            let mut inner = session.inner.lock();
            core::mem::swap(&mut inner.verdict, &mut verdict);
            inner.s.forget_habits();
            let late = known != session.owner_known();
            session.set_judged(generation.wrapping_sub(u32::from(late)), never);
        }
        drop(verdict);
    }
}
