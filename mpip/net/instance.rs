// SPDX-License-Identifier: GPL-2.0

//! One namespace's instance and its tables.

use crate::{
    net::{
        event::Event,
        peer::{
            Path,
            Peer, //
        },
        rider::{
            self,
            Rider, //
        },
        session::{
            Session,
            TcpPosition, //
        },
        watch::Watched,
        work::Job,
    },
    new_bh_lock,
    proto::{
        addr::{
            Addr,
            Endpoint,
            Tuple, //
        },
        avail::{
            self,
            AskPolicy, //
        },
        counters::{
            self,
            Counter, //
        },
        crypto::HelloIds,
        hello::Identity,
        packet::{
            self,
            Packet, //
        },
        params::{
            self,
            Param, //
        },
        session::{
            self,
            Dispatch,
            Scheduler,
            MAX_LANES, //
        },
        wrap::Via, //
    },
    sys::{
        bh::BhLock,
        clock,
        crypto::Algo,
        gate::Gate,
        net::{
            Hooks,
            Net,
            Watch, //
        },
        route::{
            self,
            Dst,
            LocalAddr,
            MAX_LOCAL, //
        },
        socket::{
            self,
            Owner,
            ReservedPort, //
        },
        table::{
            InsertError,
            Key,
            Table, //
        },
        timer::Work, //
    },
};
use kernel::{
    alloc::flags::GFP_ATOMIC,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        rcu,
        Arc, //
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
/// Ports that are tried for a session before more are reserved.
const PORTS_TRIED: usize = 512;
/// Ports reserved for added lanes at most, per protocol.
pub const MAX_PORTS: usize = 4096;

impl Key for Tuple {
    fn with_bytes<R>(&self, f: impl FnOnce(&[u8]) -> R) -> R {
        let (Addr::V4(local), Addr::V4(remote)) = (&self.local.addr, &self.remote.addr) else {
            return f(&self.encode());
        };
        let [l0, l1] = self.local.port.to_ne_bytes();
        let [r0, r1] = self.remote.port.to_ne_bytes();
        let [a, b, c, d] = *local;
        let [e, g, h, i] = *remote;
        f(&[a, b, c, d, e, g, h, i, l0, l1, r0, r1, self.proto, 0, 0, 0])
    }
}

/// A key made of two numbers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Ids(pub u64, pub u32);

impl Key for Ids {
    fn with_bytes<R>(&self, f: impl FnOnce(&[u8]) -> R) -> R {
        let mut bytes = [0; 12];
        bytes[..8].copy_from_slice(&self.0.to_ne_bytes());
        bytes[8..].copy_from_slice(&self.1.to_ne_bytes());
        f(&bytes)
    }
}

/// A destination: protocol, address and port.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Destination {
    /// IP protocol number.
    pub proto: u8,
    /// Address and port.
    pub end: Endpoint,
}

impl Key for Destination {
    fn with_bytes<R>(&self, f: impl FnOnce(&[u8]) -> R) -> R {
        let mut bytes = [0; 20];
        bytes[0] = self.proto;
        bytes[1] = self.end.addr.family();
        bytes[2..4].copy_from_slice(&self.end.port.to_ne_bytes());
        bytes[4..].copy_from_slice(&self.end.addr.to_padded());
        f(&bytes)
    }
}

/// What a tuple on the wire stands for: a session's lane.
pub struct WireEntry {
    /// The session.
    pub session: Arc<Session>,
    /// Index of the lane.
    pub lane: u8,
    /// How its packets travel.
    pub via: Via,
    /// The path.
    pub path: Arc<Path>,
    rx_packets: Atomic<u64>,
    rx_bytes: Atomic<u64>,
    up: Atomic<bool>,
}

impl WireEntry {
    /// Counts a received packet for the lane and its path.
    pub fn count_rx(&self, packets: u32, bytes: usize) {
        self.rx_packets.add(u64::from(packets), Relaxed);
        self.rx_bytes.add(bytes as u64, Relaxed);
        self.path.count_rx(packets, bytes);
    }

    /// A challenge came back: the tuple is this lane's for certain. False if that was known.
    pub fn set_up(&self) -> bool {
        !self.up.xchg(true, Relaxed)
    }

    /// Whether a challenge came back.
    pub fn is_up(&self) -> bool {
        self.up.load(Relaxed)
    }

    /// Whether a packet on a lane that is not up yet belongs to a connection of this host: a
    /// tuple that a peer names may be somebody else's.
    pub fn belongs_to_a_socket(&self, instance: &Instance, packet: &Packet, ifindex: u32) -> bool {
        if packet.tcp.is_some_and(|tcp| tcp.flags & packet::SYN != 0) {
            return true;
        }
        socket::tcp_owner(instance.net, &packet.rx_tuple(), ifindex) != Owner::None
    }

    /// Packets and bytes received.
    pub fn rx(&self) -> (u64, u64) {
        (self.rx_packets.load(Relaxed), self.rx_bytes.load(Relaxed))
    }
}

impl Drop for WireEntry {
    fn drop(&mut self) {
        self.path.remove_user();
    }
}

/// A row of the availability table.
#[pin_data]
pub struct AvailEntry {
    /// Its state.
    #[pin]
    pub state: BhLock<avail::Entry>,
    /// Datagrams sent while nothing is known.
    pub sent: Atomic<u32>,
    quiet_from: Atomic<u32>,
    quiet: Atomic<bool>,
}

impl AvailEntry {
    /// There is nothing to ask for a moment: packets pass without looking at the state.
    pub fn be_quiet(&self, now_ms: u32) {
        self.quiet_from.store(now_ms, Relaxed);
        self.quiet.store(true, Relaxed);
    }

    /// Whether there is nothing to ask now.
    pub fn is_quiet(&self, now_ms: u32) -> bool {
        const MOMENT_MS: u32 = 100;
        self.quiet.load(Relaxed) && now_ms.wrapping_sub(self.quiet_from.load(Relaxed)) < MOMENT_MS
    }
}

/// A SYN that asked, until its SYN-ACK leaves.
#[derive(Clone, Copy)]
pub struct SynSlot {
    /// The tuple, seen from this node.
    pub tuple: Tuple,
    /// Nonce of the question.
    pub nonce: u64,
    /// Sequence number of the SYN.
    pub isn: u32,
    /// A SYN-ACK with the answer has left.
    pub answered: bool,
}

/// A destination prefix.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Prefix {
    /// Network address.
    pub addr: Addr,
    /// Its length, bits.
    pub len: u8,
}

impl Prefix {
    /// Whether `addr` lies in it.
    pub fn contains(&self, addr: &Addr) -> bool {
        if self.addr.family() != addr.family() {
            return false;
        }
        let bits = usize::from(self.len);
        let (a, b) = (self.addr.as_bytes(), addr.as_bytes());
        a.iter().zip(b).enumerate().all(|(i, (x, y))| {
            let left = bits.saturating_sub(i * 8).min(8) as u32;
            let mask = !(0xffu32 >> left) as u8;
            x & mask == y & mask
        })
    }
}

/// The parameters of a namespace, kept whether it is enabled or not.
pub struct Settings {
    values: [Atomic<u64>; params::COUNT],
}

impl Settings {
    /// The defaults.
    pub fn defaults() -> Settings {
        Settings {
            values: params::defaults().map(Atomic::new),
        }
    }

    /// The value of a parameter.
    pub fn get(&self, param: Param) -> u64 {
        self.values[param.index()].load(Relaxed)
    }

    /// Sets a parameter; the caller has checked its range.
    pub fn set(&self, param: Param, value: u64) {
        self.values[param.index()].store(value, Relaxed);
    }
}

/// Copies of the counters, chosen by CPU, so that CPUs rarely share a cache line.
const SHARDS: usize = 8;

#[repr(align(64))]
struct Shard([Atomic<u64>; counters::COUNT]);

/// Counters.
pub struct Counters {
    shards: KVec<Shard>,
}

impl Counters {
    /// All zero. Process context.
    pub fn new() -> Result<Counters> {
        let mut shards = KVec::with_capacity(SHARDS, GFP_KERNEL)?;
        for _ in 0..SHARDS {
            shards.push(Shard([0u64; counters::COUNT].map(Atomic::new)), GFP_KERNEL)?;
        }
        Ok(Counters { shards })
    }

    /// Adds to a counter.
    pub fn add(&self, counter: Counter, n: u64) {
        if let Some(shard) = self.shards.get(clock::cpu() % SHARDS) {
            shard.0[counter.index()].add(n, Relaxed);
        }
    }

    /// The value of a counter.
    pub fn get(&self, counter: Counter) -> u64 {
        self.shards.iter().fold(0, |sum, shard| {
            sum.wrapping_add(shard.0[counter.index()].load(Relaxed))
        })
    }
}

/// What the instance shares with its namespace's settings.
pub struct Shared {
    /// Parameters.
    pub settings: Settings,
    /// Counters; they survive disabling.
    pub counters: Counters,
    /// Memory held by all reordering buffers, bytes.
    pub held: Atomic<i64>,
    /// Memory of all segments kept to be sent again, bytes.
    pub kept: Atomic<i64>,
}

/// Ports reserved for one protocol.
pub struct PortPool {
    held: KVec<ReservedPort>,
    next: usize,
}

/// A working instance.
#[pin_data]
pub struct Instance {
    // First, because fields are dropped in order: no hook and no work may run when the rest goes.
    #[pin]
    machinery: BhLock<Machinery>,
    /// The namespace.
    pub net: Net,
    /// Settings and counters of the namespace.
    pub shared: Arc<Shared>,
    /// Who this node is.
    pub identity: Identity,
    /// Tuples on the wire, seen from this node.
    #[pin]
    pub wire: Table<Tuple, WireEntry>,
    /// Sessions by peer and id.
    #[pin]
    pub sessions: Table<Ids, Arc<Session>>,
    /// Peers by node id.
    #[pin]
    pub peers: Table<Ids, Arc<Peer>>,
    /// Availability (Table 2).
    #[pin]
    pub avail: Table<Destination, Arc<AvailEntry>>,
    /// Node addresses (Table 3).
    #[pin]
    pub nodes: Table<Destination, u64>,
    #[pin]
    syns: BhLock<KVec<Option<SynSlot>>>,
    #[pin]
    addrs: BhLock<[Option<LocalAddr>; MAX_LOCAL]>,
    /// Prefixes that are asked.
    #[pin]
    pub prefixes: BhLock<KVec<Prefix>>,
    #[pin]
    ports: BhLock<[PortPool; 2]>,
    /// More ports are wanted, by protocol.
    pub ports_wanted: [Atomic<bool>; 2],
    // The node's own port, UDP and TCP.
    #[pin]
    own_ports: BhLock<[Option<ReservedPort>; 2]>,
    own_port: Atomic<u32>,
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
    next_session: Atomic<u32>,
    stopping: Atomic<bool>,
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
    /// There may be some.
    pub riding: Atomic<bool>,
    /// What lets packets pass before any of this is looked at.
    pub gate: Gate,
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
    /// When the next tick and the next heartbeat are due, milliseconds.
    pub due_ms: [Atomic<u32>; 2],
}

/// Reserves a port for UDP and TCP, this one if it is free.
fn reserve_own(net: Net, port: u16) -> ([Option<ReservedPort>; 2], u16) {
    let udp = ReservedPort::reserve(net, packet::UDP, port)
        .or_else(|| ReservedPort::reserve(net, packet::UDP, 0));
    let port = udp.as_ref().map_or(0, ReservedPort::port);
    let tcp = if port == 0 {
        None
    } else {
        ReservedPort::reserve(net, packet::TCP, port)
    };
    ([udp, tcp], port)
}

struct Machinery {
    watch: Option<Watch>,
    hooks: Option<Hooks>,
    work: Option<Work>,
}

impl Instance {
    /// Makes an instance and starts it. Process context.
    pub fn start(net: Net, shared: Arc<Shared>, prefixes: KVec<Prefix>) -> Result<Arc<Instance>> {
        let max_sessions = shared.settings.get(Param::MaxSessions) as usize;
        let max_peers = shared.settings.get(Param::MaxPeers) as usize;
        let (own_ports, own_port) = reserve_own(net, shared.settings.get(Param::Port) as u16);
        let identity = Identity::new(&Algo, clock::random_bytes(), clock::random_bytes());
        let riders = rider::slots()?;
        let gate = Gate::new()?;
        gate.set_port(own_port);
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
                wire <- Table::new(10, max_sessions.saturating_mul(MAX_LANES)),
                sessions <- Table::new(9, max_sessions),
                peers <- Table::new(8, max_peers),
                avail <- Table::new(10, MAX_AVAIL),
                nodes <- Table::new(10, MAX_AVAIL),
                syns <- new_bh_lock!(syns, "mpip_syns"),
                addrs <- new_bh_lock!([None; MAX_LOCAL], "mpip_addrs"),
                prefixes <- new_bh_lock!(prefixes, "mpip_prefixes"),
                ports <- new_bh_lock!(
                    [
                        PortPool {
                            held: KVec::new(),
                            next: 0,
                        },
                        PortPool {
                            held: KVec::new(),
                            next: 0,
                        },
                    ],
                    "mpip_ports"
                ),
                ports_wanted: [Atomic::new(false), Atomic::new(false)],
                own_ports <- new_bh_lock!(own_ports, "mpip_own_ports"),
                own_port: Atomic::new(u32::from(own_port)),
                jobs <- new_bh_lock!(jobs, "mpip_jobs"),
                spare_jobs <- new_bh_lock!(spare_jobs, "mpip_spare_jobs"),
                joining <- new_bh_lock!(joining, "mpip_joining"),
                attention <- new_bh_lock!(attention, "mpip_attention"),
                next_session: Atomic::new(clock::random_u64() as u32),
                stopping: Atomic::new(false),
                changed: Atomic::new(false),
                generation: Atomic::new(generation),
                looked_ms: Atomic::new(now),
                told_ms: Atomic::new(now.wrapping_sub(1 << 30)),
                compared_ms: Atomic::new(now),
                followed_ms: Atomic::new(now),
                announcing: Atomic::new(false),
                riders <- new_bh_lock!(riders, "mpip_riders"),
                riding: Atomic::new(false),
                gate,
                watched <- new_bh_lock!(watched, "mpip_watched"),
                used_exchanges <- new_bh_lock!(([(0, 0); USED_EXCHANGES], 0), "mpip_exchanges"),
                scan: Atomic::new(0),
                session_scan: Atomic::new(0),
                due_ms: [Atomic::new(now), Atomic::new(now)],
                machinery <- new_bh_lock!(
                    Machinery {
                        watch: None,
                        hooks: None,
                        work: None,
                    },
                    "mpip_machinery"
                ),
            }? Error),
            GFP_KERNEL,
        )?;
        instance.refresh_addrs();
        // SAFETY: `stop` drops the work before the instance can go; every holder of the first
        // reference calls it.
        let work = unsafe { Work::new(&instance) }.ok_or(ENOMEM)?;
        instance.machinery.lock().work = Some(work);
        instance.kick(100);
        // SAFETY: As above.
        match unsafe { Watch::new(net, &instance) } {
            Ok(watch) => instance.machinery.lock().watch = Some(watch),
            Err(error) => {
                instance.stop(false);
                return Err(error);
            }
        }
        // SAFETY: As above.
        match unsafe { Hooks::register(net, &instance) } {
            Ok(hooks) => instance.machinery.lock().hooks = Some(hooks),
            Err(error) => {
                instance.stop(false);
                return Err(error);
            }
        }
        Ok(instance)
    }

    /// Stops the instance: says goodbye if there is time, then waits for hooks and work to end
    /// and forgets everything. Process context.
    pub fn stop(&self, gently: bool) {
        self.stopping.store(true, Relaxed);
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
        drop(hooks);
        drop(work);
        self.clear();
    }

    /// Whether it is being stopped: no new session, no data on added lanes.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Relaxed)
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
        self.nodes.fit();
    }

    /// The parameters of asking.
    pub fn ask_policy(&self) -> AskPolicy {
        AskPolicy {
            threshold: self.param(Param::QueryThreshold) as u8,
            retry_ms: self.param(Param::QueryRetry) as u32,
            ttl_ms: self.param(Param::NegativeTtl) as u32,
        }
    }

    /// The parameters of dispatching.
    pub fn dispatch(&self) -> Dispatch {
        Dispatch {
            scheduler: match self.param(Param::Scheduler) {
                0 => Scheduler::Earliest,
                _ => Scheduler::Weighted,
            },
            step: self.param(Param::WeightStep) as u16,
            interval: (self.param(Param::WeightInterval) as u32).saturating_mul(1000),
        }
    }

    /// Has the worker run in `ms` milliseconds.
    pub fn kick(&self, ms: u32) {
        if let Some(work) = &self.machinery.lock().work {
            work.kick(ms);
        }
    }

    /// The node's own port, UDP and TCP; 0 for none.
    pub fn own_port(&self) -> u16 {
        self.own_port.load(Relaxed) as u16
    }

    /// Takes another port of its own, as the parameter says. Lanes that there are stay. Process
    /// context.
    pub fn change_own_port(&self) {
        let port = self.param(Param::Port) as u16;
        if port == self.own_port() {
            return;
        }
        let (mut fresh, port) = reserve_own(self.net, port);
        core::mem::swap(&mut *self.own_ports.lock(), &mut fresh);
        self.own_port.store(u32::from(port), Relaxed);
        self.gate.set_port(port);
        drop(fresh);
        for peer in self.collect_peers().iter() {
            peer.want_announcement();
        }
        self.announcing.store(true, Relaxed);
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
                if *known == *tuple && now.wrapping_sub(*since) < AGAIN_MS =>
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
        *next = (*next + 1) % USED_EXCHANGES;
        true
    }

    /// Whether the host's addresses are others than at the last look.
    pub fn addrs_differ(&self) -> bool {
        let mut fresh = [None; MAX_LOCAL];
        route::local_addrs(self.net, &mut fresh);
        *self.addrs.lock() != fresh
    }

    /// As [`Instance::addrs_differ`], but not for each of many sessions: whether that was so when
    /// it was last asked a few milliseconds ago is as good.
    pub fn addrs_may_differ(&self) -> bool {
        const MOMENT_MS: u32 = 10;
        let now = clock::coarse_ms();
        if now.wrapping_sub(self.compared_ms.load(Relaxed)) < MOMENT_MS {
            return false;
        }
        self.compared_ms.store(now, Relaxed);
        self.addrs_differ()
    }

    /// Looks up the host's addresses anew; true if they have changed.
    pub fn refresh_addrs(&self) -> bool {
        let mut fresh = [None; MAX_LOCAL];
        route::local_addrs(self.net, &mut fresh);
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

    /// The host's usable addresses.
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
    pub fn avail_entry(&self, rcu: &rcu::Guard, dest: &Destination) -> Option<Arc<AvailEntry>> {
        if let Some(entry) = self.avail.get(rcu, dest) {
            return Some(entry.clone());
        }
        if self.avail.is_full() {
            self.count(Counter::AvailRefusedCap);
            return None;
        }
        let now = clock::now_ms();
        let entry = Arc::pin_init(
            pin_init!(AvailEntry {
                state <- new_bh_lock!(avail::Entry::new(now), "mpip_avail"),
                sent: Atomic::new(0),
                quiet_from: Atomic::new(0),
                quiet: Atomic::new(false),
            }),
            GFP_ATOMIC,
        )
        .ok()?;
        match self.avail.insert(*dest, entry.clone()) {
            Ok(()) => Some(entry),
            Err(InsertError::Exists) => self.avail.get(rcu, dest).cloned(),
            Err(_) => None,
        }
    }

    /// Notes that a destination speaks MPIP, and as which node (Table 3).
    pub fn note_available(&self, dest: &Destination, node: Option<u64>) {
        let rcu = rcu::read_lock();
        if let Some(entry) = self.avail_entry(&rcu, dest) {
            entry.state.lock().answered(clock::now_ms());
        }
        if let Some(node) = node {
            let stale = match self.nodes.get(&rcu, dest) {
                Some(known) if *known == node => return,
                known => known.is_some(),
            };
            if stale {
                self.nodes.remove(dest);
            }
            // Without room the next session asks again.
            let _ = self.nodes.insert(*dest, node);
        }
    }

    /// The peer that a destination belongs to.
    pub fn peer_of(&self, rcu: &rcu::Guard, dest: &Destination) -> Option<Arc<Peer>> {
        let node = *self.nodes.get(rcu, dest)?;
        self.peers
            .get(rcu, &Ids(node, 0))
            .filter(|p| !p.has_left())
            .cloned()
    }

    /// An id for a session that this end opens. The highest bit tells which end chose it.
    pub fn new_session_id(&self, peer: u64) -> u32 {
        let high = u32::from(self.identity.node > peer) << 31;
        loop {
            let id = self.next_session.fetch_add(1u32, Relaxed) & 0x7fff_ffff;
            if id != 0 {
                return id | high;
            }
        }
    }

    /// Adds a session to the tables. `theirs` is the peer's id of the original path. Any context.
    #[expect(clippy::too_many_arguments)]
    pub fn add_session(
        &self,
        id: u32,
        tuple: Tuple,
        initiator: bool,
        peer: &Arc<Peer>,
        position: TcpPosition,
        confirm: Option<HelloIds>,
        theirs: Option<u8>,
    ) -> Option<Arc<Session>> {
        if self.is_stopping() {
            return None;
        }
        let limit = self.param(Param::MaxPaths) as usize;
        // The address may be that of several interfaces.
        let ifindex = match Dst::lookup(self.net, 0, &tuple) {
            Some(route) => route.ifindex(),
            None => self.ifindex_of(&tuple.local.addr),
        };
        let (local, remote) = (tuple.local.addr, tuple.remote.addr);
        let Some(path) = peer.path(local, remote, ifindex, theirs, limit) else {
            self.count(Counter::PathRefusedCap);
            return None;
        };
        let Ok(session) = Session::new(
            self.net,
            self.shared.clone(),
            id,
            tuple,
            initiator,
            peer.clone(),
            path.clone(),
            position,
            confirm,
        ) else {
            self.count(Counter::NoMemory);
            return None;
        };
        let ids = Ids(peer.node, id);
        match self.sessions.insert(ids, session.clone()) {
            Ok(()) => {}
            Err(InsertError::Exists) => return None,
            Err(InsertError::Full) => {
                self.count(Counter::SessionRefusedCap);
                return None;
            }
            Err(InsertError::NoMemory) => {
                self.count(Counter::NoMemory);
                return None;
            }
        }
        if !self.add_wire(tuple, &session, 0, Via::Raw, path) {
            self.sessions.remove(&ids);
            return None;
        }
        peer.sessions.add(1u32, Relaxed);
        Some(session)
    }

    /// Makes a tuple on the wire stand for a lane; false if it stands for something else.
    pub fn add_wire(
        &self,
        tuple: Tuple,
        session: &Arc<Session>,
        lane: usize,
        via: Via,
        path: Arc<Path>,
    ) -> bool {
        let entry = WireEntry {
            session: session.clone(),
            lane: lane as u8,
            via,
            path,
            rx_packets: Atomic::new(0),
            rx_bytes: Atomic::new(0),
            up: Atomic::new(lane == 0),
        };
        entry.path.add_user();
        self.gate.count_up(lane != 0);
        if self.wire.insert(tuple, entry).is_err() {
            self.gate.count_down(lane != 0);
            return false;
        }
        self.gate.stop(&tuple);
        true
    }

    /// Makes a tuple on the wire stand for nothing, if it stands for a lane of this session.
    pub fn remove_wire(&self, tuple: &Tuple, session: &Arc<Session>) {
        let mut added = false;
        let removed = self.wire.remove_if(tuple, |entry| {
            added = entry.lane != 0;
            Arc::ptr_eq(&entry.session, session)
        });
        if removed {
            self.gate.count_down(added);
        }
    }

    /// Says whether messages may wait for a datagram to ride on.
    pub fn set_riding(&self, riding: bool) {
        self.riding.store(riding, Relaxed);
        self.gate.set_riding(riding);
    }

    /// Takes a session out of the tables. Process context: waits for its timer.
    pub fn remove_session(&self, session: &Arc<Session>) {
        let mut tuples = [None; MAX_LANES];
        let mut routes = [const { None }; MAX_LANES];
        {
            let mut inner = session.inner.lock();
            if inner.dead {
                return;
            }
            inner.dead = true;
            session.set_multi(false);
            inner.s.state = session::State::Closing;
            let lanes = inner.s.lanes.iter_mut();
            for ((tuple, route), lane) in tuples.iter_mut().zip(&mut routes).zip(lanes) {
                *tuple = lane.as_ref().map(|l| l.tuple);
                *route = lane.as_mut().and_then(|l| l.route.take());
            }
        }
        // Now and not with the session, whose memory outlives the namespace by a grace period.
        drop(routes);
        for tuple in tuples.into_iter().flatten() {
            self.remove_wire(&tuple, session);
        }
        if self.sessions.remove(&Ids(session.peer.node, session.id)) {
            session.peer.sessions.fetch_sub(1u32, Relaxed);
        }
        session.end_ordering();
        session.forget_kept();
    }

    /// A reserved port such that `free` accepts it, for lanes of `proto`.
    pub fn pick_port(&self, proto: u8, mut free: impl FnMut(u16) -> bool) -> Option<u16> {
        let which = usize::from(proto == packet::UDP);
        let mut ports = self.ports.lock();
        let pool = ports.get_mut(which)?;
        let n = pool.held.len();
        for _ in 0..n.min(PORTS_TRIED) {
            pool.next = if pool.next + 1 < n { pool.next + 1 } else { 0 };
            let Some(port) = pool.held.get(pool.next).map(ReservedPort::port) else {
                continue;
            };
            if free(port) {
                return Some(port);
            }
        }
        if let Some(wanted) = self.ports_wanted.get(which) {
            wanted.store(true, Relaxed);
        }
        None
    }

    /// Reserves more ports for `proto`: twice as many as there are. Process context.
    pub fn grow_ports(&self, proto: u8) -> bool {
        let which = usize::from(proto == packet::UDP);
        let have = self.ports.lock().get(which).map_or(0, |p| p.held.len());
        let want = have.saturating_mul(2).clamp(16, MAX_PORTS) - have;
        if want == 0 {
            self.count(Counter::PortExhausted);
            return false;
        }
        // The next search begins with the new ones.
        if let Some(pool) = self.ports.lock().get_mut(which) {
            pool.next = have.saturating_sub(1);
        }
        for _ in 0..want {
            let Some(port) = ReservedPort::reserve(self.net, proto, 0) else {
                self.count(Counter::PortExhausted);
                return false;
            };
            let mut room = KVec::new();
            {
                let mut ports = self.ports.lock();
                let Some(pool) = ports.get_mut(which) else {
                    return false;
                };
                if pool.held.len() < pool.held.capacity() {
                    let _ = pool.held.push_within_capacity(port);
                    continue;
                }
            }
            // The vector is full: make a larger one outside the lock.
            if room.reserve(have + want + 16, GFP_KERNEL).is_err() {
                return false;
            }
            let mut ports = self.ports.lock();
            let Some(pool) = ports.get_mut(which) else {
                return false;
            };
            for old in pool.held.drain_all() {
                let _ = room.push_within_capacity(old);
            }
            let _ = room.push_within_capacity(port);
            core::mem::swap(&mut pool.held, &mut room);
        }
        true
    }

    /// Number of peers, sessions, paths and active paths.
    pub fn totals(&self) -> (u32, u32, u32, u32) {
        let rcu = rcu::read_lock();
        let (mut paths, mut active) = (0u32, 0u32);
        self.peers.for_each(&rcu, |_, peer| {
            for i in 0..super::peer::MAX_PATHS {
                if let Some(path) = peer.path_by_id(i) {
                    paths += 1;
                    active += u32::from(path.is_confirmed() && path.is_usable());
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
