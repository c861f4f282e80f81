// SPDX-License-Identifier: GPL-2.0

//! `param`.

use super::value;
use super::Context;
use crate::cli::ParamVerb;
use crate::nl::Param;
use crate::out::text::or_none;
use crate::out::text::Table;
use crate::Error;

pub(super) fn run(context: &mut Context<'_>, verb: Option<ParamVerb>) -> Result<(), Error> {
    match verb.unwrap_or(ParamVerb::Show { name: None }) {
        ParamVerb::Show { name } => show(context, name.as_deref()),
        ParamVerb::Set { name, value } => set(context, &name, &value),
    }
}

fn show(context: &mut Context<'_>, name: Option<&str>) -> Result<(), Error> {
    let mut params: Vec<Param> = context.list()?;
    if let Some(name) = name {
        find(&params, name)?;
        params.retain(|param| param.name == name);
    }
    if context.options.is_json() {
        return context.write_json(&params);
    }
    context.write_table(&table(&params, context.options.details))
}

/// The value is checked here, where a mistake can be explained best; the kernel checks it again.
fn set(context: &mut Context<'_>, name: &str, text: &str) -> Result<(), Error> {
    let params: Vec<Param> = context.list()?;
    let value = value::parse(find(&params, name)?, text).map_err(Error::Usage)?;
    let refused = |error| Error::of(format!("param \"{name}\""), "mpipctl param", error);
    context.client()?.set_param(name, value).map_err(refused)
}

/// The parameter with this name.
pub(super) fn find<'a>(params: &'a [Param], name: &str) -> Result<&'a Param, Error> {
    params.iter().find(|p| p.name == name).ok_or_else(|| {
        let names: Vec<&str> = params.iter().map(|p| p.name.as_str()).collect();
        let names = names.join(", ");
        Error::Usage(format!("no parameter \"{name}\"; there are: {names}"))
    })
}

fn table(params: &[Param], details: bool) -> Table {
    let mut table = Table::new(vec!["NAME", "VALUE", "UNIT", "DEFAULT", "ALLOWED"]);
    for param in params {
        let shown = |value| match param.choice(value) {
            Some(name) => name.to_string(),
            None => value.to_string(),
        };
        let cells = vec![
            param.name.clone(),
            shown(param.value),
            or_none(param.unit.as_ref()),
            or_none(param.default.map(shown)),
            value::range(param),
        ];
        let help = param.help.clone().filter(|_| details);
        table.row(cells, help.into_iter().collect());
    }
    table
}
