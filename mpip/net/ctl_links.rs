// SPDX-License-Identifier: GPL-2.0

//! What netlink asks for: settings of interfaces.

use crate::{
    net::{
        links::{
            LinkError,
            Row, //
        },
        ns::Namespace, //
    },
    proto::{
        interface::{
            Flaw,
            Name,
            Reserve,
            Role,
            Settings,
            MAX_INTERFACES, //
        }, //
    },
    sys::{
        clock,
        device,
        genl::{
            uapi::*,
            Dump,
            Message,
            Request, //
        }, //
    },
};
use kernel::{
    c_str,
    prelude::*, //
};

fn name_of(request: &mut Request<'_>) -> Result<Name> {
    let Some(text) = request.text(MPIP_A_INTERFACE_NAME) else {
        return Err(request.refuse(EINVAL, 0, c_str!("the attribute name is missing")));
    };
    let name = Name::new(text);
    name.ok_or_else(|| {
        let why = c_str!("not what an interface can be called");
        request.refuse(EINVAL, MPIP_A_INTERFACE_NAME, why)
    })
}

fn refuse(request: &mut Request<'_>, error: LinkError) -> Error {
    match error {
        LinkError::Full => request.refuse(
            ENOSPC,
            MPIP_A_INTERFACE_NAME,
            c_str!("there are settings for 64 interfaces already"),
        ),
        LinkError::NoSuch => request.refuse(
            ENOENT,
            MPIP_A_INTERFACE_NAME,
            c_str!("nothing is set for an interface of this name"),
        ),
        LinkError::Flaw(Flaw::Both) => request.refuse(
            EINVAL,
            MPIP_A_INTERFACE_ENROLLED,
            c_str!("an interface is either enrolled or excluded"),
        ),
        LinkError::NoMemory => ENOMEM,
    }
}

/// Changes what is set for an interface: what is not there stays.
pub fn set(namespace: &Namespace, request: &mut Request<'_>) -> Result {
    let name = name_of(request)?;
    let is = |value: Option<u8>| value.map(|value| value == 1);
    let enrolled = is(request.u8(MPIP_A_INTERFACE_ENROLLED));
    let excluded = is(request.u8(MPIP_A_INTERFACE_EXCLUDED));
    let backup = is(request.u8(MPIP_A_INTERFACE_BACKUP));
    let cost = request.u32(MPIP_A_INTERFACE_COST);
    let budget = request.u64(MPIP_A_INTERFACE_BUDGET);
    let period = request.u64(MPIP_A_INTERFACE_PERIOD_MS);
    let power = request.u32(MPIP_A_INTERFACE_POWER_MW);
    let bit = request.u32(MPIP_A_INTERFACE_BIT_NJ);
    let used = request.u64(MPIP_A_INTERFACE_USED);
    let change = |settings: &mut Settings| {
        fn put<T>(to: &mut T, value: Option<T>) {
            if let Some(value) = value {
                *to = value;
            }
        }
        put(&mut settings.enrolled, enrolled);
        put(&mut settings.excluded, excluded);
        put(&mut settings.backup, backup);
        put(&mut settings.cost, cost);
        put(&mut settings.budget.bytes, budget);
        put(&mut settings.budget.period_ms, period);
        put(&mut settings.power.base_mw, power);
        put(&mut settings.power.bit_nj, bit);
    };
    namespace
        .set_interface(name, used, change)
        .map_err(|error| refuse(request, error))
}

/// Forgets what is set for an interface.
pub fn reset(namespace: &Namespace, request: &mut Request<'_>) -> Result {
    let name = name_of(request)?;
    namespace
        .reset_interface(&name)
        .map_err(|error| refuse(request, error))
}

/// What an interface is used for now.
fn role_number(role: &Role) -> u32 {
    match role.reserve {
        _ if role.excluded => MPIP_INTERFACE_ROLE_EXCLUDED,
        None | Some(Reserve::Peer | Reserve::Standby) => MPIP_INTERFACE_ROLE_USED,
        Some(Reserve::Backup) => MPIP_INTERFACE_ROLE_BACKUP,
        Some(Reserve::Budget) => MPIP_INTERFACE_ROLE_BUDGET,
        Some(Reserve::Energy) => MPIP_INTERFACE_ROLE_ENERGY,
    }
}

fn put_row(m: &mut Message<'_>, row: &Row, role: &Role) -> Result {
    let settings = &row.settings;
    m.text(MPIP_A_INTERFACE_NAME, row.name.as_str())?;
    if row.ifindex != 0 {
        m.u32(MPIP_A_INTERFACE_IFINDEX, row.ifindex)?;
    }
    m.u32(MPIP_A_INTERFACE_ROLE, role_number(role))?;
    m.u8(MPIP_A_INTERFACE_ENROLLED, u8::from(settings.enrolled))?;
    m.u8(MPIP_A_INTERFACE_EXCLUDED, u8::from(settings.excluded))?;
    m.u8(MPIP_A_INTERFACE_BACKUP, u8::from(settings.backup))?;
    m.u32(MPIP_A_INTERFACE_COST, settings.cost)?;
    m.u64(MPIP_A_INTERFACE_BUDGET, settings.budget.bytes)?;
    m.u64(MPIP_A_INTERFACE_PERIOD_MS, settings.budget.period_ms)?;
    if settings.budget.bytes != 0 {
        let left = row.meter.left_ms(clock::boot_ms(), &settings.budget);
        m.u64(MPIP_A_INTERFACE_USED, row.meter.used())?;
        m.u64(MPIP_A_INTERFACE_LEFT_MS, left)?;
    }
    m.u32(MPIP_A_INTERFACE_POWER_MW, settings.power.base_mw)?;
    m.u32(MPIP_A_INTERFACE_BIT_NJ, settings.power.bit_nj)
}

/// Interfaces that something is set for, then others that have usable addresses.
pub fn dump(namespace: &Namespace, dump: &mut Dump<'_>) -> Result {
    let links = &namespace.shared.links;
    let listed = namespace.shared.settings.uses_enrolled_only();
    dump.set_generation(links.generation().wrapping_add(1));
    let from = usize::try_from(dump.cursor()[0]).unwrap_or(0);
    for at in from..MAX_INTERFACES {
        let Some(row) = links.get(at) else { break };
        let mut role = links.role(row.ifindex, listed);
        if row.ifindex == 0 {
            role = Role::new(&row.settings, listed, row.meter.is_spent(), false);
        }
        dump.add(|m| put_row(m, &row, &role))?;
        dump.cursor()[0] = at.saturating_add(1) as i64;
    }
    dump.cursor()[0] = MAX_INTERFACES as i64;
    let Some(instance) = namespace.instance() else {
        return Ok(());
    };
    let locals = instance.local_addrs();
    let from = usize::try_from(dump.cursor()[1]).unwrap_or(0);
    for (i, local) in locals.iter().enumerate().skip(from) {
        let Some(local) = local.filter(|local| !local.tunnel) else {
            continue;
        };
        let before = locals.iter().take(i).flatten();
        let known = before.into_iter().any(|l| l.ifindex == local.ifindex);
        if known || links.has(local.ifindex) {
            continue;
        }
        let Some(name) = device::name_of(instance.net, local.ifindex) else {
            continue;
        };
        let role = links.role(local.ifindex, listed);
        let row = Row::plain(name, local.ifindex);
        dump.add(|m| put_row(m, &row, &role))?;
        dump.cursor()[1] = i.saturating_add(1) as i64;
    }
    dump.cursor()[1] = i64::MAX;
    Ok(())
}
