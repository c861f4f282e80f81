// SPDX-License-Identifier: GPL-2.0

//! Network namespaces: each has settings, and an instance while it is enabled.

use crate::{
    net::{
        instance::{
            Instance,
            MAX_PREFIXES, //
        },
        links::LinkError,
        rules::{
            Counted,
            Draft,
            RuleError,
            Table, //
        },
        shared::Shared, //
    },
    proto::{
        addr::Prefix,
        crypto::{
            self,
            PSK_LEN, //
        },
        interface::{
            Name,
            Settings, //
        },
        policy::{
            Names,
            Rule, //
        }, //
    },
    sys::{
        atomic::MarkedAccess,
        net::Net,
        pernet, //
    },
};
use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        atomic::Atomic,
        Arc,
        Mutex, //
    },
};

/// Whether the initial namespace is enabled when the module is loaded.
pub static START_ENABLED: Atomic<bool> = Atomic::new(true);

/// The module goes: what is stopped now has time to say goodbye.
pub static UNLOADING: Atomic<bool> = Atomic::new(false);

/// What can be changed of a namespace.
pub struct Control {
    /// The instance, while enabled.
    pub instance: Option<Arc<Instance>>,
    /// Prefixes that are asked.
    pub prefixes: KVec<Prefix>,
    /// Rules that are being put together.
    pub draft: Option<Draft>,
    /// The pre-shared key; zeros for none.
    psk: [u8; PSK_LEN],
}

/// A namespace.
#[pin_data]
pub struct Namespace {
    net: Net,
    /// Settings and counters.
    pub shared: Arc<Shared>,
    /// The rest.
    #[pin]
    pub control: Mutex<Control>,
}

impl Namespace {
    fn new(net: Net) -> Result<Arc<Namespace>> {
        let shared = Shared::new()?;
        Arc::pin_init(
            pin_init!(Namespace {
                net,
                shared,
                control <- new_mutex!(Control {
                    instance: None,
                    prefixes: KVec::new(),
                    draft: None,
                    psk: [0; PSK_LEN],
                }),
            }),
            GFP_KERNEL,
        )
    }

    /// Enables the instance; nothing happens if it is.
    pub fn enable(&self) -> Result {
        let mut control = self.control.lock();
        match control.instance {
            Some(_) => Ok(()),
            None => {
                let instance = self.prepare(&control, control.psk)?;
                instance.begin();
                control.instance = Some(instance);
                Ok(())
            }
        }
    }

    /// An instance that has all it needs, to be begun when the one that there is has ended.
    fn prepare(&self, control: &Control, psk: [u8; PSK_LEN]) -> Result<Arc<Instance>> {
        let mut prefixes = KVec::new();
        prefixes.extend_from_slice(&control.prefixes, GFP_KERNEL)?;
        let shared = self.shared.clone();
        Instance::new(self.net, shared, prefixes, psk, control.instance.as_deref())
    }

    /// Sets the pre-shared key, zeros for none. What was agreed with another one does not count any
    /// more: an instance begins anew. If there is no memory for that all stays as it is.
    pub fn set_psk(&self, psk: [u8; PSK_LEN]) -> Result {
        let mut control = self.control.lock();
        if control.psk == psk {
            return Ok(());
        }
        if control.instance.is_some() {
            let fresh = self.prepare(&control, psk)?;
            if let Some(old) = control.instance.replace(fresh.clone()) {
                old.stop(true);
            }
            fresh.begin();
        }
        control.psk = psk;
        Ok(())
    }

    /// Whether there is a pre-shared key, or whether it is this one.
    pub fn has_psk(&self, this: Option<&[u8; PSK_LEN]>) -> bool {
        let psk = &self.control.lock().psk;
        match this {
            Some(this) => crypto::psk_eq(this, psk),
            None => *psk != [0; PSK_LEN],
        }
    }

    /// Disables the instance; nothing happens if it is not enabled.
    pub fn disable(&self, gently: bool) {
        // The lock is kept meanwhile: there are never two instances at work in a namespace.
        let mut control = self.control.lock();
        if let Some(instance) = control.instance.take() {
            instance.stop(gently);
        }
    }

    /// The instance, while enabled.
    pub fn instance(&self) -> Option<Arc<Instance>> {
        self.control.lock().instance.clone()
    }

    /// Adds a prefix to those that are asked.
    pub fn add_prefix(&self, prefix: Prefix) -> Result {
        let mut control = self.control.lock();
        if control.prefixes.iter().any(|p| *p == prefix) {
            return Err(EEXIST);
        }
        if control.prefixes.len() >= MAX_PREFIXES {
            return Err(ENOSPC);
        }
        control.prefixes.push(prefix, GFP_KERNEL)?;
        Self::push_prefixes(&control)
    }

    /// Removes a prefix from those that are asked.
    pub fn remove_prefix(&self, prefix: Prefix) -> Result {
        let mut control = self.control.lock();
        let index = control
            .prefixes
            .iter()
            .position(|p| *p == prefix)
            .ok_or(ENOENT)?;
        let _ = control.prefixes.remove(index);
        Self::push_prefixes(&control)
    }

    /// Adds a rule, to a draft or those in force, so that it has this number, from 1 on; at the end
    /// without one. With names it is for these interfaces.
    pub fn add_rule(
        &self,
        draft: Option<u32>,
        number: Option<u32>,
        rule: Rule,
        names: Option<Names>,
    ) -> Result<(), RuleError> {
        let rule = Counted::new(rule, names)?;
        rule.find(self.net);
        self.change_rules(draft, |table| table.with(number, rule))
    }

    /// Removes the rule with this number.
    pub fn remove_rule(&self, draft: Option<u32>, number: u32) -> Result<(), RuleError> {
        self.change_rules(draft, |table| table.without(number))
    }

    /// Removes all rules.
    pub fn flush_rules(&self, draft: Option<u32>) -> Result<(), RuleError> {
        self.change_rules(draft, |_| Ok(Table::new()))
    }

    fn change_rules(
        &self,
        draft: Option<u32>,
        change: impl FnOnce(&Table) -> Result<Table, RuleError>,
    ) -> Result<(), RuleError> {
        // One writer at a time.
        let mut control = self.control.lock();
        match draft {
            None => {
                let rules = &self.shared.rules;
                let (table, _) = rules.get();
                rules.set(change(&table)?)
            }
            Some(token) => {
                let draft = control.draft.as_mut().filter(|draft| draft.token == token);
                let draft = draft.ok_or(RuleError::NoDraft)?;
                draft.table = change(&draft.table)?;
                Ok(())
            }
        }
    }

    /// Begins a draft that has the rules in force; an older one is dropped.
    pub fn draft_rules(&self, token: u32) -> Result<(), RuleError> {
        let mut control = self.control.lock();
        let (table, generation) = self.shared.rules.get();
        let table = table.copy()?;
        control.draft = Some(Draft {
            token,
            generation,
            table,
        });
        Ok(())
    }

    /// Puts a draft in force.
    pub fn commit_rules(&self, token: u32) -> Result<(), RuleError> {
        let mut control = self.control.lock();
        let draft = control.draft.take_if(|draft| draft.token == token);
        let draft = draft.ok_or(RuleError::NoDraft)?;
        let rules = &self.shared.rules;
        if draft.generation != rules.generation() {
            return Err(RuleError::Changed);
        }
        rules.set(draft.table)?;
        // Some may have come or gone since they were added.
        rules.find(self.net);
        Ok(())
    }

    /// Changes what is set for an interface, and how much of its budget is used.
    pub fn set_interface(
        &self,
        name: Name,
        used: Option<u64>,
        change: impl FnOnce(&mut Settings),
    ) -> Result<(), LinkError> {
        let control = self.control.lock();
        self.shared.links.set(self.net, name, used, change)?;
        if let Some(instance) = &control.instance {
            instance.interfaces_changed();
        }
        Ok(())
    }

    /// Forgets what is set for an interface.
    pub fn reset_interface(&self, name: &Name) -> Result<(), LinkError> {
        let control = self.control.lock();
        self.shared.links.reset(name)?;
        if let Some(instance) = &control.instance {
            instance.interfaces_changed();
        }
        Ok(())
    }

    fn push_prefixes(control: &Control) -> Result {
        let Some(instance) = &control.instance else {
            return Ok(());
        };
        let mut copy = KVec::new();
        copy.extend_from_slice(&control.prefixes, GFP_KERNEL)?;
        core::mem::swap(&mut *instance.prefixes.lock(), &mut copy);
        Ok(())
    }
}

/// A namespace appears, or was there when the module was loaded.
pub fn init(net: Net) -> Result {
    let namespace = Namespace::new(net)?;
    if net.is_init() && START_ENABLED.read_once() {
        namespace.enable()?;
    }
    pernet::set(net, Some(namespace));
    Ok(())
}

/// A namespace is about to go: no packet may be touched any more.
pub fn pre_exit(net: Net) {
    if let Some(namespace) = pernet::get(net) {
        namespace.disable(UNLOADING.read_once());
    }
}

/// A namespace goes.
pub fn exit(net: Net) {
    pernet::set(net, None);
}
