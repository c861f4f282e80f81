// SPDX-License-Identifier: GPL-2.0

//! `mpipctl`: parse, act, report, exit.

use std::io;
use std::io::Write;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::Parser;
use mpipctl::cli::Cli;
use mpipctl::cmd;
use mpipctl::cmd::Context;
use mpipctl::complete;
use mpipctl::system::Real;
use mpipctl::Error;

const USAGE: u8 = 1;

fn main() -> ExitCode {
    if let Some(status) = complete::answer() {
        return status;
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return report_usage(&error),
    };
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is_broken_pipe() => ExitCode::SUCCESS,
        Err(error) => {
            if !error.is_silent() {
                complain(&format!("Error: {error}\n"));
            }
            ExitCode::from(error.exit_status())
        }
    }
}

fn run(cli: Cli) -> Result<(), Error> {
    let system = Real::enter(cli.options.netns.as_deref())?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut context = Context::new(cli.options, &system, &mut out);
    let result = match cli.batch {
        Some(_) if cli.object.is_some() => Err(Error::Usage(
            "-b: the commands are those in the file; leave out what follows it".to_string(),
        )),
        Some(file) => cmd::batch::run(&mut context, &file),
        None => cmd::run(cli.object, &mut context),
    };
    for warning in context.take_warnings() {
        complain(&format!("Warning: {warning}\n"));
    }
    result?;
    Ok(out.flush()?)
}

/// Help and version go to standard output; clap's errors begin in our way.
fn report_usage(error: &clap::Error) -> ExitCode {
    let text = error.render().to_string();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            match io::stdout().write_all(text.as_bytes()) {
                Err(error) if error.kind() != io::ErrorKind::BrokenPipe => ExitCode::from(USAGE),
                _ => ExitCode::SUCCESS,
            }
        }
        _ => {
            complain(&match text.strip_prefix("error: ") {
                Some(rest) => format!("Error: {rest}"),
                None => text,
            });
            ExitCode::from(USAGE)
        }
    }
}

/// If standard error is closed there is nobody to tell.
fn complain(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}
