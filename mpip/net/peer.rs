// SPDX-License-Identifier: GPL-2.0

//! Peers.

use crate::{
    net::{
        event::Told,
        path::Path, //
    },
    new_bh_lock,
    proto::{
        addr::Addr,
        crypto::Keys,
        replay::Window,
        seq,
        wire::{
            cm::Entry,
            MAX_ADDRS,
            NO_PATH, //
        },
        wrap::Via, //
    },
    sys::{
        atomic::MarkedAccess,
        bh::BhLock,
        clock, //
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
        Arc, //
    },
};

/// Paths of one peer at most.
pub const MAX_PATHS: usize = 64;

/// How a peer can be reached, from its own announcements.
#[derive(Clone, Copy)]
pub struct Reach {
    /// Numbers of the newest messages that told so, for IPv4 and IPv6.
    pub numbers: [u32; 2],
    /// Number of the newest ADDR.
    pub moved: u32,
    /// Its UDP port for paths of UDP sessions.
    pub udp_port: u16,
    /// Its addresses.
    pub addrs: [Option<Entry>; MAX_ADDRS],
}

/// The announcement of this node's addresses to a peer (ADDR).
#[derive(Clone, Copy)]
pub struct Announcement {
    // Number of the first try; 0 for none.
    first: u32,
    tries: u32,
    next_ms: u32,
    wanted: bool,
}

/// First interval between two announcements, milliseconds; it doubles.
const ANNOUNCE_MS: u32 = 50;
/// How often an announcement is repeated.
const ANNOUNCE_TRIES: u32 = 8;

/// A node that keys are agreed with.
#[pin_data]
pub struct Peer {
    /// Its node id.
    pub node: u64,
    /// The keys.
    pub keys: Keys,
    /// Which exchange the keys came from: a repeated CONFIRM changes nothing.
    pub exchange: (u64, u64),
    /// Whether this end asked.
    pub initiated: bool,
    /// When the keys were agreed, milliseconds since boot.
    pub born_ms: u64,
    heard_ms: Atomic<u64>,
    number: Atomic<u32>,
    /// Number of sessions.
    pub sessions: Atomic<u32>,
    left: Atomic<bool>,
    left_ms: Atomic<u64>,
    /// The goodbye of this end was answered.
    pub goodbye_acked: Atomic<bool>,
    /// What listeners were told of it.
    pub told: Told,
    #[pin]
    window: BhLock<Window>,
    /// Where it can be reached.
    #[pin]
    pub reach: BhLock<Reach>,
    /// It has told of addresses that no paths were looked for with yet.
    pub has_moved: Atomic<bool>,
    /// When paths were looked for because of that, milliseconds.
    pub followed_ms: Atomic<u32>,
    #[pin]
    announcement: BhLock<Announcement>,
    #[pin]
    paths: BhLock<[Option<Arc<Path>>; MAX_PATHS]>,
}

impl Peer {
    /// A peer with fresh keys. Process context.
    pub fn new(node: u64, keys: Keys, exchange: (u64, u64), initiated: bool) -> Result<Arc<Peer>> {
        let now = clock::now_us64() / 1000;
        Arc::pin_init(
            pin_init!(Peer {
                node,
                keys,
                exchange,
                initiated,
                born_ms: now,
                heard_ms: Atomic::new(now),
                number: Atomic::new(0),
                sessions: Atomic::new(0),
                left: Atomic::new(false),
                left_ms: Atomic::new(0),
                goodbye_acked: Atomic::new(false),
                told: Told::new(),
                window <- new_bh_lock!(Window::new(), "mpip_peer_window"),
                reach <- new_bh_lock!(
                    Reach {
                        numbers: [0; 2],
                        moved: 0,
                        udp_port: 0,
                        addrs: [None; MAX_ADDRS],
                    },
                    "mpip_peer_reach"
                ),
                has_moved: Atomic::new(false),
                followed_ms: Atomic::new(0),
                announcement <- new_bh_lock!(
                    Announcement {
                        first: 0,
                        tries: 0,
                        next_ms: 0,
                        wanted: false,
                    },
                    "mpip_peer_announcement"
                ),
                paths <- new_bh_lock!([const { None }; MAX_PATHS], "mpip_peer_paths"),
            }),
            GFP_KERNEL,
        )
    }

    /// Number of the next control message; never 0.
    pub fn next_number(&self) -> u32 {
        loop {
            let number = self.number.fetch_add(1u32, Relaxed).wrapping_add(1);
            if number != 0 {
                return number;
            }
        }
    }

    /// Whether an authentic control message with this number is new.
    pub fn accept(&self, number: u32) -> bool {
        self.window.lock().check_and_set(number)
    }

    /// An authentic message came.
    pub fn heard(&self) {
        self.heard_ms.write_once(clock::now_us64() / 1000);
    }

    /// When the last authentic message came, milliseconds since boot.
    pub fn heard_ms(&self) -> u64 {
        self.heard_ms.read_once()
    }

    /// The peer has said goodbye.
    pub fn leave(&self) {
        self.left_ms.write_once(clock::now_us64() / 1000);
        self.left.write_once(true);
    }

    /// Whether the peer has said goodbye so long ago that nothing of it is under way.
    pub fn is_long_gone(&self) -> bool {
        const DRAIN_MS: u64 = 500;
        let since = (clock::now_us64() / 1000).saturating_sub(self.left_ms.read_once());
        self.has_left() && since >= DRAIN_MS
    }

    /// Whether the peer has said goodbye.
    pub fn has_left(&self) -> bool {
        self.left.read_once()
    }

    /// This node's addresses have changed: the peer has to be told.
    pub fn want_announcement(&self) {
        *self.announcement.lock() = Announcement {
            first: 0,
            tries: 0,
            next_ms: clock::now_ms(),
            wanted: true,
        };
    }

    /// The number under which an announcement is to be sent now, if one is; otherwise how long
    /// that has time, milliseconds, `None` for ever.
    pub fn next_announcement(&self) -> Result<u32, Option<u32>> {
        let now = clock::now_ms();
        let mut a = self.announcement.lock();
        if !a.wanted {
            return Err(None);
        }
        let left = a.next_ms.wrapping_sub(now) as i32;
        if left > 0 && a.tries < ANNOUNCE_TRIES {
            return Err(Some(left as u32));
        }
        if a.tries >= ANNOUNCE_TRIES {
            // There may have been no way: see `announce_again`.
            return Err(None);
        }
        a.next_ms = now.wrapping_add(ANNOUNCE_MS << a.tries);
        a.tries = a.tries.saturating_add(1);
        let number = self.next_number();
        if a.first == 0 {
            a.first = number;
        }
        Ok(number)
    }

    /// There is a new way to the peer: what it has not heard of is told at once. True if there is
    /// anything.
    pub fn announce_again(&self) -> bool {
        let mut a = self.announcement.lock();
        a.tries = 0;
        a.next_ms = clock::now_ms();
        a.wanted
    }

    /// The peer has answered the announcement with this number: any try will do.
    pub fn announced(&self, number: u32) {
        let mut a = self.announcement.lock();
        if a.first != 0 && !seq::before(number, a.first) {
            a.wanted = false;
        }
    }

    /// Whether no later ADDR with another list of paths was taken in before.
    pub fn is_newest_move(&self, number: u32) -> bool {
        let mut reach = self.reach.lock();
        if reach.moved != 0 && !seq::after(number, reach.moved) {
            return false;
        }
        reach.moved = number;
        true
    }

    /// The path between two addresses, made if need be; `None` when there are too many or there
    /// is no memory. Any context.
    ///
    /// Both ends may have the same two addresses by several ways: `ifindex` tells them apart here,
    /// `theirs`, the peer's id of the path, where it has asked for the lane.
    pub fn path(
        &self,
        local: Addr,
        remote: Addr,
        ifindex: u32,
        theirs: Option<u8>,
        limit: usize,
    ) -> Option<Arc<Path>> {
        let mut paths = self.paths.lock();
        let mut free = None;
        let mut unused = None;
        for (i, slot) in paths.iter().enumerate() {
            match slot {
                Some(path)
                    if path.local == local
                        && path.remote == remote
                        && path.is_by(ifindex)
                        && path.is_theirs(theirs) =>
                {
                    if ifindex != 0 {
                        path.set_ifindex(ifindex);
                    }
                    return Some(path.clone());
                }
                // What was set for a path is kept as long as there is another place.
                Some(path) if i < limit && !path.is_used() => {
                    if unused.is_none() || !path.is_set() {
                        unused = Some(i);
                    }
                }
                Some(_) => {}
                None if free.is_none() && i < limit => free = Some(i),
                None => {}
            }
        }
        let free = free.or(unused)?;
        let id = u8::try_from(free).ok().filter(|id| *id != NO_PATH)?;
        let path = Arc::pin_init(Path::new(id, local, remote, ifindex), GFP_ATOMIC).ok()?;
        if let Some(before) = paths.get_mut(free)?.replace(path.clone()) {
            let number = before.state.lock().number();
            path.state.lock().follow(number);
        }
        Some(path)
    }

    /// The path with this id.
    pub fn path_by_id(&self, id: usize) -> Option<Arc<Path>> {
        self.paths.lock().get(id)?.clone()
    }

    /// The most that packets of a session of protocol `inner` are wrapped in on any path, bytes.
    pub fn wrapper_len(&self, inner: u8) -> usize {
        let paths = self.paths.lock();
        let ways = paths.iter().flatten().filter_map(|path| path.via(inner));
        ways.map(Via::overhead).max().unwrap_or(0)
    }

    /// Keeps times of long ago in their place, see [`Path::age`]. About once a second.
    pub fn age(&self, now: u32) {
        for path in self.paths.lock().iter().flatten() {
            path.age(now);
        }
    }

    /// The number of its paths that were not asked for so long, microseconds.
    pub fn due_paths(&self, now: u32, old: u32) -> u32 {
        let paths = self.paths.lock();
        let due = paths.iter().flatten().filter(|p| p.wants_beat(now, old));
        due.count() as u32
    }

    /// Number of paths.
    pub fn path_count(&self) -> u32 {
        self.paths.lock().iter().flatten().count() as u32
    }
}
