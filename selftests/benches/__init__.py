# SPDX-License-Identifier: GPL-2.0
"""The parts of `make bench`."""

# What runs where; within a machine in this order.
WHERE = {
    "vm": ("goodput", "stacks", "loss", "fair", "simult", "fct", "latency", "offload"),
    "uml": ("cpu", "scale"),
    "icount": ("counted", "instructions", "crowd"),
}
PARTS = [part for parts in WHERE.values() for part in parts]
