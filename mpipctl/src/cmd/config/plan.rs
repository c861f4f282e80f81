// SPDX-License-Identifier: GPL-2.0

//! The steps from what the kernel has to what is wanted, and no more.

use std::time::Duration;
use std::time::Instant;

use serde::Serialize;
use similar::capture_diff_slices_deadline;
use similar::Algorithm;
use similar::DiffTag;

use super::read::MAX_RULES;
use super::Config;
use super::KeyFile;
use super::Known;
use super::Mistake;
use super::Place;
use super::State;
use crate::cmd::doctor::word;
use crate::cmd::interface;
use crate::cmd::psk;
use crate::cmd::rule;
use crate::nl;
use crate::nl::Client;
use crate::nl::Draft;
use crate::nl::Interface;
use crate::nl::Names;
use crate::nl::Param;
use crate::nl::Prefix;
use crate::nl::Rule;
use crate::nl::RuleMode;
use crate::nl::RulePriority;
use crate::system::System;

/// How long the shortest way between two lists of rules is looked for; then some way does.
const PATIENCE: Duration = Duration::from_secs(1);

/// A request to the kernel.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Param(Param, u64, Place),
    Ask(Prefix, Place),
    Unask(Prefix),
    Interface(Box<Interface>, Box<Interface>, Place),
    Forget(Box<Interface>),
    Add(u32, Rule, Place),
    Delete(u32, Rule),
    Psk(KeyFile, Place),
    Unpsk,
    Enable(bool, Place),
}

/// A step as JSON has it.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    command: String,
    change: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prefix: Option<Prefix>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interface: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
}

impl Step {
    /// Whether it changes rules, which is done in a draft.
    fn is_of_rules(&self) -> bool {
        matches!(self, Self::Add(..) | Self::Delete(..))
    }

    /// Whether it changes the pre-shared key.
    pub(super) fn is_of_psk(&self) -> bool {
        matches!(self, Self::Psk(..) | Self::Unpsk)
    }

    /// Whether the kernel has the pre-shared key of this step, or none as it wants.
    pub(super) fn has_set_psk(&self, client: &mut Client) -> bool {
        match self {
            Self::Psk(key, _) => psk::is(client, Some(&key.psk)),
            Self::Unpsk => psk::is(client, None),
            _ => false,
        }
    }

    fn draft(&self, draft: &mut Draft<'_>) -> Result<(), nl::Error> {
        match self {
            Self::Add(_, rule, _) => draft.add(rule),
            Self::Delete(number, _) => draft.delete(*number),
            _ => Ok(()),
        }
    }

    fn run(&self, client: &mut Client) -> Result<(), nl::Error> {
        match self {
            Self::Param(param, value, _) => client.set_param(&param.name, *value),
            Self::Ask(prefix, _) => client.add_prefix(prefix),
            Self::Unask(prefix) => client.del_prefix(prefix),
            Self::Interface(_, to, _) => client.set_interface(to),
            Self::Forget(interface) => client.reset_interface(&interface.name),
            Self::Psk(key, _) => client.set_psk(Some(&key.psk)),
            Self::Unpsk => client.set_psk(None),
            Self::Enable(enabled, _) => client.set_enabled(*enabled),
            Self::Add(..) | Self::Delete(..) => Ok(()),
        }
    }

    /// What in the files wants it.
    pub(super) fn place(&self) -> Option<&Place> {
        match self {
            Self::Param(_, _, place)
            | Self::Ask(_, place)
            | Self::Interface(_, _, place)
            | Self::Add(_, _, place)
            | Self::Psk(_, place)
            | Self::Enable(_, place) => Some(place).filter(|place| place.line > 0),
            Self::Unask(_) | Self::Forget(_) | Self::Delete(..) | Self::Unpsk => None,
        }
    }

    /// The command that does the same.
    pub(super) fn command(&self, system: &dyn System) -> String {
        match self {
            Self::Param(param, value, _) => {
                format!("param set {} {}", param.name, shown(param, *value))
            }
            Self::Ask(prefix, _) => format!("ask add {prefix}"),
            Self::Unask(prefix) => format!("ask del {prefix}"),
            Self::Interface(from, to, _) => {
                let words: Vec<String> = interface::changes(from, to);
                format!("interface set {} {}", to.name, words.join(" "))
            }
            Self::Forget(interface) => format!("interface reset {}", interface.name),
            Self::Add(number, rule, _) => {
                let pairs = rule::pairs(&by_name(rule, system), system).into_iter();
                let words = pairs.map(|(name, value)| format!(" {name} {}", word(&value)));
                format!("rule add number {number}{}", words.collect::<String>())
            }
            Self::Delete(number, _) => format!("rule delete {number}"),
            Self::Psk(key, _) => format!("psk set {}", word(&key.path)),
            Self::Unpsk => "psk clear".to_string(),
            Self::Enable(true, _) => "enable".to_string(),
            Self::Enable(false, _) => "disable".to_string(),
        }
    }

    /// That command, with what it is instead of or about in a remark.
    pub(super) fn line(&self, system: &dyn System) -> String {
        let command = self.command(system);
        match self {
            Self::Param(param, ..) => format!("{command}  # {}", shown(param, param.value)),
            Self::Delete(_, rule) => format!("{command}  # {}", key(rule, system)),
            Self::Interface(from, ..) | Self::Forget(from) if !from.is_plain() => {
                format!("{command}  # {}", interface::words(from))
            }
            _ => command,
        }
    }

    pub(super) fn row(&self, system: &dyn System) -> Row {
        let mut row = Row {
            command: self.command(system),
            change: "",
            name: None,
            from: None,
            to: None,
            prefix: None,
            interface: None,
            number: None,
            rule: None,
        };
        row.change = match self {
            Self::Param(param, value, _) => {
                row.name = Some(param.name.clone());
                (row.from, row.to) = (Some(param.value), Some(*value));
                "param-set"
            }
            Self::Ask(prefix, _) => {
                row.prefix = Some(prefix.clone());
                "ask-add"
            }
            Self::Unask(prefix) => {
                row.prefix = Some(prefix.clone());
                "ask-del"
            }
            Self::Interface(_, to, _) => {
                row.name = Some(to.name.clone());
                row.interface = Some(interface::words(to));
                "interface-set"
            }
            Self::Forget(interface) => {
                row.name = Some(interface.name.clone());
                "interface-reset"
            }
            Self::Add(number, rule, _) | Self::Delete(number, rule) => {
                row.number = Some(*number);
                row.rule = Some(key(rule, system));
                match self {
                    Self::Add(..) => "rule-add",
                    _ => "rule-delete",
                }
            }
            Self::Psk(..) => "psk-set",
            Self::Unpsk => "psk-clear",
            Self::Enable(true, _) => "enable",
            Self::Enable(false, _) => "disable",
        };
        row
    }
}

/// A value of a parameter with its unit, as `param set` takes it.
pub(super) fn shown(param: &Param, value: u64) -> String {
    match (param.choice(value), param.unit.as_deref()) {
        (Some(name), _) => name.to_string(),
        (None, Some(unit @ ("ns" | "us" | "ms" | "s"))) => format!("{value}{unit}"),
        (None, _) => value.to_string(),
    }
}

/// Why steps were not carried out.
pub(super) enum Stopped<'a> {
    /// Others have changed the rules; nothing was done.
    Changed,
    /// At this step.
    At(&'a Step, nl::Error),
    /// Between them.
    Failed(nl::Error),
}

impl From<nl::Error> for Stopped<'_> {
    fn from(error: nl::Error) -> Self {
        match error {
            error if error.is_about_draft() => Self::Changed,
            error => Self::Failed(error),
        }
    }
}

/// Carries out steps that lead away from `now`: those on rules at once or not at all, then the
/// others one by one.
pub(super) fn carry_out<'a>(
    client: &mut Client,
    now: &State,
    steps: &'a [Step],
) -> Result<(), Stopped<'a>> {
    let (rules, others): (Vec<_>, Vec<_>) = steps.iter().partition(|step| step.is_of_rules());
    if !rules.is_empty() {
        let mut draft = client.draft_rules()?;
        // What precedes the draft is not told by its end.
        let current = draft.in_force()?;
        let same = current
            .items
            .iter()
            .map(plain)
            .eq(now.rules.iter().map(plain));
        if current.interrupted || !same {
            return Err(Stopped::Changed);
        }
        for step in rules {
            step.draft(&mut draft).map_err(|error| match error.into() {
                Stopped::Failed(error) => Stopped::At(step, error),
                changed => changed,
            })?;
        }
        draft.commit()?;
    }
    for step in others {
        let done = step.run(client);
        done.map_err(|error| Stopped::At(step, error))?;
    }
    Ok(())
}

/// What a configuration does not name has its default; MPIP is on.
pub(super) fn plan(now: &State, wanted: &Config, system: &dyn System) -> Vec<Step> {
    let mut steps = rules(now, wanted, system);
    for param in &now.params {
        let (value, place) = match wanted.param(&param.name) {
            Some(value) => (Some(value.value), value.place.clone()),
            None => (param.default, Place::default()),
        };
        let value = value.filter(|value| *value != param.value);
        steps.extend(value.map(|value| Step::Param(param.clone(), value, place)));
    }
    let is_wanted = |prefix: &&Prefix| wanted.prefixes.iter().any(|w| w.value == **prefix);
    let surplus = now.prefixes.iter().filter(|prefix| !is_wanted(prefix));
    steps.extend(surplus.cloned().map(Step::Unask));
    let lacking = wanted.prefixes.iter();
    let lacking = lacking.filter(|prefix| !now.prefixes.contains(&prefix.value));
    steps.extend(lacking.map(|prefix| Step::Ask(prefix.value.clone(), prefix.place.clone())));
    steps.extend(interfaces(now, wanted));
    match (&wanted.psk, now.psk) {
        (Some(_), Known::Same) | (None, Known::None) => {}
        (Some(key), _) => steps.push(Step::Psk(key.value.clone(), key.place.clone())),
        (None, _) => steps.push(Step::Unpsk),
    }
    // An instance begins with its port and its rules; and what fails before costs no session.
    let (enabled, place) = match &wanted.enabled {
        Some(enabled) => (enabled.value, enabled.place.clone()),
        None => (true, Place::default()),
    };
    if enabled != now.enabled {
        steps.push(Step::Enable(enabled, place));
    }
    steps
}

/// Those that go make room for others.
fn interfaces(now: &State, wanted: &Config) -> Vec<Step> {
    let is_wanted = |old: &&Interface| {
        let new = wanted.interface(&old.name);
        new.is_some_and(|new| !new.value.is_plain())
    };
    let surplus = now.interfaces.iter().filter(|old| !is_wanted(old));
    let mut steps: Vec<Step> = surplus
        .map(|old| Step::Forget(Box::new(old.settings())))
        .collect();
    for new in &wanted.interfaces {
        let to = new.value.settings();
        let old = now.interfaces.iter().find(|old| old.name == to.name);
        let plain = Interface {
            name: to.name.clone(),
            ..Interface::default()
        };
        let from = old.unwrap_or(&plain).settings();
        if from != to && !to.is_plain() {
            let (from, to) = (Box::new(from), Box::new(to));
            steps.push(Step::Interface(from, to, new.place.clone()));
        }
    }
    steps
}

/// As one can type them one after the other: a rule that takes the place of another comes before
/// that goes, unless there is no room for both.
fn rules(now: &State, wanted: &Config, system: &dyn System) -> Vec<Step> {
    let old: Vec<String> = now.rules.iter().map(|rule| key(rule, system)).collect();
    let new = wanted.rules.iter().map(|rule| key(&rule.value, system));
    let new: Vec<String> = new.collect();
    let deadline = Instant::now().checked_add(PATIENCE);
    let ops = capture_diff_slices_deadline(Algorithm::Myers, &old, &new, deadline);
    let changes = ops.iter().filter(|op| op.tag() != DiffTag::Equal);
    let added: usize = changes.clone().map(|op| op.new_range().len()).sum();
    let add = |index: usize, at: usize| {
        let rule = &wanted.rules[index];
        let mut numbered = rule.value.clone();
        numbered.number = Some(at as u32);
        Step::Add(at as u32, numbered, rule.place.clone())
    };
    let delete = |index: usize, at: usize| Step::Delete(at as u32, now.rules[index].clone());
    let mut steps = Vec::new();
    if now.rules.len() + added > MAX_RULES {
        for op in changes.clone().rev() {
            steps.extend(op.old_range().rev().map(|index| delete(index, index + 1)));
        }
        for op in changes {
            steps.extend(op.new_range().map(|index| add(index, index + 1)));
        }
        return steps;
    }
    for op in changes {
        // What precedes is as it is to be by then.
        let (old, new) = (op.old_range(), op.new_range());
        let after = new.end + 1;
        steps.extend(new.map(|index| add(index, index + 1)));
        steps.extend(old.map(|index| delete(index, after)));
    }
    steps
}

/// What is the same for rules that do the same.
pub(super) fn key(rule: &Rule, system: &dyn System) -> String {
    rule::words(&by_name(rule, system), system)
}

/// The rule with its defaults said, without limits that are none, and without what is not its own.
pub(super) fn plain(rule: &Rule) -> Rule {
    let mut rule = rule.clone();
    (rule.number, rule.hits) = (None, None);
    rule.priority.get_or_insert(RulePriority::Throughput);
    rule.mode.get_or_insert(RuleMode::All);
    rule.max_delay_us = rule.max_delay_us.filter(|delay| *delay != u32::MAX);
    rule.max_loss = rule.max_loss.filter(|loss| *loss != 1000);
    rule.min_rate = rule.min_rate.filter(|rate| *rate != 0);
    rule.max_cost = rule.max_cost.filter(|cost| *cost != u32::MAX);
    rule.ordered = rule.ordered.filter(|is| *is);
    rule
}

/// The same, with the names of its interfaces in place of their indices, and in a settled order.
pub(super) fn by_name(rule: &Rule, system: &dyn System) -> Rule {
    let mut names = rule::interfaces(rule, system);
    names.sort_unstable();
    names.dedup();
    Rule {
        dev: Some(Names(names)).filter(|names| !names.0.is_empty()),
        interfaces: None,
        ..plain(rule)
    }
}

/// What a file has to say so that the kernel's state is what it and `others` say together.
pub(super) fn without(
    state: &State,
    others: &Config,
    system: &dyn System,
) -> Result<State, Vec<Mistake>> {
    let mut rest = state.clone();
    let mut mistakes = Vec::new();
    let mut wins = |place: &Place, what: String| {
        let place = place.clone();
        let text = format!("{what}: not what the kernel has, and would win over what is saved");
        mistakes.push(Mistake { place, text });
    };
    if let Some(enabled) = &others.enabled {
        if enabled.value != state.enabled {
            wins(&enabled.place, format!("enabled = {}", enabled.value));
        }
        rest.enabled = true;
    }
    if let Some(psk) = &others.psk {
        if state.psk != Known::Same {
            wins(&psk.place, format!("psk = \"{}\"", psk.value.path));
        }
        rest.psk = Known::None;
    }
    for (name, value) in &others.params {
        for param in rest.params.iter_mut().filter(|param| param.name == *name) {
            if param.value != value.value {
                wins(
                    &value.place,
                    format!("{name} = {}", shown(param, value.value)),
                );
            }
        }
        rest.params.retain(|param| param.name != *name);
    }
    for prefix in &others.prefixes {
        if !state.prefixes.contains(&prefix.value) {
            wins(&prefix.place, prefix.value.to_string());
        }
        rest.prefixes.retain(|own| *own != prefix.value);
    }
    for interface in &others.interfaces {
        let wanted = interface.value.settings();
        let mut own = state.interfaces.iter();
        let own = own.find(|own| own.name == wanted.name);
        let differs = own.map_or(!wanted.is_plain(), |own| own.settings() != wanted);
        if differs {
            wins(&interface.place, format!("interface {}", wanted.name));
        }
        rest.interfaces.retain(|own| own.name != wanted.name);
    }
    let theirs = others.rules.len();
    let keep = state.rules.len().saturating_sub(theirs);
    let ends = state.rules.iter().skip(keep).map(|rule| key(rule, system));
    let ends: Vec<String> = ends.collect();
    for (i, rule) in others.rules.iter().enumerate() {
        let wanted = key(&rule.value, system);
        if ends.get(i) != Some(&wanted) {
            wins(&rule.place, format!("rule {wanted}"));
        }
    }
    rest.rules.truncate(keep);
    match mistakes.is_empty() {
        true => Ok(rest),
        false => Err(mistakes),
    }
}
