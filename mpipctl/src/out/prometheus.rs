// SPDX-License-Identifier: GPL-2.0

//! The text format of Prometheus.

use std::fmt::Display;
use std::io;
use std::io::Write;

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, until it starts anew.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// Metrics in the order in which they were first added; the samples of each are kept together.
#[derive(Clone, Debug)]
pub struct Metrics {
    prefix: String,
    labels: String,
    metrics: Vec<Metric>,
}

#[derive(Clone, Debug)]
struct Metric {
    kind: Kind,
    name: String,
    help: String,
    samples: Vec<String>,
}

impl Metrics {
    /// No metrics so far; the names of all begin with `prefix`, and all samples have `labels`.
    pub fn new(prefix: &str, labels: &[(&str, &str)]) -> Self {
        Self {
            prefix: prefix.to_string(),
            labels: join(labels),
            metrics: Vec::new(),
        }
    }

    /// Adds a sample.
    pub fn add(
        &mut self,
        kind: Kind,
        name: &str,
        help: &str,
        labels: &[(&str, &str)],
        value: impl Display,
    ) {
        let name = name_of(&format!("{}_{name}", self.prefix));
        let own = join(labels);
        let comma = if self.labels.is_empty() || own.is_empty() {
            ""
        } else {
            ","
        };
        let sample = format!("{name}{{{}{comma}{own}}} {value}", self.labels);
        match self.metrics.iter_mut().find(|metric| metric.name == name) {
            Some(metric) => metric.samples.push(sample),
            None => self.metrics.push(Metric {
                kind,
                name,
                help: escape(help, false),
                samples: vec![sample],
            }),
        }
    }

    /// Writes them all.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        for Metric {
            kind,
            name,
            help,
            samples,
        } in &self.metrics
        {
            let kind = match kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
            };
            writeln!(out, "# HELP {name} {help}")?;
            writeln!(out, "# TYPE {name} {kind}")?;
            for sample in samples {
                writeln!(out, "{sample}")?;
            }
        }
        Ok(())
    }
}

/// The names of metrics have letters, digits and underscores only.
fn name_of(text: &str) -> String {
    let mut name = text.to_string();
    name.retain(|c| c.is_ascii());
    name.replace(|c: char| !c.is_ascii_alphanumeric(), "_")
}

fn join(labels: &[(&str, &str)]) -> String {
    let labels = labels
        .iter()
        .map(|(name, value)| format!("{name}=\"{}\"", escape(value, true)));
    labels.collect::<Vec<_>>().join(",")
}

/// A help text has its backslashes and line feeds escaped, a label its quotes as well.
fn escape(text: &str, is_label: bool) -> String {
    let text = text.replace('\\', r"\\").replace('\n', r"\n");
    if is_label {
        text.replace('"', "\\\"")
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(metrics: &Metrics) -> String {
        let mut out = Vec::new();
        metrics.write(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn samples_stand_together() {
        let mut metrics = Metrics::new("a", &[("netns", "init")]);
        metrics.add(Kind::Gauge, "b", "First.", &[("x", "1")], 1);
        metrics.add(Kind::Counter, "c-d_total", "Second.", &[], u64::MAX);
        metrics.add(Kind::Gauge, "b", "First.", &[("x", "2")], 0.25);
        assert_eq!(
            written(&metrics),
            "# HELP a_b First.\n# TYPE a_b gauge\n\
             a_b{netns=\"init\",x=\"1\"} 1\na_b{netns=\"init\",x=\"2\"} 0.25\n\
             # HELP a_c_d_total Second.\n# TYPE a_c_d_total counter\n\
             a_c_d_total{netns=\"init\"} 18446744073709551615\n"
        );
    }

    #[test]
    fn what_would_end_a_text_is_escaped() {
        let mut metrics = Metrics::new("a", &[]);
        let label = "q\"b\\n\nz";
        metrics.add(
            Kind::Gauge,
            "b c\u{e9}/d",
            "Help \\ \n \"x\".",
            &[("l", label)],
            1,
        );
        assert_eq!(
            written(&metrics),
            "# HELP a_b_c_d Help \\\\ \\n \"x\".\n# TYPE a_b_c_d gauge\n\
             a_b_c_d{l=\"q\\\"b\\\\n\\nz\"} 1\n"
        );
    }
}
