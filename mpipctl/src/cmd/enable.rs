// SPDX-License-Identifier: GPL-2.0

//! `enable`, `disable`.

use super::Context;
use crate::Error;

pub(super) fn set(context: &mut Context<'_>, enabled: bool) -> Result<(), Error> {
    Ok(context.client()?.set_enabled(enabled)?)
}
