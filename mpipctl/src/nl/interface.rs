// SPDX-License-Identifier: GPL-2.0

//! Interfaces of this host, and what is wanted of them.

use super::attr::Request;
use super::record::record;
use super::uapi;
use super::InterfaceRole;

record! {
    /// What is wanted of an interface, which need not be there. In a request, what is `None` stays
    /// as it is.
    #[derive(Default)]
    pub struct Interface: INTERFACE by CMD_INTERFACE_GET {
        /// Its name.
        name: String = INTERFACE_NAME,
        /// Its index; `None` if it is not there.
        ifindex: Option<u32> = INTERFACE_IFINDEX,
        /// What it is used for now.
        role: Option<InterfaceRole> = INTERFACE_ROLE,
        /// Used while the parameter `interfaces` is `enrolled`.
        enrolled: Option<bool> = INTERFACE_ENROLLED,
        /// Not used.
        excluded: Option<bool> = INTERFACE_EXCLUDED,
        /// Used only when nothing else works.
        backup: Option<bool> = INTERFACE_BACKUP,
        /// What rules may limit.
        cost: Option<u32> = INTERFACE_COST,
        /// Bytes that it may carry in a period; 0 for any number.
        budget: Option<u64> = INTERFACE_BUDGET,
        /// Length of a period, milliseconds.
        period_ms: Option<u64> = INTERFACE_PERIOD_MS,
        /// Bytes carried in the present period.
        used: Option<u64> = INTERFACE_USED,
        /// Time until the next period, milliseconds.
        left_ms: Option<u64> = INTERFACE_LEFT_MS,
        /// What it draws while in use, milliwatts.
        power_mw: Option<u32> = INTERFACE_POWER_MW,
        /// What each bit takes on top of that, nanojoules.
        bit_nj: Option<u32> = INTERFACE_BIT_NJ,
    }
}

impl Interface {
    /// Length of a period if nothing is set, milliseconds.
    pub const PERIOD_MS: u64 = 30 * 86_400_000;

    /// The request that sets what there is.
    pub(super) fn request(&self) -> Request {
        let mut request =
            Request::new(uapi::CMD_INTERFACE_SET).string(uapi::INTERFACE_NAME, &self.name);
        for (attr, value) in [
            (uapi::INTERFACE_ENROLLED, self.enrolled),
            (uapi::INTERFACE_EXCLUDED, self.excluded),
            (uapi::INTERFACE_BACKUP, self.backup),
        ] {
            request = value
                .into_iter()
                .fold(request, |r, value| r.u8(attr, value.into()));
        }
        for (attr, value) in [
            (uapi::INTERFACE_COST, self.cost),
            (uapi::INTERFACE_POWER_MW, self.power_mw),
            (uapi::INTERFACE_BIT_NJ, self.bit_nj),
        ] {
            request = value
                .into_iter()
                .fold(request, |r, value| r.u32(attr, value));
        }
        for (attr, value) in [
            (uapi::INTERFACE_BUDGET, self.budget),
            (uapi::INTERFACE_PERIOD_MS, self.period_ms),
            (uapi::INTERFACE_USED, self.used),
        ] {
            request = value
                .into_iter()
                .fold(request, |r, value| r.u64(attr, value));
        }
        request
    }

    /// What is set, with everything said that goes without saying, and nothing of how it is now.
    pub fn settings(&self) -> Self {
        Self {
            name: self.name.clone(),
            enrolled: Some(self.enrolled.unwrap_or(false)),
            excluded: Some(self.excluded.unwrap_or(false)),
            backup: Some(self.backup.unwrap_or(false)),
            cost: Some(self.cost.unwrap_or(0)),
            budget: Some(self.budget.unwrap_or(0)),
            period_ms: Some(self.period_ms.unwrap_or(Self::PERIOD_MS)),
            power_mw: Some(self.power_mw.unwrap_or(0)),
            bit_nj: Some(self.bit_nj.unwrap_or(0)),
            ..Self::default()
        }
    }

    /// Whether nothing is set.
    pub fn is_plain(&self) -> bool {
        let name = self.name.clone();
        let plain = Self {
            name,
            ..Self::default()
        };
        self.settings() == plain.settings()
    }
}
