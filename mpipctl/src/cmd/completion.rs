// SPDX-License-Identifier: GPL-2.0

//! `completion`.

use clap::CommandFactory;
use clap_complete::generate;
use clap_complete::shells;

use super::Context;
use crate::cli::Cli;
use crate::cli::Shell;
use crate::Error;

const NAME: &str = "mpipctl";

pub(super) fn write(context: &mut Context<'_>, shell: Shell) -> Result<(), Error> {
    let mut command = Cli::command();
    // The generator takes a failure to write for a bug, so that it must not meet one.
    let mut script = Vec::new();
    match shell {
        Shell::Bash => generate(shells::Bash, &mut command, NAME, &mut script),
        Shell::Zsh => generate(shells::Zsh, &mut command, NAME, &mut script),
        Shell::Fish => generate(shells::Fish, &mut command, NAME, &mut script),
    }
    Ok(context.out.write_all(&script)?)
}
