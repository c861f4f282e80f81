# SPDX-License-Identifier: GPL-2.0
"""Harness of the MPIP selftests: what a test file needs, under one name.

A test file holds functions marked with @case; `selftests/run` calls each of
them with a fresh World (lib/world.py) and prints TAP.
"""

from .mpip import active
from .net import Link, NetemError, wait_for
from .world import RX_BYTES, RX_PACKETS, TX_BYTES, TX_PACKETS, Failure, Unsteady, World, case, gather

__all__ = [
    "RX_BYTES",
    "RX_PACKETS",
    "TX_BYTES",
    "TX_PACKETS",
    "Failure",
    "Link",
    "NetemError",
    "Unsteady",
    "World",
    "active",
    "case",
    "gather",
    "wait_for",
]
