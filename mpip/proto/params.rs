// SPDX-License-Identifier: GPL-2.0

//! The parameters of an instance, as data. The values live with the caller, as
//! one number per [`Param`].

/// What is known of one parameter.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Spec {
    /// Name, at most 31 bytes.
    pub name: &'static str,
    /// Default value.
    pub default: u64,
    /// Smallest value.
    pub min: u64,
    /// Largest value.
    pub max: u64,
    /// Unit of the value; empty for plain numbers and for choices.
    pub unit: &'static str,
    /// Names of the values from `min` upwards, separated by commas; empty if
    /// the value is a number.
    pub choices: &'static str,
    /// One sentence for people.
    pub help: &'static str,
}

impl Spec {
    /// Whether the parameter may have this value.
    pub const fn allows(&self, value: u64) -> bool {
        self.min <= value && value <= self.max
    }
}

macro_rules! params {
    ($(
        $(#[doc = $doc:literal])+
        $param:ident $name:literal: $default:literal in $min:literal..=$max:literal,
        $unit:literal $choices:literal;
    )+) => {
        /// A parameter; as a `usize` it is the index into [`TABLE`].
        #[derive(Copy, Clone, PartialEq, Eq, Debug)]
        pub enum Param {
            $( $(#[doc = $doc])+ $param, )+
        }

        /// All parameters, in the order of their numbers.
        pub const ALL: [Param; COUNT] = [$(Param::$param),+];

        /// Number of parameters.
        pub const COUNT: usize = [$($name),+].len();

        /// What is known of each parameter.
        pub static TABLE: [Spec; COUNT] = [$(
            Spec {
                name: $name,
                default: $default,
                min: $min,
                max: $max,
                unit: $unit,
                choices: $choices,
                help: concat!($($doc),+).trim_ascii_start(),
            },
        )+];

        // A default out of range is refused when this is compiled.
        const _: () = { $( assert!(TABLE[Param::$param as usize].allows($default)); )+ };
    };
}

params! {
    /// When a CM accompanies data: when there is something to say, or always as in the paper.
    Cm "cm": 0 in 0..=1, "" "adaptive,every";
    /// Which destinations are asked whether they speak MPIP.
    Ask "ask": 0 in 0..=2, "" "everybody,listed,nobody";
    /// Unanswered questions after which a destination counts as unable (Table 2).
    QueryThreshold "query_threshold": 3 in 1..=16, "" "";
    /// Wait after the first unanswered question; it doubles with each further one.
    QueryRetry "query_retry": 200 in 10..=60000, "ms" "";
    /// Time after which a destination that stayed silent may be asked again.
    NegativeTtl "negative_ttl": 600000 in 1000..=604800000, "ms" "";
    /// Time after which an unused row of the availability table is removed.
    AvailTimeout "avail_timeout": 3600 in 10..=604800, "s" "";
    /// Who chooses the path of a packet: predicted arrival, or weights (Algorithm 1).
    Scheduler "scheduler": 0 in 0..=1, "" "earliest,weighted";
    /// Step S of the path weights (Algorithm 1).
    WeightStep "weight_step": 10 in 1..=500, "" "";
    /// Interval T between adjustments of the path weights (Algorithm 1).
    WeightInterval "weight_interval": 100 in 10..=10000, "ms" "";
    /// Shortest time between two questions on a path; the path's sessions share it.
    CmInterval "cm_interval": 20 in 1..=1000, "ms" "";
    /// Interval between the heartbeats of a session that sends nothing else (section 3.4.4).
    Heartbeat "heartbeat": 1000 in 100..=15000, "ms" "";
    /// Interval at which NATs and firewalls hear of the lanes of idle sessions behind them; 0 turns
    /// it off.
    Keepalive "keepalive": 15 in 0..=240, "s" "";
    /// Time after which an idle TCP session is forgotten.
    SessionTimeoutTcp "session_timeout_tcp": 3600 in 10..=604800, "s" "";
    /// Time after which an idle UDP session is forgotten.
    SessionTimeoutUdp "session_timeout_udp": 180 in 10..=604800, "s" "";
    /// Time after which a finished session is forgotten.
    CloseTimeout "close_timeout": 10 in 1..=600, "s" "";
    /// Most peers.
    MaxPeers "max_peers": 1024 in 1..=65536, "" "";
    /// Most sessions.
    MaxSessions "max_sessions": 131072 in 1..=4194304, "" "";
    /// Most paths of a peer.
    MaxPaths "max_paths": 64 in 1..=64, "" "";
    /// Most paths that one session uses.
    MaxLanes "max_lanes": 8 in 1..=8, "" "";
    /// Most packets held back to restore the order of a session; 0 turns it off.
    ReorderPackets "reorder_packets": 1024 in 0..=1024, "" "";
    /// Most memory held back to restore the order of a session.
    ReorderBytes "reorder_bytes": 4194304 in 0..=67108864, "bytes" "";
    /// Longest time that a packet is held back to restore the order of a session.
    ReorderWaitMax "reorder_wait_max": 500 in 0..=2000, "ms" "";
    /// Whether what a path lost without being congested is sent again before TCP sees that it is
    /// missing.
    Repair "repair": 1 in 0..=1, "" "off,on";
    /// How paths get through NATs and firewalls: found out, as plain packets, in UDP, in made-up
    /// TCP.
    Encap "encap": 0 in 0..=3, "" "auto,none,udp,tcp";
    /// Port of this node, UDP and TCP, for paths that need one.
    Port "port": 29170 in 1..=65535, "" "";
    /// Which interfaces are used: all but those that are excluded, or of these only those that
    /// are enrolled.
    Interfaces "interfaces": 0 in 0..=1, "" "all,enrolled";
    /// Whether energy is saved: all interfaces are used for a while, then the one that carries most
    /// for each joule, and so on.
    Energy "energy": 0 in 0..=1, "" "off,on";
    /// How long all interfaces are used to find out what they carry, with energy on.
    EnergyProbe "energy_probe": 10000 in 100..=600000, "ms" "";
    /// How long one interface is used after that.
    EnergyHold "energy_hold": 100000 in 100..=3600000, "ms" "";
    /// Whether the maximum segment size in SYNs is lowered to leave room for CMs.
    MssClamp "mss_clamp": 1 in 0..=1, "" "off,on";
    /// Bits of a packet's mark that steer nothing: a packet with none but these is not left alone
    /// because of its mark. On Android 0x1effff.
    Marks "marks": 0 in 0..=0xffffffff, "" "";
}

impl Param {
    /// The index into [`TABLE`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// What is known of the parameter.
    pub fn spec(self) -> &'static Spec {
        const NONE: Spec = Spec {
            name: "",
            default: 0,
            min: 0,
            max: 0,
            unit: "",
            choices: "",
            help: "",
        };
        // Every variant has its row, `NONE` is never returned.
        TABLE.get(self.index()).unwrap_or(&NONE)
    }

    /// The parameter with this name.
    pub fn from_name(name: &[u8]) -> Option<Param> {
        ALL.into_iter().find(|p| p.spec().name.as_bytes() == name)
    }
}

/// The default values, in the order of [`TABLE`].
pub fn defaults() -> [u64; COUNT] {
    ALL.map(|param| param.spec().default)
}
