// SPDX-License-Identifier: GPL-2.0

//! Parameters.

use serde::Serialize;

use super::attr::Attr;
use super::record::record;
use super::record::Field;
use super::DecodeError;

record! {
    /// A parameter, its value and what it may be set to.
    pub struct Param: PARAM by CMD_PARAM_GET {
        /// Name.
        name: String = PARAM_NAME,
        /// Present value.
        value: u64 = PARAM_VALUE,
        /// Value of a fresh instance.
        default: Option<u64> = PARAM_DEFAULT,
        /// Smallest value.
        minimum: Option<u64> = PARAM_MINIMUM,
        /// Largest value.
        maximum: Option<u64> = PARAM_MAXIMUM,
        /// Unit of the value; none for plain numbers and for choices.
        unit: Option<String> = PARAM_UNIT,
        /// Names of the values, empty for numbers.
        choices: Choices = PARAM_CHOICES,
        /// What it does.
        help: Option<String> = PARAM_HELP,
    }
}

/// Names of a parameter's values from its minimum upwards.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Choices(pub Vec<String>);

impl Field for Choices {
    fn take(slot: &mut Option<Self>, attr: &Attr<'_>) -> Result<(), DecodeError> {
        let names = attr.string()?;
        let names = names.split(',').filter(|name| !name.is_empty());
        *slot = Some(Self(names.map(str::to_string).collect()));
        Ok(())
    }

    fn absent() -> Option<Self> {
        Some(Self::default())
    }
}

impl Param {
    /// The name of `value`, if values have names.
    pub fn choice(&self, value: u64) -> Option<&str> {
        let index = value.checked_sub(self.minimum.unwrap_or(0))?;
        let name = self.choices.0.get(usize::try_from(index).ok()?)?;
        Some(name)
    }
}
