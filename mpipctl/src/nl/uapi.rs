// SPDX-License-Identifier: GPL-2.0

//! The numbers and names of the family, as in `mpip.yaml` and `linux/mpip.h`.
//!
//! A test below compares every line with those two files. The names serve messages to people:
//! the kernel points at an attribute by its offset in the request.

use std::fmt;

use serde::Serialize;
use serde::Serializer;

/// Name of the generic netlink family.
pub const FAMILY_NAME: &str = "mpip";
/// Version of the family, sent in every request.
pub const FAMILY_VERSION: u8 = 1;
/// Name of the multicast group that events are sent to.
pub const GROUP_EVENTS: &str = "events";

/// A command and the set its attributes come from.
#[derive(Clone, Copy, Debug)]
pub struct Command {
    /// Number in the generic netlink header.
    pub number: u8,
    /// Name in the specification.
    pub name: &'static str,
    /// Attributes of its request and its replies.
    pub attributes: &'static AttributeSet,
}

/// An attribute set: a number space of its own.
#[derive(Debug)]
pub struct AttributeSet {
    /// Name in the specification.
    pub name: &'static str,
    /// Numbers and names of the attributes.
    pub attributes: &'static [(u16, &'static str)],
}

impl AttributeSet {
    /// `set.attribute`, the way attributes are named in messages.
    pub fn name_of(&self, number: u16) -> String {
        match self.attributes.iter().find(|(n, _)| *n == number) {
            Some((_, name)) => format!("{}.{name}", self.name),
            None => format!("{}.{number}", self.name),
        }
    }
}

macro_rules! attribute_sets {
    ($($set:ident $set_name:literal { $($attr:ident = $number:literal $name:literal,)* })*) => {
        $(
            $(
                #[doc = concat!("Attribute `", $name, "` of the set `", $set_name, "`.")]
                pub const $attr: u16 = $number;
            )*
            #[doc = concat!("The attribute set `", $set_name, "`.")]
            pub static $set: AttributeSet = AttributeSet {
                name: $set_name,
                attributes: &[$(($attr, $name)),*],
            };
        )*
        #[cfg(test)]
        static SETS: &[&AttributeSet] = &[$(&$set),*];
    };
}

macro_rules! commands {
    ($($command:ident = $number:literal $name:literal $set:ident,)*) => {
        $(
            #[doc = concat!("The command `", $name, "`.")]
            pub const $command: Command = Command {
                number: $number,
                name: $name,
                attributes: &$set,
            };
        )*
        #[cfg(test)]
        static COMMANDS: &[Command] = &[$($command),*];
    };
}

macro_rules! enums {
    ($($(#[$doc:meta])* $enum:ident $enum_name:literal {
        $($(#[$variant_doc:meta])* $variant:ident = $number:literal $name:literal,)*
    })*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq)]
            pub enum $enum {
                $($(#[$variant_doc])* $variant,)*
                /// A value this version of the tool has no name for.
                Other(u32),
            }

            impl $enum {
                /// The names of all values, in the order of their numbers.
                pub const NAMES: &'static [&'static str] = &[$($name),*];
            }

            impl From<u32> for $enum {
                fn from(number: u32) -> Self {
                    match number {
                        $($number => Self::$variant,)*
                        other => Self::Other(other),
                    }
                }
            }

            impl From<$enum> for u32 {
                fn from(value: $enum) -> Self {
                    match value {
                        $($enum::$variant => $number,)*
                        $enum::Other(other) => other,
                    }
                }
            }

            impl fmt::Display for $enum {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    match self {
                        $(Self::$variant => f.write_str($name),)*
                        Self::Other(number) => number.fmt(f),
                    }
                }
            }

            impl Serialize for $enum {
                fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                    serializer.collect_str(self)
                }
            }
        )*
        #[cfg(test)]
        static ENUMS: &[(&str, &[(u32, &str)])] =
            &[$(($enum_name, &[$(($number, $name)),*])),*];
    };
}

attribute_sets! {
    NODE "node" {
        NODE_VERSION = 1 "version",
        NODE_ENABLED = 2 "enabled",
        NODE_ID = 3 "id",
        NODE_PEERS = 4 "peers",
        NODE_SESSIONS = 5 "sessions",
        NODE_PATHS = 6 "paths",
        NODE_ACTIVE_PATHS = 7 "active-paths",
        NODE_UDP_PORT = 8 "udp-port",
        NODE_PSK = 9 "psk",
        NODE_HAS_PSK = 10 "has-psk",
    }
    PEER "peer" {
        PEER_ID = 1 "id",
        PEER_SESSIONS = 2 "sessions",
        PEER_PATHS = 3 "paths",
        PEER_UDP_PORT = 4 "udp-port",
        PEER_AGE_MS = 5 "age-ms",
        PEER_IDLE_MS = 6 "idle-ms",
        PEER_ADDRESS = 7 "address",
    }
    ENDPOINT "endpoint" {
        ENDPOINT_ADDR = 1 "addr",
        ENDPOINT_PORT = 2 "port",
    }
    SESSION "session" {
        SESSION_ID = 1 "id",
        SESSION_PEER = 2 "peer",
        SESSION_PROTOCOL = 3 "protocol",
        SESSION_LOCAL = 4 "local",
        SESSION_REMOTE = 5 "remote",
        SESSION_STATE = 6 "state",
        SESSION_INITIATOR = 7 "initiator",
        SESSION_NEXT_SEQ = 8 "next-seq",
        SESSION_AGE_MS = 9 "age-ms",
        SESSION_IDLE_MS = 10 "idle-ms",
        SESSION_HELD = 11 "held",
        SESSION_HELD_BYTES = 12 "held-bytes",
        SESSION_LANE = 13 "lane",
        SESSION_RULE = 14 "rule",
    }
    LANE "lane" {
        LANE_PATH = 1 "path",
        LANE_ORIGINAL = 2 "original",
        LANE_LOCAL = 3 "local",
        LANE_REMOTE = 4 "remote",
        LANE_STATE = 5 "state",
        LANE_WEIGHT = 6 "weight",
        LANE_TX_PACKETS = 7 "tx-packets",
        LANE_TX_BYTES = 8 "tx-bytes",
        LANE_RX_PACKETS = 9 "rx-packets",
        LANE_RX_BYTES = 10 "rx-bytes",
        LANE_UNUSED = 11 "unused",
    }
    PATH "path" {
        PATH_ID = 1 "id",
        PATH_PEER = 2 "peer",
        PATH_IFINDEX = 3 "ifindex",
        PATH_LOCAL = 4 "local",
        PATH_REMOTE = 5 "remote",
        PATH_STATE = 6 "state",
        PATH_WEIGHT = 7 "weight",
        PATH_DELAY_US = 8 "delay-us",
        PATH_MIN_DELAY_US = 9 "min-delay-us",
        PATH_QUEUE_US = 10 "queue-us",
        PATH_MAX_QUEUE_US = 11 "max-queue-us",
        PATH_SRTT_US = 12 "srtt-us",
        PATH_MTU = 13 "mtu",
        PATH_TX_PACKETS = 14 "tx-packets",
        PATH_TX_BYTES = 15 "tx-bytes",
        PATH_RX_PACKETS = 16 "rx-packets",
        PATH_RX_BYTES = 17 "rx-bytes",
        PATH_PEER_RX_PACKETS = 18 "peer-rx-packets",
        PATH_PEER_RX_BYTES = 19 "peer-rx-bytes",
        PATH_LOST = 20 "lost",
        PATH_RX_DELAY_US = 21 "rx-delay-us",
        PATH_WAY = 22 "way",
        PATH_OBSERVED = 23 "observed",
        PATH_REASON = 24 "reason",
        PATH_UNUSED = 25 "unused",
        PATH_SET_WEIGHT = 26 "set-weight",
        PATH_SET_STATE = 27 "set-state",
        PATH_RATE = 28 "rate",
        PATH_QUEUE_LIMIT_US = 29 "queue-limit-us",
        PATH_UNANSWERED = 30 "unanswered",
        PATH_OBSERVED_PORT = 31 "observed-port",
        PATH_LOCAL_PORT = 32 "local-port",
        PATH_LOCAL_PROTOCOL = 33 "local-protocol",
    }
    COUNTER "counter" {
        COUNTER_NAME = 1 "name",
        COUNTER_VALUE = 2 "value",
    }
    PARAM "param" {
        PARAM_NAME = 1 "name",
        PARAM_VALUE = 2 "value",
        PARAM_DEFAULT = 3 "default",
        PARAM_MINIMUM = 4 "minimum",
        PARAM_MAXIMUM = 5 "maximum",
        PARAM_UNIT = 6 "unit",
        PARAM_CHOICES = 7 "choices",
        PARAM_HELP = 8 "help",
    }
    AVAIL "avail" {
        AVAIL_ADDR = 1 "addr",
        AVAIL_PORT = 2 "port",
        AVAIL_PROTOCOL = 3 "protocol",
        AVAIL_AVAILABILITY = 4 "availability",
        AVAIL_QUERIES = 5 "queries",
        AVAIL_AGE_MS = 6 "age-ms",
    }
    PREFIX "prefix" {
        PREFIX_ADDR = 1 "addr",
        PREFIX_LEN = 2 "len",
    }
    EVENT "event" {
        EVENT_KIND = 1 "kind",
        EVENT_TIME_US = 2 "time-us",
        EVENT_PEER = 3 "peer",
        EVENT_PATH = 4 "path",
        EVENT_IFINDEX = 5 "ifindex",
        EVENT_LOCAL = 6 "local",
        EVENT_REMOTE = 7 "remote",
        EVENT_REASON = 8 "reason",
        EVENT_ADDRESSES = 9 "addresses",
        EVENT_INTERFACE = 10 "interface",
        EVENT_USED = 11 "used",
        EVENT_BUDGET = 12 "budget",
    }
    RULE "rule" {
        RULE_NUMBER = 1 "number",
        RULE_DST = 2 "dst",
        RULE_DST_LEN = 3 "dst-len",
        RULE_SRC = 4 "src",
        RULE_SRC_LEN = 5 "src-len",
        RULE_DST_PORT_MIN = 6 "dst-port-min",
        RULE_DST_PORT_MAX = 7 "dst-port-max",
        RULE_SRC_PORT_MIN = 8 "src-port-min",
        RULE_SRC_PORT_MAX = 9 "src-port-max",
        RULE_PROTOCOL = 10 "protocol",
        RULE_SIZE_MIN = 11 "size-min",
        RULE_SIZE_MAX = 12 "size-max",
        RULE_DSCP = 13 "dscp",
        RULE_UID_MIN = 14 "uid-min",
        RULE_UID_MAX = 15 "uid-max",
        RULE_PRIORITY = 16 "priority",
        RULE_MODE = 17 "mode",
        RULE_MAX_DELAY_US = 18 "max-delay-us",
        RULE_MAX_LOSS = 19 "max-loss",
        RULE_MIN_RATE = 20 "min-rate",
        RULE_INTERFACES = 21 "interfaces",
        RULE_HITS = 22 "hits",
        RULE_ORDERED = 23 "ordered",
        RULE_DRAFT = 24 "draft",
        RULE_CGROUP = 25 "cgroup",
        RULE_MAX_COST = 26 "max-cost",
        RULE_INTERFACE_NAMES = 27 "interface-names",
    }
    INTERFACE "interface" {
        INTERFACE_NAME = 1 "name",
        INTERFACE_IFINDEX = 2 "ifindex",
        INTERFACE_ROLE = 3 "role",
        INTERFACE_ENROLLED = 4 "enrolled",
        INTERFACE_EXCLUDED = 5 "excluded",
        INTERFACE_BACKUP = 6 "backup",
        INTERFACE_COST = 7 "cost",
        INTERFACE_BUDGET = 8 "budget",
        INTERFACE_PERIOD_MS = 9 "period-ms",
        INTERFACE_USED = 10 "used",
        INTERFACE_LEFT_MS = 11 "left-ms",
        INTERFACE_POWER_MW = 12 "power-mw",
        INTERFACE_BIT_NJ = 13 "bit-nj",
    }
}

commands! {
    CMD_GET = 1 "get" NODE,
    CMD_SET = 2 "set" NODE,
    CMD_PEER_GET = 3 "peer-get" PEER,
    CMD_SESSION_GET = 4 "session-get" SESSION,
    CMD_PATH_GET = 5 "path-get" PATH,
    CMD_COUNTER_GET = 6 "counter-get" COUNTER,
    CMD_PARAM_GET = 7 "param-get" PARAM,
    CMD_PARAM_SET = 8 "param-set" PARAM,
    CMD_AVAIL_GET = 9 "avail-get" AVAIL,
    CMD_PREFIX_GET = 10 "prefix-get" PREFIX,
    CMD_PREFIX_ADD = 11 "prefix-add" PREFIX,
    CMD_PREFIX_DEL = 12 "prefix-del" PREFIX,
    CMD_EVENT = 13 "event" EVENT,
    CMD_RULE_GET = 14 "rule-get" RULE,
    CMD_RULE_ADD = 15 "rule-add" RULE,
    CMD_RULE_DEL = 16 "rule-del" RULE,
    CMD_RULE_FLUSH = 17 "rule-flush" RULE,
    CMD_RULE_DRAFT = 18 "rule-draft" RULE,
    CMD_RULE_COMMIT = 19 "rule-commit" RULE,
    CMD_INTERFACE_GET = 20 "interface-get" INTERFACE,
    CMD_INTERFACE_SET = 21 "interface-set" INTERFACE,
    CMD_INTERFACE_RESET = 22 "interface-reset" INTERFACE,
    CMD_PATH_SET = 23 "path-set" PATH,
}

enums! {
    /// What is known of a destination.
    Availability "availability" {
        /// Still being asked.
        Unknown = 0 "unknown",
        /// It has answered that it speaks MPIP.
        Available = 1 "available",
        /// It stayed silent.
        Unavailable = 2 "unavailable",
    }
    /// State of a path, or of a session's use of it.
    PathState "path-state" {
        /// A challenge is out; no data is sent.
        Pending = 0 "pending",
        /// Carries data.
        Active = 1 "active",
        /// Data was sent and no feedback came; probed, not used.
        Suspect = 2 "suspect",
        /// Usable, but kept back by policy.
        Standby = 3 "standby",
        /// Refused by the peer or without a local route.
        Gone = 4 "gone",
        /// Not to be used: that was set.
        Disabled = 5 "disabled",
    }
    /// What is wanted of one path, besides what is wanted of its interface.
    PathWish "path-wish" {
        /// To be used as its interface is.
        Active = 0 "active",
        /// To be used only when nothing else works.
        Standby = 1 "standby",
        /// Not to be used; sessions that have no other way go on there all the same.
        Disabled = 2 "disabled",
    }
    /// How packets of a path travel.
    PathWay "path-way" {
        /// As they are, with other addresses and ports.
        Raw = 0 "raw",
        /// TCP segments in UDP datagrams.
        Udp = 1 "udp",
        /// In what looks like a TCP connection of its own.
        Tcp = 2 "tcp",
    }
    /// State of a session.
    SessionState "session-state" {
        /// The peer has been asked to open the session.
        Opening = 0 "opening",
        /// Both ends know the session.
        Open = 1 "open",
        /// The transport has finished; the session expires shortly.
        Closing = 2 "closing",
    }
    /// What happened.
    EventKind "event-kind" {
        /// Keys are agreed with a peer and the first session with it is open.
        PeerUp = 0 "peer-up",
        /// A peer was forgotten or has left, and its paths with it.
        PeerDown = 1 "peer-down",
        /// A path may carry data.
        PathUp = 2 "path-up",
        /// A path stopped answering; it is probed and not used.
        PathSuspect = 3 "path-suspect",
        /// A path that was suspect, or an end of which had gone, has answered.
        PathReturn = 4 "path-return",
        /// The use of a path was refused, or an end of it has gone.
        PathDown = 5 "path-down",
        /// Usable local addresses or their interfaces have changed.
        AddressChange = 6 "address-change",
        /// An interface is used only when nothing else works.
        InterfaceDemoted = 7 "interface-demoted",
        /// An interface that was demoted is used like others again.
        InterfacePromoted = 8 "interface-promoted",
    }
    /// Why it happened.
    EventReason "event-reason" {
        /// The peer said goodbye.
        Goodbye = 0 "goodbye",
        /// The instance of this end is being disabled.
        Stopped = 1 "stopped",
        /// The same node has agreed on new keys.
        Replaced = 2 "replaced",
        /// There was no session and no message for long.
        Idle = 3 "idle",
        /// No answer came.
        Silent = 4 "silent",
        /// Another peer needed the place.
        Crowded = 5 "crowded",
        /// The other end answered with an RST.
        Reset = 6 "reset",
        /// An ICMP error came.
        Unreachable = 7 "unreachable",
        /// The local address or its interface is not there any more.
        LocalGone = 8 "local-gone",
        /// The peer says that its address is not there any more.
        RemoteGone = 9 "remote-gone",
        /// The interface is not to be used.
        Excluded = 10 "excluded",
        /// What an interface may carry in the period.
        Budget = 11 "budget",
        /// What interfaces carry for each joule.
        Energy = 12 "energy",
        /// The path is not to be used.
        Disabled = 13 "disabled",
    }
    /// What counts most for a rule's packets.
    RulePriority "rule-priority" {
        /// All lanes share the packets.
        Throughput = 0 "throughput",
        /// Each packet takes the lane on which it arrives first.
        Latency = 1 "latency",
    }
    /// Which lanes a rule's packets may take.
    RuleMode "rule-mode" {
        /// All that work.
        All = 0 "all",
        /// Those whose paths keep to the limits.
        Selected = 1 "selected",
        /// The quickest one.
        Single = 2 "single",
        /// Copies on several.
        Protected = 3 "protected",
        /// The original one.
        Never = 4 "never",
    }
    /// Why an active lane carries no data.
    LaneReason "lane-reason" {
        /// The rule wants the original lane alone.
        Never = 0 "never",
        /// The rule names other interfaces.
        Interface = 1 "interface",
        /// The path does not keep to the rule's limits.
        Limits = 2 "limits",
        /// The rule wants one path, and this is not the one.
        NotChosen = 3 "not-chosen",
        /// Other lanes have taken the original one's place.
        Replaced = 4 "replaced",
        /// Other paths can be relied on better.
        Unreliable = 5 "unreliable",
        /// The interface is not to be used.
        Excluded = 6 "excluded",
        /// The interface is a backup, and other paths work.
        Backup = 7 "backup",
        /// The interface's budget is used up, and other paths work.
        Budget = 8 "budget",
        /// Another interface carries more for each joule.
        Energy = 9 "energy",
        /// The peer wants the path to be a backup, and other paths work.
        Peer = 10 "peer",
        /// The path was set to standby, and other paths work.
        Standby = 11 "standby",
        /// The path was set to disabled.
        Disabled = 12 "disabled",
    }
    /// What an interface is used for.
    InterfaceRole "interface-role" {
        /// For paths, as others are.
        Used = 0 "used",
        /// For paths that are used only when nothing else works.
        Backup = 1 "backup",
        /// The same, because its budget is used up.
        Budget = 2 "budget",
        /// The same, because another one carries more for each joule.
        Energy = 3 "energy",
        /// For no added path.
        Excluded = 4 "excluded",
    }
}

#[cfg(test)]
mod tests {
    //! The contract is the specification and the header generated from it.

    use super::*;

    const YAML: &str = include_str!("../../../mpip/uapi/mpip.yaml");
    const HEADER: &str = include_str!("../../../mpip/uapi/include/uapi/linux/mpip.h");

    /// `(name, members)` of the C enums in the header, members numbered as C does.
    fn header_enums() -> Vec<(String, Vec<(String, u32)>)> {
        let mut enums = Vec::new();
        let mut lines = HEADER.lines();
        while let Some(line) = lines.next() {
            let Some(name) = line
                .strip_prefix("enum ")
                .and_then(|l| l.strip_suffix("{"))
                .or(line.strip_prefix("enum {"))
            else {
                continue;
            };
            let mut members = Vec::new();
            let mut next = 0;
            for line in lines.by_ref().map(str::trim) {
                if line.starts_with('}') {
                    break;
                }
                let member = line.trim_end_matches(',');
                let member = match member.split_once(" = ") {
                    Some((_, value)) if value.starts_with('(') => continue,
                    Some((member, value)) => {
                        next = value.parse().expect("a number");
                        member
                    }
                    None => member,
                };
                if !member.is_empty() && !member.starts_with("__") {
                    members.push((member.to_string(), next));
                    next += 1;
                }
            }
            enums.push((name.trim().to_string(), members));
        }
        enums
    }

    fn c_name(prefix: &str, name: &str) -> String {
        format!("{prefix}{}", name.replace('-', "_").to_uppercase())
    }

    #[test]
    fn header_agrees() {
        assert!(HEADER.contains(&format!("#define MPIP_FAMILY_NAME\t\"{FAMILY_NAME}\"\n")));
        assert!(HEADER.contains(&format!("#define MPIP_FAMILY_VERSION\t{FAMILY_VERSION}\n")));
        assert!(HEADER.contains(&format!("#define MPIP_MCGRP_EVENTS\t\"{GROUP_EVENTS}\"\n")));

        // The same enums, in the order of the header.
        let mut ours: Vec<(String, Vec<(String, u32)>)> = Vec::new();
        for (name, entries) in ENUMS {
            let c_enum = format!("mpip_{}", name.replace('-', "_"));
            let prefix = c_name("MPIP_", name) + "_";
            let members = entries.iter().map(|(n, e)| (c_name(&prefix, e), *n));
            ours.push((c_enum, members.collect()));
        }
        for set in SETS {
            let prefix = c_name("MPIP_A_", set.name) + "_";
            let members = set.attributes.iter();
            let members = members.map(|(n, a)| (c_name(&prefix, a), u32::from(*n)));
            ours.push((String::new(), members.collect()));
        }
        let members = COMMANDS.iter();
        let members = members.map(|c| (c_name("MPIP_CMD_", c.name), u32::from(c.number)));
        ours.push((String::new(), members.collect()));
        for (ours, theirs) in ours.iter().zip(&header_enums()) {
            assert_eq!(ours, theirs);
        }
        assert_eq!(ours.len(), header_enums().len());
    }

    /// The specification's structure as nested lists of `(indent, text)` is more than is needed:
    /// names at known depths suffice.
    fn yaml_section(section: &str) -> impl Iterator<Item = (usize, &'static str)> + use<'_> {
        let top = format!("{section}:");
        YAML.lines()
            .skip_while(move |line| *line != top)
            .skip(1)
            .take_while(|line| line.is_empty() || line.starts_with(' '))
            .map(|line| (line.len() - line.trim_start().len(), line.trim_start()))
    }

    #[test]
    fn specification_agrees_on_attributes_and_types() {
        let mut sets: Vec<(&str, Vec<&str>)> = Vec::new();
        for (indent, text) in yaml_section("attribute-sets") {
            match (indent, text.strip_prefix("name: ")) {
                (4, Some(set)) => sets.push((set, Vec::new())),
                (8, Some(attr)) => sets.last_mut().unwrap().1.push(attr),
                _ => {}
            }
        }
        let ours = SETS.iter();
        let ours = ours.map(|s| (s.name, s.attributes.iter().map(|a| a.1).collect()));
        let ours: Vec<(&str, Vec<&str>)> = ours.collect();
        for (ours, theirs) in ours.iter().zip(&sets) {
            assert_eq!(ours, theirs);
        }
        assert_eq!(ours.len(), sets.len());
    }

    #[test]
    fn specification_agrees_on_commands() {
        assert!(YAML.contains(&format!("\nname: {FAMILY_NAME}\n")));
        let mut commands: Vec<(&str, &str)> = Vec::new();
        for (indent, text) in yaml_section("operations") {
            match (indent, text.split_once(": ")) {
                (6, Some(("name", name))) => commands.push((name, "")),
                (6, Some(("attribute-set", set))) => commands.last_mut().unwrap().1 = set,
                _ => {}
            }
        }
        let ours = COMMANDS.iter().map(|c| (c.name, c.attributes.name));
        assert_eq!(ours.collect::<Vec<_>>(), commands);
    }

    #[test]
    fn specification_agrees_on_enums() {
        let mut enums: Vec<(&str, Vec<&str>)> = Vec::new();
        for (indent, text) in yaml_section("definitions") {
            match (indent, text.strip_prefix("name: ")) {
                (4, Some(name)) => enums.push((name, Vec::new())),
                (8, Some(entry)) => enums.last_mut().unwrap().1.push(entry),
                _ => {}
            }
        }
        let ours = ENUMS.iter();
        let ours = ours.map(|(name, entries)| (*name, entries.iter().map(|e| e.1).collect()));
        assert_eq!(ours.collect::<Vec<_>>(), enums);
    }

    #[test]
    fn unknown_enum_values_are_kept() {
        assert_eq!(PathState::from(1), PathState::Active);
        assert_eq!(PathState::from(9).to_string(), "9");
    }
}
