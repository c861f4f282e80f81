// SPDX-License-Identifier: GPL-2.0

//! Raw bindings of `sys/shims.h`, for the wrappers in `sys/` alone.

#![allow(
    clippy::all,
    dead_code,
    missing_docs,
    non_camel_case_types,
    non_upper_case_globals,
    non_snake_case,
    unreachable_pub,
    unsafe_op_in_unsafe_fn
)]

use kernel::ffi;

type __kernel_size_t = usize;
type __kernel_ssize_t = isize;
type __kernel_ptrdiff_t = isize;

include!(concat!(env!("MPIP_OBJ"), "/sys/bindings_generated.rs"));
