// SPDX-License-Identifier: GPL-2.0

//! What happens to peers, paths and addresses, told to whoever listens.
//!
//! An event is a notification to a multicast group of the netlink family, in
//! the instance's namespace only. Nothing is allocated while nobody listens.
//!
//! [`Instance::notify`] and its relatives may be called in any context, in
//! softirq as well. No lock should be held: none is taken inside that a caller
//! could have, but a listener's queue is no reason to keep others waiting.

use crate::{
    net::{
        instance::Instance,
        path::Path,
        peer::Peer, //
    },
    proto::{
        counters::Counter,
        interface::{
            Name,
            Reserve, //
        }, //
    },
    sys::{
        clock,
        genl::{
            self,
            uapi::*,
            Message, //
        }, //
    },
};
use kernel::{
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    }, //
};

/// Room for the attributes of any event: 4 bytes of header each, padded to 4 bytes.
const MAX_LEN: usize = 5 * 8 + 2 * 12 + 2 * 20;

/// Why a peer or a path went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// The peer said goodbye.
    Goodbye,
    /// This instance is being stopped.
    Stopped,
    /// The same node has agreed on new keys.
    Replaced,
    /// There was no session and no message for long.
    Idle,
    /// No answer came.
    Silent,
    /// Another peer needed the place.
    Crowded,
    /// The other end answered with an RST.
    Reset,
    /// An ICMP error came.
    Unreachable,
    /// The local address or its interface is not there any more.
    LocalGone,
    /// The peer says that its address is not there any more.
    RemoteGone,
    /// The interface is not to be used.
    Excluded,
    /// The path itself is not to be used.
    Disabled,
}

impl Reason {
    /// Its number in netlink's terms.
    pub fn number(self) -> u32 {
        match self {
            Reason::Goodbye => MPIP_EVENT_REASON_GOODBYE,
            Reason::Stopped => MPIP_EVENT_REASON_STOPPED,
            Reason::Replaced => MPIP_EVENT_REASON_REPLACED,
            Reason::Idle => MPIP_EVENT_REASON_IDLE,
            Reason::Silent => MPIP_EVENT_REASON_SILENT,
            Reason::Crowded => MPIP_EVENT_REASON_CROWDED,
            Reason::Reset => MPIP_EVENT_REASON_RESET,
            Reason::Unreachable => MPIP_EVENT_REASON_UNREACHABLE,
            Reason::LocalGone => MPIP_EVENT_REASON_LOCAL_GONE,
            Reason::RemoteGone => MPIP_EVENT_REASON_REMOTE_GONE,
            Reason::Excluded => MPIP_EVENT_REASON_EXCLUDED,
            Reason::Disabled => MPIP_EVENT_REASON_DISABLED,
        }
    }
}

/// An interface that becomes a backup, or is none any more, without anybody having said so.
#[derive(Clone, Copy)]
pub struct Link {
    /// Its name.
    pub name: Name,
    /// Its index; 0 if it is not there.
    pub ifindex: u32,
    /// Why.
    pub reason: Reserve,
    /// Bytes that it has carried, and its budget.
    pub carried: Option<(u64, u64)>,
}

impl Link {
    fn write(&self, m: &mut Message<'_>) -> Result {
        if self.ifindex != 0 {
            m.u32(MPIP_A_EVENT_IFINDEX, self.ifindex)?;
        }
        m.text(MPIP_A_EVENT_INTERFACE, self.name.as_str())?;
        let reason = match self.reason {
            Reserve::Energy => MPIP_EVENT_REASON_ENERGY,
            _ => MPIP_EVENT_REASON_BUDGET,
        };
        m.u32(MPIP_A_EVENT_REASON, reason)?;
        if let Some((used, budget)) = self.carried {
            m.u64(MPIP_A_EVENT_USED, used)?;
            m.u64(MPIP_A_EVENT_BUDGET, budget)?;
        }
        Ok(())
    }
}

/// Something that happened.
#[derive(Clone, Copy)]
pub enum Event<'a> {
    /// The first session with a peer is open. Use [`Instance::tell_peer_up`].
    PeerUp {
        /// The peer.
        peer: &'a Peer,
    },
    /// A peer has left or was forgotten, and its paths with it. Use
    /// [`Instance::tell_peer_down`].
    PeerDown {
        /// The peer.
        peer: &'a Peer,
        /// Why.
        reason: Reason,
    },
    /// A path may carry data. Use [`Instance::tell_path_up`].
    PathUp {
        /// The peer.
        peer: &'a Peer,
        /// The path.
        path: &'a Path,
    },
    /// A path stopped answering.
    PathSuspect {
        /// The peer.
        peer: &'a Peer,
        /// The path.
        path: &'a Path,
        /// Why it is thought not to work.
        reason: Reason,
    },
    /// A path that was suspect, or an end of which had gone, has answered. Use
    /// [`Instance::tell_path_return`].
    PathReturn {
        /// The peer.
        peer: &'a Peer,
        /// The path.
        path: &'a Path,
    },
    /// The use of a path was refused, or an end of it has gone. Use
    /// [`Instance::tell_path_down`].
    PathDown {
        /// The peer.
        peer: &'a Peer,
        /// The path.
        path: &'a Path,
        /// Why.
        reason: Reason,
    },
    /// Usable local addresses or their interfaces have changed.
    AddressChange {
        /// How many there are now.
        addresses: u32,
    },
    /// An interface is used only when nothing else works.
    InterfaceDemoted {
        /// The interface.
        link: Link,
    },
    /// An interface is used like others again.
    InterfacePromoted {
        /// The interface.
        link: Link,
    },
}

impl Event<'_> {
    fn kind(&self) -> u32 {
        match self {
            Event::PeerUp { .. } => MPIP_EVENT_KIND_PEER_UP,
            Event::PeerDown { .. } => MPIP_EVENT_KIND_PEER_DOWN,
            Event::PathUp { .. } => MPIP_EVENT_KIND_PATH_UP,
            Event::PathSuspect { .. } => MPIP_EVENT_KIND_PATH_SUSPECT,
            Event::PathReturn { .. } => MPIP_EVENT_KIND_PATH_RETURN,
            Event::PathDown { .. } => MPIP_EVENT_KIND_PATH_DOWN,
            Event::AddressChange { .. } => MPIP_EVENT_KIND_ADDRESS_CHANGE,
            Event::InterfaceDemoted { .. } => MPIP_EVENT_KIND_INTERFACE_DEMOTED,
            Event::InterfacePromoted { .. } => MPIP_EVENT_KIND_INTERFACE_PROMOTED,
        }
    }

    fn write(&self, m: &mut Message<'_>) -> Result {
        m.u32(MPIP_A_EVENT_KIND, self.kind())?;
        m.u64(MPIP_A_EVENT_TIME_US, clock::now_us64())?;
        match *self {
            Event::PeerUp { peer } => m.u64(MPIP_A_EVENT_PEER, peer.node),
            Event::PeerDown { peer, reason } => {
                m.u64(MPIP_A_EVENT_PEER, peer.node)?;
                m.u32(MPIP_A_EVENT_REASON, reason.number())
            }
            Event::PathUp { peer, path } | Event::PathReturn { peer, path } => {
                write_path(m, peer, path)
            }
            Event::PathSuspect { peer, path, reason } | Event::PathDown { peer, path, reason } => {
                write_path(m, peer, path)?;
                m.u32(MPIP_A_EVENT_REASON, reason.number())
            }
            Event::AddressChange { addresses } => m.u32(MPIP_A_EVENT_ADDRESSES, addresses),
            Event::InterfaceDemoted { link } | Event::InterfacePromoted { link } => link.write(m),
        }
    }
}

fn write_path(m: &mut Message<'_>, peer: &Peer, path: &Path) -> Result {
    m.u64(MPIP_A_EVENT_PEER, peer.node)?;
    m.u8(MPIP_A_EVENT_PATH, path.id)?;
    let ifindex = path.ifindex();
    if ifindex != 0 {
        m.u32(MPIP_A_EVENT_IFINDEX, ifindex)?;
    }
    m.bytes(MPIP_A_EVENT_LOCAL, path.local.as_bytes())?;
    m.bytes(MPIP_A_EVENT_REMOTE, path.remote.as_bytes())
}

/// Nothing was told yet.
const UNTOLD: u32 = 0;
/// It was told to be up.
const UP: u32 = 1;
/// It was told to be down.
const DOWN: u32 = 2;

/// What was told of a peer or a path, so that several sessions do not tell it several times. It is
/// kept whether anybody listens or not.
pub struct Told(Atomic<u32>);

impl Told {
    /// Nothing yet.
    pub fn new() -> Told {
        Told(Atomic::new(UNTOLD))
    }

    /// It comes up for the first time: true once, and never after it went down.
    fn first_up(&self) -> bool {
        self.0.cmpxchg(UNTOLD, UP, Relaxed).is_ok()
    }

    /// It comes up: true if it was not.
    fn up(&self) -> bool {
        self.0.xchg(UP, Relaxed) != UP
    }

    /// It goes down: what was told before, if that is news.
    fn down(&self) -> Option<u32> {
        Some(self.0.xchg(DOWN, Relaxed)).filter(|before| *before != DOWN)
    }
}

impl Default for Told {
    fn default() -> Self {
        Told::new()
    }
}

impl Instance {
    /// Tells whoever listens of an event. Any context; with as few locks held as can be.
    pub fn notify(&self, event: Event<'_>) {
        let sent = genl::multicast(self.net, MPIP_CMD_EVENT, MAX_LEN, |m| event.write(m));
        if !sent {
            self.count(Counter::NoMemory);
        }
    }

    /// A session with a peer is open: the peer is up if it is the first.
    pub fn tell_peer_up(&self, peer: &Peer) {
        if peer.told.first_up() {
            self.notify(Event::PeerUp { peer });
        }
    }

    /// A peer has left or is forgotten. Only the first call counts, and only if the peer was up.
    pub fn tell_peer_down(&self, peer: &Peer, reason: Reason) {
        if peer.told.down() == Some(UP) {
            self.notify(Event::PeerDown { peer, reason });
        }
    }

    /// A lane on a path may carry data: the path is up if it was not.
    pub fn tell_path_up(&self, peer: &Peer, path: &Path) {
        path.set_reason(None);
        if path.told.up() {
            self.notify(Event::PathUp { peer, path });
        }
    }

    /// A path that was suspect or down has answered.
    pub fn tell_path_return(&self, peer: &Peer, path: &Path) {
        path.told.up();
        path.set_reason(None);
        self.notify(Event::PathReturn { peer, path });
    }

    /// A lane on a path was refused, or an end of the path has gone. Only the first call since the
    /// path was up or returned counts, or the first of all: that a path never comes up is worth
    /// telling as well.
    pub fn tell_path_down(&self, peer: &Peer, path: &Path, reason: Reason) {
        path.set_reason(Some(reason));
        if path.told.down().is_some() {
            self.notify(Event::PathDown { peer, path, reason });
        }
    }
}
