// SPDX-License-Identifier: GPL-2.0

//! `-b FILE`: commands from a file.

use clap::error::ErrorKind;
use clap::Parser;

use super::Context;
use crate::cli::Cli;
use crate::Error;

/// A line that was understood.
struct Line {
    place: String,
    cli: Cli,
}

/// Runs the commands in `file`. All lines are understood before the first one is run, so that a
/// mistake in one of them changes nothing.
pub fn run(context: &mut Context<'_>, file: &str) -> Result<(), Error> {
    let text = context.system.read(file);
    let text = text.map_err(|why| Error::Usage(format!("-b: cannot read \"{file}\": {why}")))?;
    let name = if file == "-" { "standard input" } else { file };
    let common = context.options.clone();
    for Line { place, cli } in parse(name, &text)? {
        context.options = common.and(&cli.options);
        let done = super::run(cli.object, context).map_err(|error| Error::Line {
            place,
            error: Box::new(error),
        });
        // Whoever reads along sees what was done before a line that takes long, or fails.
        context.out.flush()?;
        done?;
    }
    context.options = common;
    Ok(())
}

fn parse(name: &str, text: &str) -> Result<Vec<Line>, Error> {
    let mut lines = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let place = format!("{name}:{number}");
        match understand(line) {
            Ok(Some(cli)) => lines.push(Line { place, cli }),
            Ok(None) => {}
            Err(why) => {
                let error = Box::new(Error::Usage(why));
                return Err(Error::Line { place, error });
            }
        }
    }
    Ok(lines)
}

/// The command of a line, if there is one.
fn understand(line: &str) -> Result<Option<Cli>, String> {
    let words = words(line)?;
    if words.is_empty() {
        return Ok(None);
    }
    let cli = Cli::try_parse_from([vec!["mpipctl".to_string()], words].concat());
    let cli = cli.map_err(|error| complaint(&error))?;
    for (option, is_given) in [
        ("-b", cli.batch.is_some()),
        ("-n", cli.options.netns.is_some()),
    ] {
        if is_given {
            return Err(format!(
                "{option}: not in a line of a batch; give it before -b on the command line"
            ));
        }
    }
    Ok(Some(cli))
}

/// What is wrong, without the help that follows it.
fn complaint(error: &clap::Error) -> String {
    if let ErrorKind::DisplayHelp | ErrorKind::DisplayVersion = error.kind() {
        return "help and version are not for a batch".to_string();
    }
    let text = error.to_string();
    let text = text.split("\n\nUsage:").next().unwrap_or_default();
    text.trim_start_matches("error: ").trim_end().to_string()
}

/// The words of a line up to a comment. Quotes keep blanks and # in a word, a backslash keeps the
/// character that follows it.
fn words(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (c, quote) {
            (c, Some(q)) if c == q => quote = None,
            ('\\', None | Some('"')) => {
                let next = chars.next().ok_or("nothing follows the backslash")?;
                word.get_or_insert_default().push(next);
            }
            (c, Some(_)) => word.get_or_insert_default().push(c),
            ('"' | '\'', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            ('#', None) if word.is_none() => break,
            (c, None) if c.is_whitespace() => words.extend(word.take()),
            (c, None) => word.get_or_insert_default().push(c),
        }
    }
    if let Some(quote) = quote {
        return Err(format!("no end of the quote: {quote}"));
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_words() {
        for (line, expected) in [
            ("", &[][..]),
            ("  # only a remark", &[]),
            (
                "param set  ask every # why",
                &["param", "set", "ask", "every"],
            ),
            ("a#b 'c d' \"e # f\"", &["a#b", "c d", "e # f"]),
            (r#"a\ b "c\"d" '\'"#, &["a b", "c\"d", "\\"]),
            ("'' x", &["", "x"]),
        ] {
            assert_eq!(words(line).unwrap(), expected, "{line}");
        }
        assert!(words("a 'b").is_err());
        assert!(words("a\\").is_err());
    }

    #[test]
    fn lines_that_do_not_belong() {
        for (line, why) in [
            ("path -n blue", "-n: not in a line of a batch"),
            ("-b other", "-b: not in a line of a batch"),
            ("--help", "help and version"),
            ("pth", "unrecognized subcommand 'pth'"),
        ] {
            let said = understand(line).unwrap_err();
            assert!(said.starts_with(why), "{line}: {said}");
        }
    }
}
