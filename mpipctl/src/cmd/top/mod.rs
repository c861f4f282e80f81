// SPDX-License-Identifier: GPL-2.0

//! `top`: paths and sessions as they are now, again and again.

#[cfg(test)]
mod fixture;
mod reader;
mod report;
mod state;
mod text;
mod view;

use std::thread;
use std::time::Duration;

use self::reader::Looker;
use self::reader::Reader;
use self::state::Step;
use self::state::Top;
use self::view::Theme;
use super::value;
use super::Context;
use crate::cli;
use crate::nl::Choices;
use crate::nl::Param;
use crate::screen::Screen;
use crate::screen::Wake;
use crate::system::System;
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
    top.node = Some(context.client()?.status()?);
    let theme = Theme(context.color());
    let system = context.system;
    let looker = Looker::new(system, context.client.take());
    thread::scope(|scope| {
        // In this order, so that no signal for the screen goes to the thread.
        let mut screen = system.screen()?;
        let mut reader = Reader::start(scope, looker)?;
        show(system, &mut top, theme, screen.as_mut(), &mut reader)
    })
}

/// When to look at the kernel.
enum Next {
    /// A look that was begun then is on its way.
    Coming(Duration),
    /// Then.
    At(Duration),
}

/// Draws until somebody has seen enough.
fn show(
    system: &dyn System,
    top: &mut Top,
    theme: Theme,
    screen: &mut dyn Screen,
    reader: &mut Reader,
) -> Result<(), Error> {
    let mut next = Next::At(system.clock());
    loop {
        top.now = system.clock();
        match next {
            Next::At(time) if time <= top.now && !top.paused => {
                reader.request()?;
                next = Next::Coming(top.now);
            }
            _ => {}
        }
        screen.draw(&mut |frame| view::draw(frame, top, theme))?;
        let until = match next {
            _ if top.paused => None,
            Next::Coming(_) => top.ages(),
            Next::At(time) => Some(top.ages().map_or(time, |ages| time.min(ages))),
        };
        let left = until.map(|until| until.saturating_sub(system.clock()));
        match screen.wait(left, reader.ready())? {
            Wake::Ready => {
                let look = reader.take()?;
                if let Next::Coming(began) = next {
                    next = Next::At(after(began, system.clock(), top.interval));
                }
                if !top.paused {
                    top.take(look);
                }
            }
            Wake::Key(key) => match top.press(key) {
                Step::Stay => {}
                Step::Suspend => screen.suspend()?,
                Step::Quit => return Ok(()),
            },
            Wake::Time | Wake::Redraw => {}
            Wake::Stop => screen.suspend()?,
            Wake::End => return Ok(()),
        }
    }
}

/// A look at very many sessions keeps a processor busy: as much time is left for everybody else.
fn after(began: Duration, now: Duration, interval: Duration) -> Duration {
    (began + interval).max(now + now.saturating_sub(began))
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
