// SPDX-License-Identifier: GPL-2.0

//! `interface`.

use super::rule::choice;
use super::value;
use super::Context;
use crate::cli::InterfaceVerb;
use crate::nl;
use crate::nl::Choices;
use crate::nl::Interface;
use crate::nl::Param;
use crate::out::text::milliseconds;
use crate::out::text::or_none;
use crate::out::text::Table;
use crate::Error;

/// The names of values, in the order in which they are shown.
pub(crate) const NAMES: &[&str] = &[
    "backup", "cost", "budget", "period", "exclude", "enrol", "power", "energy", "used",
];
/// Of these not a setting, but how things are.
pub(super) const USED: &str = "used";
/// What the kernel lets interfaces be called, bytes.
const MAX_NAME: usize = 15;

pub(super) fn run(context: &mut Context<'_>, verb: Option<InterfaceVerb>) -> Result<(), Error> {
    match verb.unwrap_or(InterfaceVerb::Show { name: None }) {
        InterfaceVerb::Show { name } => show(context, name.as_deref()),
        InterfaceVerb::Set { name, words } => {
            let interface = parse(&name, &words).map_err(Error::Usage)?;
            if context.system.interface_index(&name).is_none() {
                let text = format!("\"{name}\": no such interface now; it counts when there is");
                context.warnings.push(text);
            }
            let client = context.client()?;
            client.set_interface(&interface).map_err(refused(&name))
        }
        InterfaceVerb::Reset { name } => {
            check_name(&name).map_err(Error::Usage)?;
            let client = context.client()?;
            client.reset_interface(&name).map_err(refused(&name))
        }
    }
}

/// What the kernel said of an interface.
fn refused(name: &str) -> impl FnOnce(nl::Error) -> Error + '_ {
    move |error| Error::of(format!("interface \"{name}\""), "mpipctl interface", error)
}

fn show(context: &mut Context<'_>, name: Option<&str>) -> Result<(), Error> {
    let mut interfaces: Vec<Interface> = context.list()?;
    if let Some(name) = name {
        interfaces.retain(|interface| interface.name == name);
        if interfaces.is_empty() {
            return Err(Error::Usage(format!(
                "interface: nothing is set for \"{name}\", nor has it a usable address; \
                 try: mpipctl interface"
            )));
        }
    }
    if context.options.is_json() {
        return context.write_json(&interfaces);
    }
    let header = ["NAME", "STATE", "COST", "BUDGET", "USED", "LEFT"];
    let mut table = Table::new(header.to_vec());
    for interface in &interfaces {
        let state = match interface.ifindex {
            Some(_) => or_none(interface.role),
            None => "absent".to_string(),
        };
        let cells = vec![
            interface.name.clone(),
            state,
            or_none(interface.cost),
            or_none(interface.budget.filter(|bytes| *bytes != 0).map(bytes)),
            or_none(interface.used.map(size)),
            or_none(interface.left_ms.map(milliseconds)),
        ];
        let mut details = Vec::new();
        if context.options.details {
            let set = words(interface);
            details.push(match set.is_empty() {
                true => "nothing set".to_string(),
                false => set,
            });
        }
        table.row(cells, details);
    }
    context.write_table(&table)
}

/// What is set, as `set` takes it.
pub(super) fn words(interface: &Interface) -> String {
    let pairs = pairs(interface).into_iter();
    let pairs = pairs.map(|(name, value)| format!("{name} {value}"));
    pairs.collect::<Vec<_>>().join(" ")
}

/// The names and values of what is set.
pub(super) fn pairs(interface: &Interface) -> Vec<(&'static str, String)> {
    let switch = |is: Option<bool>| (is == Some(true)).then(|| "on".to_string());
    let number = |n: Option<u32>, unit| n.filter(|n| *n != 0).map(|n| format!("{n}{unit}"));
    let budget = interface.budget.filter(|bytes| *bytes != 0);
    let period = interface.period_ms;
    let plain = budget.is_none() && period == Some(Interface::PERIOD_MS);
    let pairs = [
        ("backup", switch(interface.backup)),
        ("cost", number(interface.cost, "")),
        ("budget", budget.map(bytes)),
        ("period", period.filter(|_| !plain).map(time)),
        ("exclude", switch(interface.excluded)),
        ("enrol", switch(interface.enrolled)),
        ("power", number(interface.power_mw, "mW")),
        ("energy", number(interface.bit_nj, "nJ")),
    ];
    let pairs = pairs.into_iter();
    pairs
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
}

/// The words that make of `from` what `to` is, both with everything said.
pub(super) fn changes(from: &Interface, to: &Interface) -> Vec<String> {
    let switch = |is: Option<bool>| match is {
        Some(true) => "on".to_string(),
        _ => "off".to_string(),
    };
    let number = |n: Option<u32>, unit| format!("{}{unit}", n.unwrap_or(0));
    let all = |of: &Interface| {
        [
            ("backup", switch(of.backup)),
            ("cost", number(of.cost, "")),
            ("budget", bytes(of.budget.unwrap_or(0))),
            ("period", time(of.period_ms.unwrap_or(Interface::PERIOD_MS))),
            ("exclude", switch(of.excluded)),
            ("enrol", switch(of.enrolled)),
            ("power", number(of.power_mw, "mW")),
            ("energy", number(of.bit_nj, "nJ")),
        ]
    };
    let pairs = all(from).into_iter().zip(all(to));
    let changed = pairs.filter(|(from, to)| from != to);
    changed
        .map(|(_, (name, value))| format!("{name} {value}"))
        .collect()
}

/// In the largest unit of which it is a whole number.
fn whole(number: u64, units: &[(&str, u64)]) -> String {
    let unit = units
        .iter()
        .find(|(_, unit)| number % unit == 0 && number != 0);
    let (name, unit) = unit.unwrap_or(&("", 1));
    format!("{}{name}", number / unit)
}

/// Units of bytes, as `set` takes them.
const SIZES: &[(&str, u64)] = &[
    ("T", 1 << 40),
    ("G", 1 << 30),
    ("M", 1 << 20),
    ("k", 1 << 10),
];

pub(super) fn bytes(number: u64) -> String {
    whole(number, SIZES)
}

/// Bytes in short, in the units in which budgets are set.
pub(super) fn size(number: u64) -> String {
    match SIZES.iter().find(|(_, unit)| number >= *unit) {
        Some((name, unit)) => format!("{:.1}{name}", number as f64 / *unit as f64),
        None => number.to_string(),
    }
}

fn time(ms: u64) -> String {
    let units = [
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("min", 60_000),
        ("s", 1000),
        ("ms", 1),
    ];
    whole(ms, &units)
}

pub(super) fn check_name(name: &str) -> Result<(), String> {
    let odd = |c: char| c.is_whitespace() || matches!(c, '/' | ':' | '\0');
    let wrong = name.is_empty() || name == "." || name == ".." || name.contains(odd);
    match wrong || name.len() > MAX_NAME {
        true => Err(format!(
            "interface: not what an interface can be called, 1 to {MAX_NAME} bytes without \
             spaces, / and :: \"{name}\""
        )),
        false => Ok(()),
    }
}

/// Reads names and values by turns; the error quotes what is wrong.
fn parse(name: &str, words: &[String]) -> Result<Interface, String> {
    check_name(name)?;
    let mut interface = Interface {
        name: name.to_string(),
        ..Interface::default()
    };
    let names = NAMES.join(", ");
    if words.is_empty() {
        return Err(format!("interface: nothing given; names are {names}"));
    }
    let mut seen = Vec::new();
    for pair in words.chunks(2) {
        let key = pair[0].as_str();
        if !NAMES.contains(&key) {
            return Err(format!(
                "interface: unknown name: \"{key}\"; names are {names}"
            ));
        }
        let [_, text] = pair else {
            return Err(format!("{key}: the value is missing"));
        };
        if seen.contains(&key) {
            return Err(format!("{key}: given twice"));
        }
        seen.push(key);
        set(&mut interface, key, text)?;
    }
    match flaw(&interface) {
        Some((name, why)) => Err(format!("{name}: {why}")),
        None => Ok(interface),
    }
}

/// What the kernel would refuse: the name, and why.
pub(super) fn flaw(interface: &Interface) -> Option<(&'static str, &'static str)> {
    let both = interface.enrolled == Some(true) && interface.excluded == Some(true);
    both.then_some(("enrol", "an interface is either enrolled or excluded"))
}

/// Reads one value.
pub(super) fn set(interface: &mut Interface, name: &str, text: &str) -> Result<(), String> {
    let switch = || {
        let is = choice(text, &["off", "on"]).map_err(|why| format!("{name}: {why}"))?;
        Ok::<_, String>(Some(is == 1))
    };
    let number = |unit: &str, min: u64, max: u64| quantity(name, text, unit, min, max);
    let short = |unit: &str| {
        let value = number(unit, 0, u32::MAX.into())?;
        Ok::<_, String>(u32::try_from(value).ok())
    };
    match name {
        "backup" => interface.backup = switch()?,
        "exclude" => interface.excluded = switch()?,
        "enrol" => interface.enrolled = switch()?,
        "cost" => interface.cost = short("")?,
        "power" => interface.power_mw = short("mW")?,
        "energy" => interface.bit_nj = short("nJ")?,
        "budget" => interface.budget = Some(number("bytes", 0, u64::MAX)?),
        "period" => interface.period_ms = Some(number("ms", 1000, 366 * 86_400_000)?),
        _ => interface.used = Some(number("bytes", 0, u64::MAX)?),
    }
    Ok(())
}

/// As a parameter of this unit would be read.
pub(super) fn quantity(
    name: &str,
    text: &str,
    unit: &str,
    min: u64,
    max: u64,
) -> Result<u64, String> {
    let like = Param {
        name: name.to_string(),
        value: min,
        default: None,
        minimum: Some(min),
        maximum: Some(max),
        unit: Some(unit.to_string()).filter(|unit| !unit.is_empty()),
        choices: Choices::default(),
        help: None,
    };
    value::parse(&like, text)
}
