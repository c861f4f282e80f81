// SPDX-License-Identifier: GPL-2.0

//! `completion`.

use super::Context;
use crate::cli::Shell;
use crate::complete;
use crate::Error;

pub(super) fn write(context: &mut Context<'_>, shell: Shell) -> Result<(), Error> {
    Ok(context.out.write_all(&complete::script(shell))?)
}
