// SPDX-License-Identifier: GPL-2.0

//! The virtual clock, the links and the hosts.

use crate::app::App;
use crate::app::Tcp;
use crate::link::Link;
use crate::link::Shape;
use crate::node::Node;
use crate::wire;
use crate::wire::Wire;
use mpip_host::proto::addr::Addr;
use mpip_host::proto::addr::Tuple;
use mpip_host::proto::packet;
use rand_chacha::rand_core::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::HashMap;

/// A timer of a host.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// The worker of its node.
    Work,
    /// The reordering buffer of a session.
    Reorder(u64, u32),
    /// An application.
    App(usize),
}

/// What a host sees of the world while it handles an event.
pub struct Cx<'a> {
    /// The time, microseconds.
    pub now: u64,
    /// The only source of randomness.
    pub rng: &'a mut ChaCha8Rng,
    /// Packets that leave.
    pub sent: Vec<Wire>,
    /// Timers that are set.
    pub timers: Vec<(u64, Timer)>,
    /// Tuples of sockets that need not wait for their timers.
    pub woken: Vec<Tuple>,
    routes: &'a HashMap<(Addr, Addr), usize>,
}

impl Cx<'_> {
    /// Whether there is a way from a local to a remote address.
    pub fn has_route(&self, local: &Addr, remote: &Addr) -> bool {
        self.routes.contains_key(&(*local, *remote))
    }
}

enum Event {
    Arrive(usize, Wire),
    Timer(usize, Timer),
}

struct Entry(u64, u64, Event);

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        (self.0, self.1) == (other.0, other.1)
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0, self.1).cmp(&(other.0, other.1))
    }
}

/// A host: addresses, applications and, if it has MPIP, a node.
pub struct Host {
    /// Its addresses.
    pub addrs: Vec<Addr>,
    /// MPIP.
    pub node: Option<Node>,
    /// Its sockets and who uses them.
    pub apps: Vec<App>,
    /// Packets that reached the host, if they are to be kept.
    pub log: Option<Vec<Wire>>,
}

/// Sees every packet that is sent; false loses it.
pub type Tap = Box<dyn FnMut(u64, &Wire) -> bool>;

/// Everything.
pub struct World {
    /// The time, microseconds.
    pub now: u64,
    /// The only source of randomness.
    pub rng: ChaCha8Rng,
    /// The hosts.
    pub hosts: Vec<Host>,
    /// The links, each one direction.
    pub links: Vec<Link>,
    /// Sees every packet.
    pub tap: Option<Tap>,
    routes: HashMap<(Addr, Addr), usize>,
    events: BinaryHeap<Reverse<Entry>>,
    order: u64,
}

impl World {
    /// An empty world.
    pub fn new(seed: u64) -> World {
        World {
            now: 0,
            rng: ChaCha8Rng::seed_from_u64(seed),
            hosts: Vec::new(),
            links: Vec::new(),
            tap: None,
            routes: HashMap::new(),
            events: BinaryHeap::new(),
            order: 0,
        }
    }

    /// Adds a host without MPIP.
    pub fn plain(&mut self, addrs: &[Addr]) -> usize {
        self.hosts.push(Host {
            addrs: addrs.to_vec(),
            node: None,
            apps: Vec::new(),
            log: None,
        });
        self.hosts.len() - 1
    }

    /// Adds a host with MPIP whose clock shows `clock` now, microseconds.
    pub fn multi(&mut self, addrs: &[Addr], clock: u64) -> usize {
        let host = self.plain(addrs);
        self.load(host, clock);
        host
    }

    /// Loads MPIP on a host.
    pub fn load(&mut self, host: usize, clock: u64) {
        let addrs = self.hosts[host].addrs.clone();
        let node = Node::new(addrs, clock.wrapping_sub(self.now), &mut self.rng);
        self.hosts[host].node = Some(node);
        self.with(host, |host, cx| host.node().start(cx));
    }

    /// Adds a link from `a` to `b`.
    pub fn one_way(&mut self, a: Addr, b: Addr, shape: Shape) -> usize {
        self.links.push(Link::new(shape));
        let link = self.links.len() - 1;
        self.routes.insert((a, b), link);
        link
    }

    /// Adds a link from `a` to `b` and one back; returns the first.
    pub fn link(&mut self, a: Addr, b: Addr, shape: Shape) -> usize {
        let link = self.one_way(a, b, shape.clone());
        self.one_way(b, a, shape);
        link
    }

    /// Lets a host do something now.
    pub fn with<R>(&mut self, host: usize, f: impl FnOnce(&mut Host, &mut Cx<'_>) -> R) -> R {
        let mut cx = Cx {
            now: self.now,
            rng: &mut self.rng,
            sent: Vec::new(),
            timers: Vec::new(),
            woken: Vec::new(),
            routes: &self.routes,
        };
        let result = f(&mut self.hosts[host], &mut cx);
        let (sent, timers) = (cx.sent, cx.timers);
        for (at, timer) in timers {
            self.schedule(at, Event::Timer(host, timer));
        }
        for wire in sent {
            self.send(wire);
        }
        result
    }

    /// Starts an application; returns its index.
    pub fn start(&mut self, host: usize, app: App) -> usize {
        self.hosts[host].apps.push(app);
        let index = self.hosts[host].apps.len() - 1;
        self.with(host, |host, cx| host.app_timer(cx, index));
        index
    }

    /// Puts a packet on the link that its addresses name.
    pub fn send(&mut self, wire: Wire) {
        let (src, dst) = addresses(&wire);
        let keep = self.tap.as_mut().is_none_or(|tap| tap(self.now, &wire));
        let Some(link) = self.routes.get(&(src, dst)).filter(|_| keep) else {
            return;
        };
        let arrivals = self.links[*link].send(self.now, &wire, &mut self.rng);
        for at in arrivals {
            self.arrive(at, &dst, wire.clone());
        }
    }

    /// Has a packet come out of nowhere.
    pub fn inject(&mut self, wire: Wire) {
        let (_, dst) = addresses(&wire);
        self.arrive(self.now, &dst, wire);
    }

    /// Has a packet come out of nowhere, before anything else happens; what it causes to be sent
    /// gets lost.
    pub fn deliver(&mut self, wire: Wire) {
        let (_, dst) = addresses(&wire);
        let host = self.hosts.iter().position(|h| h.addrs.contains(&dst));
        let tap = self.tap.replace(Box::new(|_, _| false));
        if let Some(host) = host {
            self.with(host, |host, cx| {
                host.input(cx, wire);
                if let Some(node) = &mut host.node {
                    node.run_jobs(cx);
                }
            });
        }
        self.tap = tap;
    }

    fn arrive(&mut self, at: u64, dst: &Addr, wire: Wire) {
        if let Some(host) = self.hosts.iter().position(|h| h.addrs.contains(dst)) {
            self.schedule(at, Event::Arrive(host, wire));
        }
    }

    fn schedule(&mut self, at: u64, event: Event) {
        self.order += 1;
        self.events.push(Reverse(Entry(at, self.order, event)));
    }

    /// Lets time pass until `until`, microseconds.
    pub fn run(&mut self, until: u64) {
        while let Some(Reverse(Entry(at, ..))) = self.events.peek() {
            if *at > until {
                break;
            }
            let Some(Reverse(Entry(at, _, event))) = self.events.pop() else {
                break;
            };
            self.now = self.now.max(at);
            match event {
                Event::Arrive(host, wire) => self.with(host, |host, cx| host.input(cx, wire)),
                Event::Timer(host, timer) => self.with(host, |host, cx| host.timer(cx, timer)),
            }
        }
        self.now = until;
    }

    /// Lets `time` pass, microseconds.
    pub fn pass(&mut self, time: u64) {
        self.run(self.now + time);
    }

    /// Lets time pass in steps of a millisecond until `done`, or until `limit` passed; the time
    /// it took, microseconds.
    pub fn until(&mut self, limit: u64, mut done: impl FnMut(&World) -> bool) -> Option<u64> {
        let start = self.now;
        while !done(self) {
            if self.now - start >= limit {
                return None;
            }
            self.pass(1000);
        }
        Some(self.now - start)
    }

    /// The node of a host.
    pub fn node(&self, host: usize) -> &Node {
        self.hosts[host].node.as_ref().expect("a host with MPIP")
    }

    /// The node of a host, to be changed.
    pub fn node_mut(&mut self, host: usize) -> &mut Node {
        self.hosts[host].node()
    }

    /// The TCP of an application.
    pub fn tcp(&self, host: usize, app: usize) -> &Tcp {
        match &self.hosts[host].apps[app] {
            App::Tcp(tcp) => tcp,
            _ => panic!("not TCP"),
        }
    }
}

/// Source and destination.
fn addresses(wire: &Wire) -> (Addr, Addr) {
    let (at, len) = if wire.family() == 4 { (12, 4) } else { (8, 16) };
    let addr = |at: usize| Addr::from_bytes(&wire.bytes[at..at + len]).expect("an address");
    (addr(at), addr(at + len))
}

impl Host {
    fn node(&mut self) -> &mut Node {
        self.node.as_mut().expect("a host with MPIP")
    }

    /// A packet came.
    fn input(&mut self, cx: &mut Cx<'_>, wire: Wire) {
        if let Some(log) = &mut self.log {
            log.push(wire.clone());
        }
        let Ok(packet) = wire.parse() else { return };
        let Some(node) = &mut self.node else {
            return self.socket(cx, wire);
        };
        let tuple = packet.rx_tuple();
        let owner = self.apps.iter().find_map(|app| app.owns(&tuple));
        let Some(wire) = node.pre_routing(cx, wire, &packet, owner) else {
            return;
        };
        let ready = node.local_in(cx, wire);
        self.deliver(cx, ready);
    }

    fn deliver(&mut self, cx: &mut Cx<'_>, ready: Vec<Wire>) {
        for wire in ready {
            self.socket(cx, wire);
        }
    }

    /// A packet reaches the sockets.
    fn socket(&mut self, cx: &mut Cx<'_>, wire: Wire) {
        if !wire.checksums_ok() {
            return;
        }
        let Ok(packet) = wire.parse() else { return };
        if packet.proto != packet::TCP && packet.proto != packet::UDP {
            return;
        }
        let tuple = packet.rx_tuple();
        if let Some(index) = self.apps.iter().position(|app| app.wants(&tuple)) {
            let out = self.apps[index].receive(cx.now, &packet, &wire);
            return self.finish(cx, index, out);
        }
        match packet.tcp {
            Some(tcp) if tcp.flags & packet::RST == 0 => {
                let end = tcp.seq.wrapping_add(packet.seq_len());
                let seg = wire::Seg {
                    seq: tcp.ack,
                    ack: end,
                    flags: packet::RST | packet::ACK,
                    ..wire::Seg::default()
                };
                self.output(cx, wire::tcp(&tuple, &seg), None);
            }
            Some(_) => {}
            None => cx.sent.push(wire::unreachable(&wire, &packet)),
        }
    }

    /// Sends what an application wants to send and sets its timer.
    fn finish(&mut self, cx: &mut Cx<'_>, index: usize, out: Vec<Wire>) {
        let una = self.apps[index].una();
        for wire in out {
            self.output(cx, wire, una);
        }
        if let Some(at) = self.apps[index].due(cx.now) {
            cx.timers.push((at, Timer::App(index)));
        }
    }

    fn app_timer(&mut self, cx: &mut Cx<'_>, index: usize) {
        let out = self.apps[index].on_timer(cx.now);
        self.finish(cx, index, out);
    }

    fn wake(&mut self, cx: &mut Cx<'_>, tuple: &Tuple) {
        if let Some(index) = self.apps.iter().position(|app| app.wants(tuple)) {
            let out = self.apps[index].wake(cx.now);
            self.finish(cx, index, out);
        }
    }

    fn output(&mut self, cx: &mut Cx<'_>, wire: Wire, una: Option<u32>) {
        match &mut self.node {
            Some(node) => node.post_routing(cx, wire, una),
            None => cx.sent.push(wire),
        }
    }

    fn timer(&mut self, cx: &mut Cx<'_>, timer: Timer) {
        match (timer, &mut self.node) {
            (Timer::App(index), _) => self.app_timer(cx, index),
            (Timer::Work, Some(node)) => {
                let ready = node.on_work(cx);
                self.deliver(cx, ready);
                for tuple in std::mem::take(&mut cx.woken) {
                    self.wake(cx, &tuple);
                }
            }
            (Timer::Reorder(peer, id), Some(node)) => {
                let ready = node.on_reorder_timer(cx, peer, id);
                self.deliver(cx, ready);
            }
            _ => {}
        }
    }
}

/// A tuple.
pub fn tuple(proto: u8, local: (Addr, u16), remote: (Addr, u16)) -> Tuple {
    Tuple {
        proto,
        local: wire::end(local.0, local.1),
        remote: wire::end(remote.0, remote.1),
    }
}
