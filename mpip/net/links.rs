// SPDX-License-Identifier: GPL-2.0

//! What is wanted of the host's interfaces, and what follows for paths.
//!
//! Settings are kept by name. The worker finds out which interface has the
//! name, how much of a budget is used and, if energy is to be saved, which
//! interface carries most for it. What that means for a path is copied to the
//! path when it changes ([`Path::set_role`]): no packet looks anything up. The
//! peers hear of it in reports, which the worker sends at once.

use crate::{
    net::{
        event::{
            Event,
            Link, //
        },
        instance::Instance,
        path::Path,
        peer::{
            Peer,
            MAX_PATHS, //
        },
        session::Session, //
    },
    new_bh_lock,
    proto::{
        interface::{
            Candidate,
            Flaw,
            Meter,
            Name,
            Phases,
            Power,
            Reserve,
            Role,
            Saver,
            Settings,
            Wish,
            MAX_CANDIDATES,
            MAX_INTERFACES, //
        },
        params::Param,
        session::LaneState, //
    },
    sys::{
        atomic::MarkedAccess,
        bh::BhLock,
        clock,
        device,
        net::Net, //
    },
};
use kernel::{
    alloc::{
        flags::GFP_ATOMIC,
        AllocError, //
    },
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    },
};

/// What is set for an interface, and how far it has come.
#[derive(Clone, Copy)]
pub struct Row {
    /// Its name.
    pub name: Name,
    /// Its index; 0 while there is none of this name.
    pub ifindex: u32,
    /// What is set.
    pub settings: Settings,
    /// What it has carried, if it has a budget.
    pub meter: Meter,
}

impl Row {
    /// An interface that nothing is set for.
    pub fn plain(name: Name, ifindex: u32) -> Row {
        Row {
            name,
            ifindex,
            settings: Settings::PLAIN,
            meter: Meter::new(0, None),
        }
    }
}

/// Why nothing was set.
pub enum LinkError {
    /// There are [`MAX_INTERFACES`].
    Full,
    /// Nothing is set for such an interface.
    NoSuch,
    /// That makes no sense.
    Flaw(Flaw),
    /// No memory.
    NoMemory,
}

impl From<AllocError> for LinkError {
    fn from(_: AllocError) -> LinkError {
        LinkError::NoMemory
    }
}

struct State {
    rows: KVec<Row>,
    saver: Saver,
}

impl State {
    fn named(&mut self, name: &Name) -> Option<&mut Row> {
        self.rows.iter_mut().find(|row| row.name == *name)
    }

    fn of(&self, ifindex: u32) -> Option<&Row> {
        self.rows
            .iter()
            .find(|row| row.ifindex == ifindex && ifindex != 0)
    }

    fn role(&self, ifindex: u32, listed: bool) -> Role {
        if ifindex == 0 {
            return Role::PLAIN;
        }
        let row = self.of(ifindex);
        let settings = row.map_or(Settings::PLAIN, |row| row.settings);
        let spent = row.is_some_and(|row| row.meter.is_spent());
        Role::new(&settings, listed, spent, self.saver.spares(ifindex))
    }
}

/// The settings of a namespace.
#[pin_data]
pub struct Links {
    #[pin]
    state: BhLock<State>,
    // There are settings, or energy is saved.
    any: Atomic<bool>,
    changed: Atomic<bool>,
    generation: Atomic<u32>,
    // When to look at budgets and energy again, milliseconds.
    due_ms: Atomic<u32>,
}

impl Links {
    /// Nothing is set.
    pub fn new() -> impl PinInit<Links> {
        let state = State {
            rows: KVec::new(),
            saver: Saver::new(),
        };
        pin_init!(Links {
            state <- new_bh_lock!(state, "mpip_links"),
            any: Atomic::new(false),
            changed: Atomic::new(false),
            generation: Atomic::new(0),
            due_ms: Atomic::new(0),
        })
    }

    /// What is set for the interface at this place of the list.
    pub fn get(&self, at: usize) -> Option<Row> {
        self.state.lock().rows.get(at).copied()
    }

    /// Whether anything is set for an interface.
    pub fn has(&self, ifindex: u32) -> bool {
        self.state.lock().of(ifindex).is_some()
    }

    /// It changes with what is set.
    pub fn generation(&self) -> u32 {
        self.generation.read_once()
    }

    /// What is wanted of an interface; `listed` says that only those are used that are enrolled.
    pub fn role(&self, ifindex: u32, listed: bool) -> Role {
        if !self.any.read_once() && !listed {
            return Role::PLAIN;
        }
        self.state.lock().role(ifindex, listed)
    }

    /// Changes what is set for an interface, be it there or not, and how much of its budget is
    /// used. Process context; writers keep each other out.
    pub fn set(
        &self,
        net: Net,
        name: Name,
        used: Option<u64>,
        change: impl FnOnce(&mut Settings),
    ) -> Result<(), LinkError> {
        let ifindex = device::index_of(net, &name);
        let seen = device::bytes_of(net, ifindex).map(|bytes| (ifindex, bytes));
        let now = clock::boot_ms();
        let mut state = self.state.lock();
        let old = state.named(&name).map(|row| *row);
        let mut row = old.unwrap_or(Row {
            name,
            ifindex,
            settings: Settings::PLAIN,
            meter: Meter::new(now, seen),
        });
        row.ifindex = ifindex;
        let before = row.settings.budget.bytes;
        change(&mut row.settings);
        if let Some(flaw) = row.settings.flaw() {
            return Err(LinkError::Flaw(flaw));
        }
        if before == 0 {
            // Counting begins with the budget. What becomes of one that was used up shows at the
            // next look.
            row.meter = Meter::new(now, seen);
        }
        if let Some(used) = used {
            row.meter.set_used(used);
        }
        if old.is_none() && state.rows.len() >= MAX_INTERFACES {
            return Err(LinkError::Full);
        }
        match state.named(&name) {
            Some(place) => *place = row,
            None => state.rows.push(row, GFP_ATOMIC)?,
        }
        // What says nothing need not be kept, but for the end of a budget, which is to be noticed.
        let idle = |row: &Row| row.settings == Settings::PLAIN && !row.meter.is_spent();
        state.rows.retain(|row| !idle(row));
        self.note(&state);
        Ok(())
    }

    /// Forgets what is set for an interface. Process context.
    pub fn reset(&self, name: &Name) -> Result<(), LinkError> {
        let mut state = self.state.lock();
        let row = state.named(name).ok_or(LinkError::NoSuch)?;
        row.settings = Settings::PLAIN;
        if !row.meter.is_spent() {
            state.rows.retain(|row| row.name != *name);
        }
        self.note(&state);
        Ok(())
    }

    fn note(&self, state: &State) {
        self.any
            .write_once(!state.rows.is_empty() || state.saver.chosen().is_some());
        self.generation.add(1u32, Relaxed);
        self.changed.write_once(true);
    }

    /// Finds out which interfaces have the names.
    fn find(&self, net: Net) {
        if !self.any.read_once() {
            return;
        }
        for row in self.state.lock().rows.iter_mut() {
            row.ifindex = device::index_of(net, &row.name);
        }
    }
}

impl Instance {
    /// What is wanted of an interface. Any context, not for each packet.
    pub fn role_of(&self, ifindex: u32) -> Role {
        let listed = self.shared.settings.uses_enrolled_only();
        self.shared.links.role(ifindex, listed)
    }

    /// Has a path know what is wanted of its interface. Any context.
    pub fn assign_role(&self, path: &Path) {
        let role = self.role_of(path.ifindex());
        path.set_role(&role);
        if role.excluded {
            path.set_down(true);
        }
    }

    /// Whether a session leaves by an interface that is not to be used: then that is what routing
    /// wants, and the session keeps to it.
    pub fn is_left_alone(&self, session: &Session) -> bool {
        let inner = session.inner.lock();
        inner.s.lane(0).is_some_and(|lane| lane.path.is_excluded())
    }

    /// What is wanted of interfaces has changed. Any context.
    pub fn interfaces_changed(&self) {
        self.shared.links.changed.write_once(true);
        self.kick(0);
    }

    /// Finds out which interfaces the settings and the rules are for. Process context.
    pub fn find_interfaces(&self) {
        self.shared.links.find(self.net);
        self.shared.rules.find(self.net);
    }

    /// Has all paths know what is wanted of their interfaces, and tells the peers. True if an
    /// interface is to be used that was not, or the other way round. Process context.
    pub fn assign_roles(&self) -> bool {
        let mut turned = false;
        let mut news = KVec::new();
        for peer in self.collect_peers().iter() {
            for id in 0..MAX_PATHS {
                let Some(path) = peer.path_by_id(id) else {
                    continue;
                };
                let role = self.role_of(path.ifindex());
                turned |= role.excluded != path.is_excluded();
                if path.set_role(&role) && !path.is_down() {
                    // Without memory the next report tells, too.
                    let _ = news.push((peer.clone(), path), GFP_KERNEL);
                }
            }
        }
        for (peer, path) in news.iter() {
            self.tell_reserve(peer, path);
        }
        turned
    }

    /// Takes in what is wanted of one path, for as long as it lives. Process context.
    pub fn wish(&self, peer: &Arc<Peer>, path: &Arc<Path>, wish: Wish) {
        let was_shut = path.is_shut();
        if path.set_wish(wish) && !path.is_down() {
            self.tell_reserve(peer, path);
        }
        if path.is_shut() != was_shut {
            // The worker does what it does for addresses.
            self.network_changed();
        }
    }

    /// Tells a peer at once what is wanted of a path: each report does.
    fn tell_reserve(&self, peer: &Arc<Peer>, path: &Arc<Path>) {
        let mut told = false;
        self.each_session_on(peer, path, |session, lanes| {
            // An added lane gets through where the original one may not.
            let index = (u32::BITS - 1).saturating_sub(lanes.leading_zeros()) as usize;
            let tuple = {
                let inner = session.inner.lock();
                let lane = inner.s.lane(index);
                lane.filter(|l| l.state == LaneState::Active)
                    .map(|l| l.tuple())
            };
            if let Some(tuple) = tuple.filter(|_| !told && !session.is_closing()) {
                self.ask(session, path, &tuple, index == 0);
                told = true;
            }
        });
    }

    /// Looks at what interfaces have carried, and has paths follow what has changed; returns when
    /// to do so again, milliseconds. Process context.
    pub fn look_after_interfaces(&self) -> u32 {
        let links = &self.shared.links;
        let changed = links.changed.xchg(false, Relaxed);
        let saves = self.param(Param::Energy) == 1;
        if !changed && !saves && !links.any.read_once() {
            return u32::MAX;
        }
        if changed {
            links.find(self.net);
        }
        let now = clock::now_ms();
        let left = links.due_ms.read_once().wrapping_sub(now) as i32;
        let (mut next, mut turned) = (left.max(0) as u32, false);
        if changed || left <= 0 || left > 1000 {
            let (metered, spent) = self.look_at_budgets();
            let (saved, chosen) = self.look_at_energy(saves);
            next = metered.min(saved);
            turned = spent || chosen;
            let due = next.min(1000);
            links.due_ms.write_once(now.wrapping_add(due));
        }
        // A device that gets another name is told of, too.
        if (changed || turned) && (self.assign_roles() || self.addrs_differ()) {
            self.follow_changes();
        }
        next.max(1)
    }

    /// Returns when to look again, and whether a budget was used up or is there again.
    fn look_at_budgets(&self) -> (u32, bool) {
        let links = &self.shared.links;
        let now = clock::boot_ms();
        let (mut next, mut any) = (u32::MAX, false);
        for at in 0..MAX_INTERFACES {
            let Some(row) = links.get(at) else { break };
            if row.settings.budget.bytes == 0 && !row.meter.is_spent() {
                continue;
            }
            let seen = device::bytes_of(self.net, row.ifindex).map(|bytes| (row.ifindex, bytes));
            let looked = {
                let mut state = links.state.lock();
                state.named(&row.name).map(|row| {
                    let turned = row.meter.look(now, seen, &row.settings.budget);
                    (turned, *row)
                })
            };
            let Some((turned, row)) = looked else {
                continue;
            };
            let again = row.meter.look_in(now, &row.settings.budget);
            next = next.min(again as u32);
            if turned {
                any = true;
                self.tell_budget(&row);
            }
        }
        if any {
            let mut state = links.state.lock();
            state
                .rows
                .retain(|row| row.settings != Settings::PLAIN || row.meter.is_spent());
            links.note(&state);
            links.changed.write_once(false);
        }
        (next, any)
    }

    fn tell_budget(&self, row: &Row) {
        let link = Link {
            name: row.name,
            ifindex: row.ifindex,
            reason: Reserve::Budget,
            carried: Some((row.meter.used(), row.settings.budget.bytes)),
        };
        self.notify(match row.meter.is_spent() {
            true => Event::InterfaceDemoted { link },
            false => Event::InterfacePromoted { link },
        });
    }

    /// Returns when to look again, and whether another interface is to be used.
    fn look_at_energy(&self, saves: bool) -> (u32, bool) {
        const NONE: Candidate = Candidate {
            ifindex: 0,
            bytes: 0,
            power: Power {
                base_mw: 0,
                bit_nj: 0,
            },
        };
        let links = &self.shared.links;
        let now = clock::boot_ms();
        let mut all = [NONE; MAX_CANDIDATES];
        let mut count = 0;
        for local in self.local_addrs().iter().flatten().filter(|_| saves) {
            let known = all.iter().take(count).any(|c| c.ifindex == local.ifindex);
            if known || !local.is_usable() {
                continue;
            }
            let (role, power) = {
                let state = links.state.lock();
                let row = state.of(local.ifindex);
                let role = state.role(local.ifindex, false);
                (role, row.map_or(NONE.power, |row| row.settings.power))
            };
            if !matches!(role.reserve, None | Some(Reserve::Energy)) {
                continue;
            }
            let bytes = device::bytes_of(self.net, local.ifindex);
            if let (Some(bytes), Some(slot)) = (bytes, all.get_mut(count)) {
                *slot = Candidate {
                    ifindex: local.ifindex,
                    bytes,
                    power,
                };
                count = count.saturating_add(1);
            }
        }
        let all = all.get(..count).unwrap_or(&[]);
        let phases = Phases {
            probe_ms: self.param(Param::EnergyProbe),
            hold_ms: self.param(Param::EnergyHold),
        };
        let (turned, before, next) = {
            let mut state = links.state.lock();
            let before = state.saver;
            let turned = state.saver.look(now, &phases, all);
            if turned {
                links.note(&state);
                links.changed.write_once(false);
            }
            let next = state.saver.look_in(now, &phases) as u32;
            (turned, before, if saves { next } else { u32::MAX })
        };
        if turned {
            self.tell_energy(all, &before);
        }
        (next, turned)
    }

    fn tell_energy(&self, all: &[Candidate], before: &Saver) {
        let now = self.shared.links.state.lock().saver;
        for one in all {
            let (was, is) = (before.spares(one.ifindex), now.spares(one.ifindex));
            let name = device::name_of(self.net, one.ifindex);
            let Some(name) = name.filter(|_| was != is) else {
                continue;
            };
            let link = Link {
                name,
                ifindex: one.ifindex,
                reason: Reserve::Energy,
                carried: None,
            };
            self.notify(match is {
                true => Event::InterfaceDemoted { link },
                false => Event::InterfacePromoted { link },
            });
        }
    }
}
