// SPDX-License-Identifier: GPL-2.0

//! What doctor knows before it judges.

use std::collections::HashMap;
use std::io;

use serde_json::Value;

use crate::network::Address;
use crate::network::Link;
use crate::network::Network;
use crate::nl::Interface;
use crate::nl::InterfaceRole;
use crate::nl::Node;
use crate::nl::Param;
use crate::nl::Path;
use crate::nl::Rule;
use crate::system::System;
use crate::Error;

/// Where reverse-path filters and other settings of IPv4 interfaces are.
pub(super) const CONF: &str = "/proc/sys/net/ipv4/conf";
const MODULE: &str = "/sys/module/mpip";
const CLOCK: &str = "/sys/devices/system/clocksource/clocksource0";
const LIBERAL: &str = "/proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal";

/// What the kernel lists, as far as it does.
#[derive(Default)]
pub(super) struct Told {
    pub params: Vec<Param>,
    pub paths: Vec<Path>,
    pub interfaces: Vec<Interface>,
    pub rules: Vec<Rule>,
    /// Rights were lacking for some of it.
    pub denied: bool,
}

/// All that the checks look at.
pub(super) struct Facts {
    /// The running kernel.
    pub release: String,
    /// The flags the module has tainted the kernel with, if it is loaded.
    pub taint: Option<String>,
    /// Only signed modules are loaded.
    pub signed_only: bool,
    /// Who has signed the installed module; empty for nobody, and none where that cannot be told.
    pub signer: Option<String>,
    /// The kernel is built without what modules in Rust need.
    pub lacks_rust: bool,
    /// Kernels for which the module is installed.
    pub installed: Vec<String>,
    /// Paths of the control groups of rules, as far as these are there, by their ids.
    pub groups: HashMap<u64, Option<String>>,
    /// The instance, or why it was not told.
    pub node: Result<Node, Error>,
    pub told: Told,
    pub network: io::Result<Network>,
    /// `rp_filter` by interface, `all` among them.
    pub rp_filter: HashMap<String, u8>,
    /// One interface does not answer for the address of another.
    pub arp_ignore: bool,
    /// Connection tracking forgives TCP what is out of its window.
    pub liberal: bool,
    /// What `nft` lists.
    pub ruleset: io::Result<Value>,
    /// The clock in use, and those that could be.
    pub clock: Option<(String, String)>,
}

impl Facts {
    pub(super) fn gather(system: &dyn System, node: Result<Node, Error>, told: Told) -> Self {
        let read = |path: &str| system.read(path).ok().map(|text| text.trim().to_string());
        let number = |path: &str| read(path)?.parse::<u8>().ok();
        let network = system.network();
        let links = network.iter().flat_map(|network| &network.links);
        let names = links.map(|link| link.name.clone());
        let rp_filter = names.chain(["all".to_string()]).filter_map(|name| {
            let value = number(&format!("{CONF}/{name}/rp_filter"))?;
            Some((name, value))
        });
        let enforced = read("/sys/module/module/parameters/sig_enforce").as_deref() == Some("Y");
        let lockdown = read("/sys/kernel/security/lockdown");
        let is_locked = lockdown.is_some_and(|text| !text.contains("[none]"));
        let mut installed = system.names("/lib/modules").unwrap_or_default();
        installed.retain(|release| {
            let index = system.read(&format!("/lib/modules/{release}/modules.dep"));
            index.is_ok_and(|text| text.contains("/mpip.ko"))
        });
        let release = read("/proc/sys/kernel/osrelease").unwrap_or_default();
        let built = read(&format!("/boot/config-{release}"));
        let rules = told.rules.iter().filter_map(|rule| rule.cgroup);
        let taint = read(&format!("{MODULE}/taint"));
        let signed_only = enforced || is_locked;
        let signer = || {
            let told = system.output("modinfo", &["--field", "signer", "mpip"]);
            told.ok().map(|text| text.trim().to_string())
        };
        Self {
            // That of a loaded one does not matter any more.
            signer: (signed_only && taint.is_none()).then(signer).flatten(),
            lacks_rust: built.is_some_and(|text| !text.lines().any(|l| l == "CONFIG_RUST=y")),
            groups: rules.map(|id| (id, system.cgroup_path(id))).collect(),
            release,
            taint,
            signed_only,
            installed,
            node,
            told,
            rp_filter: rp_filter.collect(),
            arp_ignore: number(&format!("{CONF}/all/arp_ignore")).is_some_and(|value| value > 0),
            liberal: number(LIBERAL).is_some_and(|value| value > 0),
            ruleset: system
                .output("nft", &["-j", "list", "ruleset"])
                .and_then(|text| Ok(serde_json::from_str(&text)?)),
            clock: read(&format!("{CLOCK}/current_clocksource"))
                .zip(read(&format!("{CLOCK}/available_clocksource"))),
            network,
        }
    }

    /// What is wanted of the interface with this index, and what it is used for.
    pub(super) fn interface(&self, index: u32) -> Option<&Interface> {
        let mut interfaces = self.told.interfaces.iter();
        interfaces.find(|interface| interface.ifindex == Some(index))
    }

    /// Nothing that is missing or wrong at such an interface is of any concern.
    pub(super) fn is_excluded(&self, index: u32) -> bool {
        let role = self.interface(index).and_then(|interface| interface.role);
        role == Some(InterfaceRole::Excluded)
    }

    /// The interfaces that paths could use, if they were not excluded.
    pub(super) fn left_out(&self, network: &Network) -> Vec<&Interface> {
        let candidates = network.candidates().into_iter();
        let excluded = candidates.filter(|(link, _)| self.is_excluded(link.index));
        excluded
            .filter_map(|(link, _)| self.interface(link.index))
            .collect()
    }

    /// The interfaces that paths may use, with their addresses.
    pub(super) fn candidates<'a>(&self, network: &'a Network) -> Vec<(&'a Link, Vec<&'a Address>)> {
        let mut candidates = network.candidates();
        candidates.retain(|(link, _)| !self.is_excluded(link.index));
        candidates
    }
}
