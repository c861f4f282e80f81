// SPDX-License-Identifier: GPL-2.0

//! Text for people, JSON for programs.

pub mod color;
pub mod json;
pub mod prometheus;
pub mod text;
