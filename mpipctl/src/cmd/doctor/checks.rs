// SPDX-License-Identifier: GPL-2.0

//! Module, instance, clock; and all checks in their order.

use super::facts::Facts;
use super::firewall;
use super::links;
use super::offload;
use super::paths;
use super::roles;
use super::vpn;
use super::Finding;
use super::Mend;
use super::Outcome;
use crate::nl;
use crate::Error;

use Outcome::Fail;
use Outcome::Ok as Well;
use Outcome::Warn;

/// Clocks that take a microsecond to read, or do not run between the ticks.
const SLOW_CLOCKS: [&str; 5] = ["hpet", "acpi_pm", "pit", "jiffies", "refined-jiffies"];

/// Everything there is to say, in the order in which it is to be mended.
pub(super) fn all(facts: &Facts) -> Vec<Finding> {
    let mut findings = vec![module(facts)];
    findings.extend(signature(facts));
    findings.extend(enabled(facts));
    findings.extend(rights(facts));
    match &facts.network {
        Ok(network) => {
            findings.extend(links::check(facts, network));
            findings.extend(roles::check(facts, network));
            findings.extend(roles::paths(facts, network));
            findings.extend(roles::rules(facts, network));
            findings.extend(offload::check(facts, network));
            findings.extend(paths::check(facts, network));
            findings.extend(vpn::check(facts, network));
        }
        Err(error) => {
            let text = format!("interfaces cannot be listed: {error}");
            findings.push(Finding::new(Fail, "interfaces", text));
        }
    }
    findings.extend(firewall::check(facts));
    findings.extend(clock(facts));
    findings
}

fn module(facts: &Facts) -> Finding {
    let release = &facts.release;
    let absent = matches!(
        facts.node,
        Err(Error::Netlink(
            nl::Error::FamilyMissing | nl::Error::FamilyGone
        ))
    );
    if absent {
        let finding = |text: String| Finding::new(Fail, "module", text);
        let build = format!("make MPIP_KERNEL={release} && make install && modprobe mpip");
        return if facts.installed.contains(release) {
            finding("not loaded".to_string()).fix("modprobe mpip")
        } else if facts.lacks_rust {
            finding(format!(
                "not loaded, and kernel {release} is built without Rust: it takes no such module"
            ))
            .fix("install a kernel with Rust, such as 7.2 or 7.3 of Debian's backports, and start it")
        } else if let Some(other) = facts.installed.last() {
            finding(format!(
                "installed for kernel {other}, but {release} is running"
            ))
            .fix(build)
        } else {
            finding(format!(
                "not loaded, and not installed for kernel {release}"
            ))
            .fix(build)
        };
    }
    let version = facts
        .node
        .as_ref()
        .ok()
        .and_then(|node| node.version.as_deref());
    let own = env!("CARGO_PKG_VERSION");
    match version {
        Some(version) if version != own => {
            let text = format!(
                "version {version}, but mpipctl is {own}: one may not know what the other does"
            );
            Finding::new(Warn, "module", text)
                .fix(format!("make MPIP_KERNEL={release} && make install"))
        }
        _ => {
            let version = version.unwrap_or("unknown");
            Finding::new(
                Well,
                "module",
                format!("version {version} on kernel {release}"),
            )
        }
    }
}

/// What is not told is not checked.
fn rights(facts: &Facts) -> Option<Finding> {
    facts.told.denied.then(|| {
        let text = "paths and rules are told to root only: they were not checked";
        Finding::new(Warn, "rights", text).fix("sudo mpipctl doctor")
    })
}

/// What matters is whether the module gets in, which a loaded one did.
fn signature(facts: &Facts) -> Option<Finding> {
    let check = "signature";
    match &facts.taint {
        Some(flags) if flags.contains('E') => {
            let text = "the module is not signed, and this kernel does not ask for that";
            Some(Finding::new(Well, check, text))
        }
        Some(_) => Some(Finding::new(
            Well,
            check,
            "the kernel trusts the module's signature",
        )),
        None if facts.signed_only => {
            let fix = "sign-file sha256 KEY CERT mpip.ko, and mokutil --import CERT";
            let only = "this kernel loads only modules signed with a key that it trusts";
            let signer = facts.signer.as_deref();
            Some(match signer {
                Some("") => {
                    let text = format!("{only}, and the installed one is not signed");
                    Finding::new(Fail, check, text).fix(fix)
                }
                Some(signer) => {
                    let text = format!("{only}; the installed one is signed by \"{signer}\"");
                    Finding::new(Well, check, text)
                }
                None => Finding::new(Warn, check, format!("{only} (Secure Boot)")).fix(fix),
            })
        }
        None => None,
    }
}

fn enabled(facts: &Facts) -> Option<Finding> {
    let check = "enabled";
    match &facts.node {
        Ok(node) if node.enabled => Some(Finding::new(Well, check, "on in this network namespace")),
        Ok(_) => {
            let text = "off in this network namespace";
            let finding = Finding::new(Fail, check, text).fix("mpipctl enable");
            Some(finding.mend(Mend::Enable))
        }
        Err(Error::Netlink(nl::Error::FamilyMissing | nl::Error::FamilyGone)) => None,
        Err(error) => Some(Finding::new(Fail, check, error.to_string())),
    }
}

/// Each packet of a path is given the time.
fn clock(facts: &Facts) -> Option<Finding> {
    let (current, available) = facts.clock.as_ref()?;
    if !SLOW_CLOCKS.contains(&current.as_str()) {
        return Some(Finding::new(
            Well,
            "clock",
            format!("{current} is read quickly"),
        ));
    }
    let text = format!(
        "{current} is slow to read or coarse: delays are measured badly, packets cost more"
    );
    let finding = Finding::new(Warn, "clock", text);
    let quick = available
        .split_whitespace()
        .find(|name| !SLOW_CLOCKS.contains(name));
    Some(match quick {
        Some(name) => finding.fix(format!(
            "echo {name} >/sys/devices/system/clocksource/clocksource0/current_clocksource"
        )),
        None => finding.fix("look for what the kernel said of it: dmesg | grep -i clocksource"),
    })
}
