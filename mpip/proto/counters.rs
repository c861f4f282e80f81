// SPDX-License-Identifier: GPL-2.0

//! The counters of an instance, by name. The values live with the caller, as
//! one number per [`Counter`].

macro_rules! counters {
    ($( $(#[doc = $doc:literal])+ $counter:ident $name:literal; )+) => {
        /// A counter; as a `usize` it is the index into [`NAMES`].
        #[derive(Copy, Clone, PartialEq, Eq, Debug)]
        pub enum Counter {
            $( $(#[doc = $doc])+ $counter, )+
        }

        /// All counters, in the order of their numbers.
        pub const ALL: [Counter; COUNT] = [$(Counter::$counter),+];

        /// Number of counters.
        pub const COUNT: usize = [$($name),+].len();

        /// The name of each counter.
        pub static NAMES: [&str; COUNT] = [$($name),+];

        impl Counter {
            /// The name.
            pub const fn name(self) -> &'static str {
                match self {
                    $( Counter::$counter => $name, )+
                }
            }
        }
    };
}

counters! {
    /// Packets sent on added paths.
    TxLane "tx-lane";
    /// Packets of known sessions sent on the original path.
    TxOriginal "tx-original";
    /// Packets received on added paths.
    RxLane "rx-lane";
    /// CMs sent.
    CmTx "cm-tx";
    /// Authentic CMs received.
    CmRx "cm-rx";
    /// What looked like a CM on a path of a peer but had a wrong tag.
    CmBadTag "cm-bad-tag";
    /// CMs whose number was seen before or is too old.
    CmReplayed "cm-replayed";
    /// CMs with a valid tag but a malformed body.
    CmMalformed "cm-malformed";
    /// Questions sent in a SYN.
    QueryTxSyn "query-tx-syn";
    /// Questions sent as a HELLO.
    QueryTxHello "query-tx-hello";
    /// Questions received.
    QueryRx "query-rx";
    /// Messages of the key exchange that were not answered.
    HelloDropped "hello-dropped";
    /// Sessions opened.
    SessionOpened "session-opened";
    /// Sessions not opened because there were too many.
    SessionRefusedCap "session-refused-cap";
    /// Paths added to sessions.
    LaneOpened "lane-opened";
    /// Added paths given up because the peer answered with an RST.
    LaneRefusedRst "lane-refused-rst";
    /// Added paths given up because of an ICMP error.
    LaneRefusedIcmp "lane-refused-icmp";
    /// Added paths refused because they, their interface or that of the session are not to be used.
    LaneRefusedInterface "lane-refused-interface";
    /// Path MTUs lowered because of an ICMP error.
    PathMtuLowered "path-mtu-lowered";
    /// Path MTUs lowered because all that was larger got lost.
    PathBlackHole "path-black-hole";
    /// Packets held back to restore the order.
    ReorderHeld "reorder-held";
    /// Holes given up after the longest wait.
    ReorderTimeout "reorder-timeout";
    /// Holes given up because every path had delivered later packets.
    ReorderLost "reorder-lost";
    /// Holes given up because too much was held back.
    ReorderOverflow "reorder-overflow";
    /// Datagrams that came when the hole that they fill had been given up.
    ReorderLate "reorder-late";
    /// Segments that became part of the one before on their way to the transport.
    Coalesced "coalesced";
    /// Packets on added paths with a wrong checksum.
    RxBadChecksum "rx-bad-checksum";
    /// Packets merged across a hole by receive offload.
    RxMergedHole "rx-merged-hole";
    /// Packets of lanes that receive offload has merged though they are wrapped, or messages are
    /// among them: datagrams are taken apart, TCP is dropped.
    RxMerged "rx-merged";
    /// Paths not added because no source port was free.
    PortExhausted "port-exhausted";
    /// Work not done because there was no memory.
    NoMemory "no-memory";
    /// Copies of packets sent on further paths because a rule wants it.
    TxCopy "tx-copy";
    /// Copies of datagrams that came when another one had come before: not delivered.
    RxCopy "rx-copy";
    /// Datagrams that a rule wants numbered and that are too long for that.
    NumberNoRoom "number-no-room";
    /// Segments in flight on a path that failed, sent again on another.
    Resent "resent";
    /// Segments lost on a path that is not congested, sent again when the peer asked for them.
    Repaired "repaired";
    /// Parts of a stream that the peer asked for and that are not sent again: congestion, or too
    /// late.
    RepairRefused "repair-refused";
    /// Holes that the peer was asked to fill.
    RepairAsked "repair-asked";
    /// Windows of TCP made larger while something is sent again.
    WindowCredit "window-credit";
    /// Segments in flight that could not be kept because there were too many.
    KeptOverflow "kept-overflow";
    /// Hints from routers that a path does not get through for the moment.
    PathDoubted "path-doubted";
    /// Paths that stopped answering.
    PathSuspect "path-suspect";
    /// Paths that lost an end: an address or an interface has gone.
    PathDown "path-down";
    /// Packets of sessions that found no route on their path.
    TxNoRoute "tx-no-route";
    /// Datagrams longer than any path takes that works: who sent them was told.
    TxTooLong "tx-too-long";
    /// Routes lent to sockets whose own way has gone.
    RouteLent "route-lent";
    /// Sockets that would have needed more than a route and got nothing: too many have it.
    SourceOverflow "source-overflow";
    /// Packets of such sockets that are no session's, and had an address that is none of this
    /// host's.
    SourceRefused "source-refused";
    /// Paths that answered again.
    PathReturned "path-returned";
    /// Maximum segment sizes lowered in a SYN.
    MssClamped "mss-clamped";
    /// Control messages that found no route.
    CmNoRoute "cm-no-route";
    /// Resets on a session's original path that were not believed while another one was good.
    ResetDoubted "reset-doubted";
    /// Packets on an added path, or on our port, that make no sense there.
    RxUnexpected "rx-unexpected";
    /// Packets on an added path whose addresses are not this host's any more.
    RxNotLocal "rx-not-local";
    /// Sessions forgotten because they were idle or finished.
    SessionExpired "session-expired";
    /// Sessions given up because the peer did not answer.
    SessionUnanswered "session-unanswered";
    /// Peers refused because there were too many.
    PeerRefusedCap "peer-refused-cap";
    /// Rows of the availability table refused because there were too many.
    AvailRefusedCap "avail-refused-cap";
    /// Paths refused because the peer has too many.
    PathRefusedCap "path-refused-cap";
    /// Lanes refused because the session has too many.
    LaneRefusedCap "lane-refused-cap";
    /// LANEs for sessions that keep to a tunnel of this host, or to a tunnel's address.
    LaneRefusedTunnel "lane-refused-tunnel";
}

impl Counter {
    /// The index into [`NAMES`].
    pub const fn index(self) -> usize {
        self as usize
    }
}
