// SPDX-License-Identifier: GPL-2.0

//! The parameters as this version of the module has them, for where there is no module to ask.

use crate::nl::Choices;
use crate::nl::Param;

// The module's own source: there is no second list that could differ from it.
#[path = "../../../../mpip/proto/params.rs"]
#[allow(dead_code, reason = "the module's part of it")]
mod params;

/// All parameters, with their defaults as values.
pub(crate) fn known() -> Vec<Param> {
    let specs = params::TABLE.iter();
    specs
        .map(|spec| Param {
            name: spec.name.to_string(),
            value: spec.default,
            default: Some(spec.default),
            minimum: Some(spec.min),
            maximum: Some(spec.max),
            unit: Some(spec.unit.to_string()).filter(|unit| !unit.is_empty()),
            choices: Choices(
                spec.choices
                    .split(',')
                    .filter(|name| !name.is_empty())
                    .map(str::to_string)
                    .collect(),
            ),
            help: Some(spec.help.to_string()),
        })
        .collect()
}
