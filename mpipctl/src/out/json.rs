// SPDX-License-Identifier: GPL-2.0

//! JSON, on one line or pretty.

use std::io;
use std::io::Write;

use serde::Serialize;
use serde::Serializer;

/// Writes `value` and a newline.
pub fn write(out: &mut dyn Write, value: &impl Serialize, pretty: bool) -> io::Result<()> {
    if pretty {
        serde_json::to_writer_pretty(&mut *out, value)?;
    } else {
        serde_json::to_writer(&mut *out, value)?;
    }
    out.write_all(b"\n")
}

/// Names and values as one object, in their order.
#[derive(Clone, Debug)]
pub struct Object<I>(pub I);

impl<I, K, V> Serialize for Object<I>
where
    I: Iterator<Item = (K, V)> + Clone,
    K: Serialize,
    V: Serialize,
{
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.clone())
    }
}
