// SPDX-License-Identifier: GPL-2.0

//! Whose a session is, and what the rules have said of it.

use crate::{
    net::{
        rules::Verdict,
        session::Session, //
    },
    proto::policy::{
        Flow,
        Groups, //
    },
    sys::{
        atomic::MarkedAccess,
        cgroup::Cgroup, //
    }, //
};

/// Stands for no user, as in the kernel.
pub const NO_USER: u32 = u32::MAX;

impl Session {
    /// Whether it was looked up in the rules of this generation.
    pub fn is_judged(&self, generation: u32) -> bool {
        self.judged.read_once() == generation
    }

    /// It was, and they leave all of it to the original lane (`never`) or not.
    pub fn set_judged(&self, generation: u32, never: bool) {
        self.never.write_once(never);
        self.judged.write_once(generation);
    }

    /// What rules may ask of it.
    pub fn flow(&self) -> Flow {
        let groups = {
            let inner = self.inner.lock();
            let rare = inner.rare.as_ref();
            rare.and_then(|rare| rare.cgroup.as_ref()).map(Cgroup::line)
        };
        Flow {
            tuple: self.tuple(),
            uid: Some(self.uid.read_once()).filter(|uid| *uid != NO_USER),
            groups: groups.unwrap_or(Groups::NONE),
        }
    }

    /// Takes in which user, and if that was asked, which control group the socket belongs to, which
    /// may make other rules fit. False without memory.
    pub fn set_owner(&self, uid: u32, cgroup: Option<Option<Cgroup>>) -> bool {
        // Who judges it does so under the lock, too.
        let mut inner = self.inner.lock();
        if let Some(cgroup) = cgroup {
            let Some(rare) = inner.rare() else {
                return false;
            };
            rare.cgroup = cgroup;
            self.grouped.write_once(true);
        }
        self.uid.write_once(uid);
        // As if the rules had changed.
        let judged = self.judged.read_once();
        self.judged.write_once(judged.wrapping_sub(1));
        true
    }

    /// What is known of its owner, to tell whether more has become known meanwhile.
    pub fn owner_known(&self) -> (u32, bool) {
        (self.uid.read_once(), self.grouped.read_once())
    }

    /// Whether it is known whose socket it is; of which control group only if that is asked.
    pub fn has_owner(&self, group: bool) -> bool {
        self.uid.read_once() != NO_USER && (!group || self.grouped.read_once())
    }

    /// Whether the rules leave all of it to the original lane.
    pub fn is_never(&self) -> bool {
        self.never.read_once()
    }

    /// Whether its rule has it use one path at a time.
    pub fn is_single(&self) -> bool {
        let inner = self.inner.lock();
        inner.verdict.as_deref().is_some_and(Verdict::is_single)
    }
}
