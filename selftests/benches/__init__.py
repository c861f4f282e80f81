# SPDX-License-Identifier: GPL-2.0
"""The parts of `make bench`."""

# What runs where; within a machine in this order. Where instructions are counted nothing else that the
# machine does makes a difference, so that these may run at once: what takes longest comes first.
WHERE = {
    "counted": (
        "goodput",
        "fair",
        "fct",
        "simult",
        "crowd",
        "loss",
        "instructions",
        "stacks",
        "latency",
        "counted",
    ),
    "vm": ("offload",),
    "uml": ("cpu", "scale"),
}
PARTS = [part for parts in WHERE.values() for part in parts]
