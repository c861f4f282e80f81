// SPDX-License-Identifier: GPL-2.0

//! `top`: paths and sessions as they are now, again and again.

#[cfg(test)]
mod fixture;
mod report;
mod state;
mod text;
mod view;

use std::time::Duration;

use nix::errno::Errno;

use self::state::Snapshot;
use self::state::Step;
use self::state::Top;
use self::view::Theme;
use super::path;
use super::value;
use super::Context;
use crate::cli;
use crate::nl;
use crate::nl::Choices;
use crate::nl::Param;
use crate::nl::Path;
use crate::nl::Session;
use crate::screen::Screen;
use crate::screen::Wake;
use crate::Error;

/// Bounds of the interval, milliseconds.
const INTERVALS: std::ops::RangeInclusive<u64> = 100..=3_600_000;

pub(super) fn run(context: &mut Context<'_>, how: &cli::Top) -> Result<(), Error> {
    let interval = interval(&how.interval)?;
    let (netns, filter) = (context.system.namespace(), how.filter.join(" "));
    let mut top = Top::new(netns, interval, how.sort, &filter);
    if how.count.is_some() || context.options.is_json() {
        return report::run(context, &mut top, how.count);
    }
    // What can go wrong at once is told on the usual screen.
    top.take(look(context)?);
    let theme = Theme(context.color());
    let mut screen = context.system.screen()?;
    show(context, &mut top, theme, screen.as_mut())
}

/// Draws until somebody has seen enough.
fn show(
    context: &mut Context<'_>,
    top: &mut Top,
    theme: Theme,
    screen: &mut dyn Screen,
) -> Result<(), Error> {
    let mut next = context.system.clock() + top.interval;
    loop {
        screen.draw(&mut |frame| view::draw(frame, top, theme))?;
        let left = next.saturating_sub(context.system.clock());
        match screen.wait((!top.paused).then_some(left))? {
            Wake::Time => next = renew(context, top)?,
            Wake::Key(key) => match top.press(key) {
                Step::Stay => {}
                Step::Suspend => screen.suspend()?,
                Step::Quit => return Ok(()),
            },
            Wake::Redraw => {}
            Wake::Stop => screen.suspend()?,
            Wake::End => return Ok(()),
        }
    }
}

/// Looks, and says when to look again.
fn renew(context: &mut Context<'_>, top: &mut Top) -> Result<Duration, Error> {
    let began = context.system.clock();
    top.take(look(context)?);
    Ok(after(began, context.system.clock(), top.interval))
}

/// A look at very many sessions takes time: as much is left for the keys, and for everybody else.
fn after(began: Duration, now: Duration, interval: Duration) -> Duration {
    (began + interval).max(now + now.saturating_sub(began))
}

/// Asks the kernel for everything. A table that changes while it is read is taken as it comes: the
/// next look is soon.
fn look(context: &mut Context<'_>) -> Result<Snapshot, Error> {
    match try_look(context) {
        // The module was unloaded. It may be there again.
        Err(nl::Error::Refused(refusal)) if refusal.errno == Errno::ENOENT as i32 => {
            context.client = None;
            Ok(try_look(context)?)
        }
        result => Ok(result?),
    }
}

fn try_look(context: &mut Context<'_>) -> Result<Snapshot, nl::Error> {
    let system = context.system;
    let client = match &mut context.client {
        Some(client) => client,
        none => none.insert(system.connect()?),
    };
    let node = client.status()?;
    let mut paths = Vec::new();
    client.scan(|path: Path| paths.push(path))?;
    let at = system.clock();
    let mut sessions = Vec::new();
    client.scan(|session: Session| sessions.push(session))?;
    let named = paths.into_iter().map(|path| {
        let dev = path::interface(&path, system);
        (path, dev)
    });
    let paths = named.collect();
    Ok(Snapshot {
        at,
        node,
        paths,
        sessions,
    })
}

/// A number without a unit is in seconds.
fn interval(text: &str) -> Result<Duration, Error> {
    let param = Param {
        name: "interval".to_string(),
        value: 0,
        default: None,
        minimum: Some(*INTERVALS.start()),
        maximum: Some(*INTERVALS.end()),
        unit: Some("ms".to_string()),
        choices: Choices::default(),
        help: None,
    };
    let written = match text.ends_with(|c: char| c.is_ascii_digit()) {
        true => format!("{text}s"),
        false => text.to_string(),
    };
    let ms = value::parse(&param, &written).map_err(Error::Usage)?;
    Ok(Duration::from_millis(ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_that_take_long() {
        let seconds = Duration::from_secs;
        for (now, next) in [(10, 15), (12, 15), (13, 16), (20, 30)] {
            let found = after(seconds(10), seconds(now), seconds(5));
            assert_eq!(found, seconds(next), "{now}");
        }
    }

    #[test]
    fn intervals() {
        for (text, ms) in [
            ("1", 1000),
            ("0.5", 500),
            ("2.25s", 2250),
            ("100ms", 100),
            ("1min", 60_000),
        ] {
            assert_eq!(interval(text).unwrap(), Duration::from_millis(ms), "{text}");
        }
        for (text, what) in [
            ("0", "out of range: \"0s\"; allowed: 100 to 3600000 ms"),
            ("-1", "not a number: \"-1s\""),
            ("soon", "not a number: \"soon\""),
            ("3m", "unknown unit: \"3m\""),
            ("", "not a number: \"\""),
        ] {
            let error = interval(text).unwrap_err();
            assert_eq!(error.exit_status(), 1);
            assert!(error.to_string().contains(what), "{error}");
        }
    }
}
