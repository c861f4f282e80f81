// SPDX-License-Identifier: GPL-2.0

//! Interfaces, addresses and default routes of a network namespace.

mod read;

use std::collections::HashSet;
use std::net::IpAddr;

/// The table that is looked at without any rule of one's own.
const MAIN: u32 = 254;
/// Kinds of interfaces that put packets into others of this host's, as the module knows them.
const TUNNELS: [&str; 11] = [
    "wireguard",
    "tun",
    "ovpn",
    "xfrm",
    "vti",
    "vti6",
    "ipip",
    "sit",
    "ip6tnl",
    "gre",
    "ip6gre",
];

/// What doctor looks at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// Interfaces.
    pub links: Vec<Link>,
    /// Addresses.
    pub addresses: Vec<Address>,
    /// Default routes.
    pub defaults: Vec<DefaultRoute>,
    /// Rules that lead to a table.
    pub rules: Vec<Rule>,
    /// Default routes and rules that throw packets away.
    pub barriers: Vec<Barrier>,
}

/// An interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Index.
    pub index: u32,
    /// Name.
    pub name: String,
    /// MTU, bytes.
    pub mtu: u32,
    /// Somebody has set it up.
    pub up: bool,
    /// It is up, and its carrier is there.
    pub running: bool,
    /// It leads to this host only.
    pub loopback: bool,
    /// The interface it is part of.
    pub master: Option<u32>,
    /// The kind of a virtual interface, such as bridge.
    pub kind: Option<String>,
    /// What it does with packets, by the kernel's names, if that was told.
    pub features: Option<Vec<String>>,
}

/// An address of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Index of the interface.
    pub index: u32,
    /// The address.
    pub addr: IpAddr,
    /// Length of the prefix that is on the link.
    pub len: u8,
    /// It can be an end of a path: it is neither local to the link nor temporary.
    pub usable: bool,
    /// Another host was found to have it.
    pub duplicate: bool,
}

/// A default route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefaultRoute {
    /// For IPv6.
    pub v6: bool,
    /// Indices of its interfaces.
    pub links: Vec<u32>,
    /// Its table.
    pub table: u32,
}

/// A rule that leads to a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// For IPv6.
    pub v6: bool,
    /// The table.
    pub table: u32,
    /// Its place: the least comes first.
    pub priority: u32,
    /// It is for packets without this mark.
    pub without_mark: Option<u32>,
    /// The prefix that senders must have.
    pub source: Option<(IpAddr, u8)>,
    /// Something else must fit as well: it is not for everybody.
    pub narrow: bool,
}

/// What throws away all packets that get there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Barrier {
    /// For IPv6.
    pub v6: bool,
    /// The table in which it is the default route; none for a rule.
    pub table: Option<u32>,
    /// The place of the rule.
    pub priority: u32,
    /// What `ip route` calls it.
    pub kind: &'static str,
}

impl Network {
    /// Tunnels of this host that are up.
    pub fn tunnels(&self) -> Vec<&Link> {
        let links = self.links.iter();
        links.filter(|link| link.up && is_tunnel(link)).collect()
    }

    /// The place of the rule that leads to the main table with all its routes: the last one, since
    /// an earlier one may be for a part of them.
    fn main_place(&self, v6: bool) -> Option<u32> {
        let is_main = |rule: &&Rule| (rule.v6, rule.table) == (v6, MAIN) && !rule.narrow;
        let rules = self.rules.iter().filter(is_main);
        rules.map(|rule| rule.priority).max()
    }

    /// Rules for everybody that come before the main table.
    fn early_rules(&self, v6: bool) -> impl Iterator<Item = &Rule> {
        let main = self.main_place(v6);
        self.rules.iter().filter(move |rule| {
            let is_early = main.is_some_and(|main| rule.priority < main);
            let is_wide = rule.source.is_none() && !rule.narrow;
            rule.v6 == v6 && is_wide && rule.table != MAIN && is_early
        })
    }

    /// What throws packets away before the main table is looked at.
    pub fn barrier(&self, v6: bool) -> Option<&Barrier> {
        self.barriers.iter().find(|barrier| {
            barrier.v6 == v6
                && match barrier.table {
                    Some(table) => self.early_rules(v6).any(|rule| rule.table == table),
                    None => self
                        .main_place(v6)
                        .is_some_and(|main| barrier.priority < main),
                }
        })
    }

    /// A rule that leads what has no mark into a tunnel, and the tunnel.
    pub fn swallowed(&self, v6: bool) -> Option<(&Rule, &Link)> {
        let mut rules = self.early_rules(v6);
        rules.find_map(|rule| {
            rule.without_mark?;
            let is_there = |route: &&DefaultRoute| (route.v6, route.table) == (v6, rule.table);
            let mut links = self.defaults.iter().filter(is_there).flat_map(|r| &r.links);
            let tunnel =
                links.find_map(|index| self.link(*index).filter(|link| is_tunnel(link)))?;
            Some((rule, tunnel))
        })
    }

    /// Interfaces that carry packets and have an address for paths, with these addresses.
    /// Tunnels of this host are no paths.
    pub fn candidates(&self) -> Vec<(&Link, Vec<&Address>)> {
        let is_vrf = |link: &&Link| link.kind.as_deref() == Some("vrf");
        let vrfs: HashSet<u32> = self.links.iter().filter(is_vrf).map(|l| l.index).collect();
        let is_elsewhere = |link: &Link| {
            vrfs.contains(&link.index) || link.master.is_some_and(|master| vrfs.contains(&master))
        };
        let links = self.links.iter();
        links
            .filter(|link| link.running && !link.loopback)
            .filter(|link| !is_elsewhere(link) && !is_tunnel(link))
            .map(|link| (link, self.usable(link)))
            .filter(|(_, addresses)| !addresses.is_empty())
            .collect()
    }

    /// The interface with this index.
    pub fn link(&self, index: u32) -> Option<&Link> {
        self.links.iter().find(|link| link.index == index)
    }

    fn usable(&self, link: &Link) -> Vec<&Address> {
        let all = self.addresses.iter();
        all.filter(|a| a.index == link.index && a.usable).collect()
    }

    /// True if packets of this family can find a default route through the interface: it is in
    /// the main table, or in one that a rule leads to.
    pub fn has_default(&self, link: &Link, v6: bool) -> bool {
        let reaches = |table| self.rules.iter().any(|r| (r.v6, r.table) == (v6, table));
        let mut routes = self.defaults.iter().filter(|route| route.v6 == v6);
        routes.any(|route| {
            route.links.contains(&link.index) && (route.table == MAIN || reaches(route.table))
        })
    }

    /// True if a rule has packets from this address look in a table of their own.
    pub fn has_own_table(&self, addr: IpAddr) -> bool {
        let mut sources = self.rules.iter().filter_map(|rule| rule.source);
        sources.any(|(prefix, len)| len > 0 && same_prefix(prefix, addr, len))
    }
}

fn is_tunnel(link: &Link) -> bool {
    let kind = link.kind.as_deref();
    kind.is_some_and(|kind| TUNNELS.contains(&kind))
}

/// True if the first `len` bits of both addresses are the same.
pub fn same_prefix(one: IpAddr, other: IpAddr, len: u8) -> bool {
    let (one, other, bits) = match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => {
            (one.to_bits().into(), other.to_bits().into(), 32u32)
        }
        (IpAddr::V6(one), IpAddr::V6(other)) => (one.to_bits(), other.to_bits(), 128),
        _ => return false,
    };
    let difference: u128 = one ^ other;
    let rest = 128u32.saturating_sub(difference.leading_zeros());
    rest <= bits.saturating_sub(u32::from(len))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes() {
        for (one, other, len, same) in [
            ("10.0.0.1", "10.0.0.2", 24, true),
            ("10.0.0.1", "10.0.1.2", 24, false),
            ("10.0.0.1", "10.0.0.1", 32, true),
            ("10.0.0.1", "10.0.0.0", 32, false),
            ("10.0.0.1", "192.0.2.1", 0, true),
            ("fd00::1", "fd00::2", 64, true),
            ("fd00::1", "fd01::1", 64, false),
            ("10.0.0.1", "fd00::1", 0, false),
        ] {
            let (a, b) = (one.parse().unwrap(), other.parse().unwrap());
            assert_eq!(same_prefix(a, b, len), same, "{one} {other} {len}");
        }
    }
}
