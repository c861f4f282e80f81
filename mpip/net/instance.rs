// SPDX-License-Identifier: GPL-2.0

//! One namespace's instance and its tables.

use crate::{
    net::{
        event::Event,
        heartbeat::LastWalk,
        peer::Peer,
        ports::Ports,
        rider::{
            self,
            Rider, //
        },
        rows::{
            AvailEntry,
            Destination,
            Ids,
            SynSlot,
            WireEntry, //
        },
        session::Session,
        shared::Shared,
        waiting::Waiting,
        watch::Watched,
        work::Job, //
    },
    new_bh_lock,
    proto::{
        addr::{
            Addr,
            Endpoint,
            Prefix,
            Tuple, //
        },
        avail::AskPolicy,
        counters::Counter,
        crypto::PSK_LEN,
        hello::Identity,
        packet,
        params::Param,
        policy::Treatment,
        seq,
        session::{
            Dispatch,
            Scheduler,
            MAX_LANES, //
        }, //
    },
    sys::{
        atomic::MarkedAccess,
        bh::BhLock,
        burst::Bursts,
        clock,
        crypto::Algo,
        gate::Gate,
        net::{
            Hook,
            Hooks,
            Net,
            Watch, //
        },
        reading::Reading,
        route::{
            self,
            LocalAddr,
            MAX_LOCAL, //
        },
        socket::{
            LentSource,
            MAX_LENT, //
        },
        table::{
            InsertError,
            Table, //
        },
        timer::Work, //
    },
};
use kernel::{
    alloc::flags::GFP_ATOMIC,
    new_mutex,
    prelude::*,
    sync::{
        atomic::Atomic,
        rcu,
        Arc,
        Mutex, //
    },
};

/// Jobs that wait for process context at most.
const MAX_JOBS: usize = 1024;
/// Destinations in the availability table at most.
const MAX_AVAIL: usize = 16384;
/// Prefixes that are asked at most.
pub const MAX_PREFIXES: usize = 64;
/// Slots for SYNs that wait for their SYN-ACK.
const SYN_SLOTS: usize = 256;
/// Exchanges of keys that are remembered.
const USED_EXCHANGES: usize = 64;

/// How far an instance is: it waits for another one to have ended, works, or is being stopped.
const WAITING: u32 = 0;
const WORKING: u32 = 1;
const STOPPING: u32 = 2;

/// An instance.
#[pin_data]
pub struct Instance {
    // First, because fields are dropped in order: no hook and no work may run when the rest goes.
    #[pin]
    machinery: BhLock<Machinery>,
    #[pin]
    ordering: Mutex<Ordering>,
    /// The namespace.
    pub net: Net,
    /// Settings and counters of the namespace.
    pub shared: Arc<Shared>,
    /// Who this node is.
    pub identity: Identity,
    /// The pre-shared key; zeros for none.
    pub psk: [u8; PSK_LEN],
    /// Tuples on the wire, seen from this node.
    #[pin]
    pub wire: Table<WireEntry>,
    /// Sessions by peer and id.
    #[pin]
    pub sessions: Table<Arc<Session>>,
    /// Peers by node id.
    #[pin]
    pub peers: Table<Arc<Peer>>,
    /// Availability, and which node it is (Tables 2 and 3).
    #[pin]
    pub avail: Table<(Destination, Arc<AvailEntry>)>,
    #[pin]
    syns: BhLock<KVec<Option<SynSlot>>>,
    #[pin]
    addrs: BhLock<[Option<LocalAddr>; MAX_LOCAL]>,
    /// Prefixes that are asked.
    #[pin]
    pub prefixes: BhLock<KVec<Prefix>>,
    /// Ports that belong to MPIP.
    pub ports: Arc<Ports>,
    #[pin]
    jobs: BhLock<KVVec<Job>>,
    // Empty, to take the place of the one before.
    #[pin]
    spare_jobs: BhLock<KVVec<Job>>,
    #[pin]
    joining: BhLock<KVec<Option<(Tuple, u32)>>>,
    /// Sessions that the worker has to look at.
    #[pin]
    pub attention: BhLock<KVec<Arc<Session>>>,
    /// Those that it has to look at later.
    #[pin]
    pub waiting: Mutex<Waiting>,
    /// The id of the next session that this end opens, below its highest bit.
    pub next_session: Atomic<u32>,
    stage: Atomic<u32>,
    /// A device or an address has changed since the last look.
    pub changed: Atomic<bool>,
    /// Routes and addresses as they were at the last look, see [`route::generation`].
    pub generation: Atomic<u64>,
    /// When the addresses were looked at last, milliseconds.
    pub looked_ms: Atomic<u32>,
    /// When a device or an address has changed last, milliseconds.
    pub told_ms: Atomic<u32>,
    /// When the addresses were compared for a session, milliseconds.
    compared_ms: Atomic<u32>,
    /// When changes were followed last, milliseconds.
    pub followed_ms: Atomic<u32>,
    /// Some peer has to be told of changed addresses.
    pub announcing: Atomic<bool>,
    /// Messages that wait for a datagram to ride on.
    #[pin]
    pub riders: BhLock<KVec<Option<Rider>>>,
    /// The marks of tuples for which there may be some.
    pub riding: Atomic<u64>,
    /// Sessions whose segments came in a burst that is not over.
    pub bursts: Bursts,
    /// What lets packets pass before any of this is looked at.
    pub gate: Gate,
    /// Sockets that may send from an address that has gone.
    #[pin]
    pub lent: Mutex<[Option<LentSource>; MAX_LENT]>,
    /// Paths with open questions.
    #[pin]
    pub watched: BhLock<KVec<Watched>>,
    /// Exchanges of keys that were used: a captured CONFIRM cannot bring one of them back.
    #[pin]
    used_exchanges: BhLock<([(u64, u64); USED_EXCHANGES], usize)>,
    /// Where the expiry scan of destinations goes on.
    pub scan: Atomic<usize>,
    /// Where that of sessions goes on.
    pub session_scan: Atomic<usize>,
    /// When heartbeats looked at all sessions last.
    pub last_walk: LastWalk,
    /// When the next tick and the next heartbeat are due, milliseconds.
    pub due_ms: [Atomic<u32>; 2],
}

/// The hook at LOCAL_IN.
struct Ordering {
    hooks: Option<Hooks>,
    /// When there were added lanes last, milliseconds.
    used_ms: u32,
}

struct Machinery {
    watch: Option<Watch>,
    hooks: Option<Hooks>,
    work: Option<Work>,
}

impl Instance {
    /// Makes an instance with all that it needs, which does nothing until [`Instance::begin`].
    /// `stop` has to be called in any case. One that is to take the place of another, `old`, takes
    /// over its ports. Process context.
    pub fn new(
        net: Net,
        shared: Arc<Shared>,
        prefixes: KVec<Prefix>,
        psk: [u8; PSK_LEN],
        old: Option<&Instance>,
    ) -> Result<Arc<Instance>> {
        let max_sessions = shared.settings.get(Param::MaxSessions) as usize;
        let max_peers = shared.settings.get(Param::MaxPeers) as usize;
        let ports = match old {
            Some(old) => old.ports.clone(),
            None => {
                let port = shared.settings.get(Param::Port) as u16;
                Arc::pin_init(Ports::new(net, port), GFP_KERNEL)?
            }
        };
        let identity = Identity::new(&Algo, clock::random_bytes(), clock::random_bytes());
        let riders = rider::slots()?;
        let gate = Gate::new()?;
        // SAFETY: `stop` flushes them, when all hooks are gone.
        let bursts = unsafe { Bursts::new() }.ok_or(ENOMEM)?;
        let mut watched = KVec::new();
        watched.reserve(64, GFP_KERNEL)?;
        let mut jobs = KVVec::new();
        jobs.reserve(MAX_JOBS, GFP_KERNEL)?;
        let mut spare_jobs = KVVec::new();
        spare_jobs.reserve(MAX_JOBS, GFP_KERNEL)?;
        let mut attention = KVec::new();
        attention.reserve(256, GFP_KERNEL)?;
        let joining = KVec::from_elem(None, SYN_SLOTS, GFP_KERNEL)?;
        let syns = KVec::from_elem(None, SYN_SLOTS, GFP_KERNEL)?;
        let now = clock::now_ms();
        let generation = route::generation(net);
        let instance = Arc::pin_init(
            try_pin_init!(Instance {
                net,
                shared,
                identity,
                psk,
                wire <- Table::new(10, max_sessions.saturating_mul(MAX_LANES)),
                sessions <- Table::new(9, max_sessions),
                peers <- Table::new(8, max_peers),
                avail <- Table::new(10, MAX_AVAIL),
                syns <- new_bh_lock!(syns, "mpip_syns"),
                addrs <- new_bh_lock!([None; MAX_LOCAL], "mpip_addrs"),
                prefixes <- new_bh_lock!(prefixes, "mpip_prefixes"),
                ports,
                jobs <- new_bh_lock!(jobs, "mpip_jobs"),
                spare_jobs <- new_bh_lock!(spare_jobs, "mpip_spare_jobs"),
                joining <- new_bh_lock!(joining, "mpip_joining"),
                attention <- new_bh_lock!(attention, "mpip_attention"),
                next_session: Atomic::new(clock::random_u64() as u32),
                stage: Atomic::new(WAITING),
                changed: Atomic::new(false),
                generation: Atomic::new(generation),
                looked_ms: Atomic::new(now),
                told_ms: Atomic::new(now.wrapping_sub(1 << 30)),
                compared_ms: Atomic::new(clock::coarse_ms()),
                followed_ms: Atomic::new(now),
                announcing: Atomic::new(false),
                riders <- new_bh_lock!(riders, "mpip_riders"),
                riding: Atomic::new(0),
                bursts,
                gate,
                waiting <- new_mutex!(Waiting::default(), "mpip_waiting"),
                lent <- new_mutex!([const { None }; MAX_LENT], "mpip_lent"),
                watched <- new_bh_lock!(watched, "mpip_watched"),
                used_exchanges <- new_bh_lock!(([(0, 0); USED_EXCHANGES], 0), "mpip_exchanges"),
                scan: Atomic::new(0),
                session_scan: Atomic::new(0),
                last_walk: LastWalk::new(now),
                due_ms: [Atomic::new(now), Atomic::new(now)],
                machinery <- new_bh_lock!(
                    Machinery {
                        watch: None,
                        hooks: None,
                        work: None,
                    },
                    "mpip_machinery"
                ),
                ordering <- new_mutex!(
                    Ordering {
                        hooks: None,
                        used_ms: now,
                    },
                    "mpip_ordering"
                ),
            }? Error),
            GFP_KERNEL,
        )?;
        // SAFETY: `stop` drops the work before the instance can go; every holder of the first
        // reference calls it.
        let work = unsafe { Work::new(&instance) }.ok_or(ENOMEM)?;
        instance.machinery.lock().work = Some(work);
        // SAFETY: As above.
        match unsafe { Watch::new(net, &instance) } {
            Ok(watch) => instance.machinery.lock().watch = Some(watch),
            Err(error) => {
                instance.stop(false);
                return Err(error);
            }
        }
        // SAFETY: As above.
        match unsafe { Hooks::register(net, &instance, Hook::Wire) } {
            Ok(hooks) => instance.machinery.lock().hooks = Some(hooks),
            Err(error) => {
                instance.stop(false);
                return Err(error);
            }
        }
        Ok(instance)
    }

    /// Begins. None other may be at work in the namespace. Process context.
    pub fn begin(&self) {
        self.gate.set_port(self.ports.own());
        self.find_interfaces();
        self.refresh_addrs();
        self.stage.write_once(WORKING);
        self.kick(100);
    }

    /// Stops the instance: says goodbye if there is time, then waits for hooks and work to end
    /// and forgets everything. Process context.
    pub fn stop(&self, gently: bool) {
        self.stage.write_once(STOPPING);
        if gently {
            self.goodbye();
        }
        let (watch, hooks, work) = {
            let mut machinery = self.machinery.lock();
            (
                machinery.watch.take(),
                machinery.hooks.take(),
                machinery.work.take(),
            )
        };
        drop(watch);
        drop(work);
        self.take_all_sources();
        drop(hooks);
        // Only the work would register it anew.
        self.ordering.lock().hooks = None;
        self.bursts.flush();
        self.clear();
    }

    /// Has the hook that puts segments in order come and go with the added lanes: what it costs,
    /// all packets of the host pay. While it is late, segments go on in the order in which they
    /// came. Process context.
    pub fn fit_hooks(&self) {
        /// How long the hook stays without lanes, milliseconds.
        const LINGER_MS: u32 = 10_000;
        let mut ordering = self.ordering.lock();
        let now = clock::now_ms();
        if !self.gate.has_lanes() {
            if seq::age_ms(now, ordering.used_ms) >= LINGER_MS {
                ordering.hooks = None;
            }
            return;
        }
        ordering.used_ms = now;
        if ordering.hooks.is_none() {
            // SAFETY: `stop` drops the hooks before the instance can go, after the work, which is
            // what calls this.
            match unsafe { Hooks::register(self.net, self, Hook::Order) } {
                Ok(hooks) => ordering.hooks = Some(hooks),
                Err(_) => self.count(Counter::NoMemory),
            }
        }
    }

    /// Whether it is being stopped, or does not work yet: no new session, no data on added lanes.
    pub fn is_stopping(&self) -> bool {
        self.stage.read_once() != WORKING
    }

    /// Whether another one has to end first: packets are none of this one's business.
    pub fn is_waiting(&self) -> bool {
        self.stage.read_once() == WAITING
    }

    /// The value of a parameter.
    pub fn param(&self, param: Param) -> u64 {
        self.shared.settings.get(param)
    }

    /// Counts an event.
    pub fn count(&self, counter: Counter) {
        self.shared.counters.add(counter, 1);
    }

    /// Has the tables keep to the caps that are set now.
    pub fn apply_caps(&self) {
        let sessions = self.param(Param::MaxSessions) as usize;
        self.sessions.set_cap(sessions);
        self.wire.set_cap(sessions.saturating_mul(MAX_LANES));
        self.peers.set_cap(self.param(Param::MaxPeers) as usize);
    }

    /// Has the tables' buckets follow what is in them. Process context.
    pub fn fit_tables(&self) {
        self.wire.fit();
        self.sessions.fit();
        self.avail.fit();
    }

    /// The parameters of asking.
    pub fn ask_policy(&self) -> AskPolicy {
        AskPolicy {
            threshold: self.param(Param::QueryThreshold) as u8,
            retry_ms: self.param(Param::QueryRetry) as u32,
            ttl_ms: self.param(Param::NegativeTtl) as u32,
        }
    }

    /// The parameters of dispatching, for a packet that no rule is for.
    pub fn dispatch(&self) -> Dispatch {
        Dispatch {
            scheduler: match self.param(Param::Scheduler) {
                0 => Scheduler::Earliest,
                _ => Scheduler::Weighted,
            },
            step: self.param(Param::WeightStep) as u16,
            interval: (self.param(Param::WeightInterval) as u32).saturating_mul(1000),
            treatment: Treatment::PLAIN,
            passing: false,
        }
    }

    /// Has the worker run in `ms` milliseconds.
    pub fn kick(&self, ms: u32) {
        if let Some(work) = &self.machinery.lock().work {
            work.kick(ms);
        }
    }

    /// Takes another port of its own, as the parameter says, and tells the peers. Process context.
    pub fn change_own_port(&self) {
        let port = self.param(Param::Port) as u16;
        if port == self.ports.own() {
            return;
        }
        self.gate.set_port(self.ports.change_own(self.net, port));
        for peer in self.collect_peers().iter() {
            peer.want_announcement();
        }
        self.announcing.write_once(true);
        self.kick(0);
    }

    /// Hands a job to the worker; false when there are too many.
    pub fn submit(&self, job: Job) -> bool {
        {
            let mut jobs = self.jobs.lock();
            if jobs.len() >= MAX_JOBS || jobs.push_within_capacity(job).is_err() {
                self.count(Counter::HelloDropped);
                return false;
            }
        }
        self.kick(0);
        true
    }

    /// Takes all jobs; to be given back to [`Instance::reuse_jobs`] when they are done. Process
    /// context.
    pub fn take_jobs(&self) -> KVVec<Job> {
        let mut jobs = KVVec::new();
        if self.jobs.lock().is_empty() {
            return jobs;
        }
        core::mem::swap(&mut *self.spare_jobs.lock(), &mut jobs);
        if jobs.capacity() < MAX_JOBS && jobs.reserve(MAX_JOBS, GFP_KERNEL).is_err() {
            return jobs;
        }
        core::mem::swap(&mut *self.jobs.lock(), &mut jobs);
        jobs
    }

    /// Keeps the memory of done jobs for the next ones.
    pub fn reuse_jobs(&self, mut jobs: KVVec<Job>) {
        if jobs.is_empty() && jobs.capacity() >= MAX_JOBS {
            core::mem::swap(&mut *self.spare_jobs.lock(), &mut jobs);
        }
    }

    /// Whether a flow should be handed to the worker: not if it just was.
    pub fn start_joining(&self, tuple: &Tuple) -> bool {
        const AGAIN_MS: u32 = 100;
        let now = clock::now_ms();
        let at = self.syn_index(tuple);
        match self.joining.lock().get_mut(at) {
            Some(Some((known, since)))
                if *known == *tuple && seq::age_ms(now, *since) < AGAIN_MS =>
            {
                false
            }
            Some(slot) => {
                *slot = Some((*tuple, now));
                true
            }
            None => false,
        }
    }

    /// Has the worker look at a session soon.
    pub fn attend(&self, session: &Arc<Session>) {
        if !session.attend() {
            self.kick(0);
            return;
        }
        if self
            .attention
            .lock()
            .push(session.clone(), GFP_ATOMIC)
            .is_err()
        {
            session.unattend();
            self.count(Counter::NoMemory);
        }
        self.kick(0);
    }

    /// A packet of a session was seen.
    pub fn saw(&self, session: &Arc<Session>) {
        if session.touch() {
            // Lanes were not looked after while it was quiet.
            self.attend(session);
        }
    }

    /// Whether an exchange of keys is used for the first time.
    pub fn use_exchange(&self, exchange: (u64, u64)) -> bool {
        let mut used = self.used_exchanges.lock();
        let (known, next) = &mut *used;
        if known.contains(&exchange) {
            return false;
        }
        if let Some(slot) = known.get_mut(*next) {
            *slot = exchange;
        }
        *next = next.wrapping_add(1) % USED_EXCHANGES;
        true
    }

    /// The host's addresses as they are now.
    fn fresh_addrs(&self) -> [Option<LocalAddr>; MAX_LOCAL] {
        let mut fresh = [None; MAX_LOCAL];
        route::local_addrs(self.net, &mut fresh);
        for local in fresh.iter_mut().flatten() {
            local.excluded = self.role_of(local.ifindex).excluded;
        }
        fresh
    }

    /// Whether the host's addresses are others than at the last look.
    pub fn addrs_differ(&self) -> bool {
        let fresh = self.fresh_addrs();
        *self.addrs.lock() != fresh
    }

    /// As [`Instance::addrs_differ`], but not for each of many sessions: whether that was so when
    /// it was last asked a few milliseconds ago is as good.
    pub fn addrs_may_differ(&self) -> bool {
        const MOMENT_MS: u32 = 10;
        let now = clock::coarse_ms();
        if seq::age_ms(now, self.compared_ms.read_once()) < MOMENT_MS {
            return false;
        }
        self.compared_ms.write_once(now);
        self.addrs_differ()
    }

    /// Looks up the host's addresses anew; true if they have changed.
    pub fn refresh_addrs(&self) -> bool {
        let fresh = self.fresh_addrs();
        {
            let mut addrs = self.addrs.lock();
            if *addrs == fresh {
                return false;
            }
            *addrs = fresh;
        }
        let addresses = fresh.iter().flatten().count() as u32;
        self.notify(Event::AddressChange { addresses });
        true
    }

    /// The host's addresses, as at the last look.
    pub fn local_addrs(&self) -> [Option<LocalAddr>; MAX_LOCAL] {
        *self.addrs.lock()
    }

    /// The interface that has an address; 0 for none.
    pub fn ifindex_of(&self, addr: &Addr) -> u32 {
        self.addrs
            .lock()
            .iter()
            .flatten()
            .find(|l| l.addr == *addr)
            .map_or(0, |l| l.ifindex)
    }

    /// MTU of an interface with a usable address, bytes; the largest number if there is none.
    pub fn mtu_of(&self, ifindex: u32) -> u32 {
        self.addrs
            .lock()
            .iter()
            .flatten()
            .find(|l| l.ifindex == ifindex)
            .map_or(u32::MAX, |l| l.mtu)
    }

    /// The smallest MTU of the interfaces with a usable address of one family, bytes.
    pub fn narrowest_mtu(&self, family: u8) -> Option<u32> {
        self.addrs
            .lock()
            .iter()
            .flatten()
            .filter(|l| l.addr.family() == family)
            .map(|l| l.mtu)
            .min()
    }

    /// Remembers a SYN that asked, until its SYN-ACK leaves. Old ones make room.
    pub fn remember_syn(&self, slot: SynSlot) {
        let at = self.syn_index(&slot.tuple);
        if let Some(place) = self.syns.lock().get_mut(at) {
            *place = Some(slot);
        }
    }

    /// The SYN that this tuple's SYN-ACK answers.
    pub fn asked_by_syn(&self, tuple: &Tuple) -> Option<SynSlot> {
        let at = self.syn_index(tuple);
        match self.syns.lock().get(at) {
            Some(Some(slot)) if slot.tuple == *tuple => Some(*slot),
            _ => None,
        }
    }

    /// As [`Instance::asked_by_syn`], but only for the first SYN-ACK: if that is lost, it may be
    /// because of the option.
    pub fn answer_syn_once(&self, tuple: &Tuple) -> Option<SynSlot> {
        let at = self.syn_index(tuple);
        match self.syns.lock().get_mut(at) {
            Some(Some(slot)) if slot.tuple == *tuple && !slot.answered => {
                slot.answered = true;
                Some(*slot)
            }
            _ => None,
        }
    }

    /// Forgets the question of a tuple's last SYN.
    pub fn forget_syn(&self, tuple: &Tuple) {
        let at = self.syn_index(tuple);
        if let Some(slot) = self.syns.lock().get_mut(at) {
            if slot.is_some_and(|s| s.tuple == *tuple) {
                *slot = None;
            }
        }
    }

    fn syn_index(&self, tuple: &Tuple) -> usize {
        self.tuple_slot(tuple) % SYN_SLOTS
    }

    /// A number for a tuple that nobody else can foresee.
    pub fn tuple_slot(&self, tuple: &Tuple) -> usize {
        use crate::proto::crypto::Crypto;
        Algo.siphash(&self.identity.cookie, &tuple.encode()) as usize
    }

    /// Whether this destination may be asked at all.
    pub fn may_ask(&self, addr: &Addr) -> bool {
        match self.param(Param::Ask) {
            0 => true,
            1 => self.prefixes.lock().iter().any(|p| p.contains(addr)),
            _ => false,
        }
    }

    /// The row of a destination, made if need be.
    pub fn avail_entry(&self, rcu: Reading<'_>, dest: &Destination) -> Option<Arc<AvailEntry>> {
        if let Some((_, entry)) = self.avail.get(rcu, dest) {
            return Some(entry.clone());
        }
        if self.avail.is_full() {
            self.count(Counter::AvailRefusedCap);
            return None;
        }
        let entry = Arc::pin_init(AvailEntry::new(clock::now_ms()), GFP_ATOMIC).ok()?;
        match self.avail.insert((*dest, entry.clone())) {
            Ok(()) => Some(entry),
            Err(InsertError::Exists) => self.avail.get(rcu, dest).map(|(_, e)| e.clone()),
            Err(_) => None,
        }
    }

    /// Notes that a destination speaks MPIP, and as which node (Table 3).
    pub fn note_available(&self, dest: &Destination, node: Option<u64>) {
        // Without room the next session asks again.
        if let Some(entry) = self.avail_entry((&rcu::read_lock()).into(), dest) {
            entry.be_available(node);
        }
    }

    /// Notes the same of a destination that calls. A caller's port is another one next time: no row
    /// is made for it, only one that there is has to be right.
    pub fn note_caller(&self, dest: &Destination, node: u64) {
        if let Some((_, entry)) = self.avail.get(&rcu::read_lock(), dest) {
            entry.be_available(Some(node));
        }
    }

    /// The peer that a destination belongs to.
    pub fn peer_of(&self, rcu: Reading<'_>, entry: &AvailEntry) -> Option<Arc<Peer>> {
        self.peers
            .get(rcu, &Ids(entry.node()?, 0))
            .filter(|p| !p.has_left())
            .cloned()
    }

    /// The most that a TCP segment for this end is wrapped in, as far as is known, bytes.
    pub fn wrapper_len(&self, remote: &Endpoint) -> usize {
        let dest = Destination {
            proto: packet::TCP,
            end: *remote,
        };
        let rcu = rcu::read_lock();
        let peer = self
            .avail
            .get(&rcu, &dest)
            .and_then(|(_, entry)| self.peer_of((&rcu).into(), entry));
        peer.map_or(0, |peer| peer.wrapper_len(packet::TCP))
    }

    /// Says for which tuples, by their marks, messages may wait for a datagram to ride on. With
    /// `riders` locked.
    pub fn set_riding(&self, marks: u64) {
        self.riding.write_once(marks);
        self.gate.set_riding(marks != 0);
    }

    /// Number of peers, sessions, paths and active paths.
    pub fn totals(&self) -> (u32, u32, u32, u32) {
        let rcu = rcu::read_lock();
        let (mut paths, mut active) = (0u32, 0u32);
        self.peers.for_each(&rcu, |peer| {
            for i in 0..super::peer::MAX_PATHS {
                if let Some(path) = peer.path_by_id(i) {
                    paths = paths.saturating_add(1);
                    let is_active = path.is_confirmed() && path.is_usable();
                    active = active.saturating_add(is_active.into());
                }
            }
        });
        (
            self.peers.len() as u32,
            self.sessions.len() as u32,
            paths,
            active,
        )
    }
}
