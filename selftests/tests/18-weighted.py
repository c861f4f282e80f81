# SPDX-License-Identifier: GPL-2.0
"""The paper's scheduler, Algorithm 1, uses unequal links: what they carry alone, together."""

from lib import Link, case
from lib.contest import TCP, UDP, Arena, mpip
from lib.net import two_hosts
from lib.rows import iperf3

RATES = (40, 20)  # Mbit/s
# From 500 to 667 of 1000 weights take 17 steps of 100 ms, and TCP has a slow start: that is not counted.
SKIPPED, SECONDS = 2, 4


def goodput(t, arena, contender):
    """What iperf3's receiver gets, Mbit/s."""
    with arena.playing(contender) as way:
        result = iperf3(SECONDS, RATES, ("-O", SKIPPED))(arena, way, contender)
    t.note(f"{contender.name}: {result}")
    return result["goodput"]


def declare(name, alone, goal, udp):
    """One protocol; the links alone are measured in the same case."""

    @case(f"{name} by weight over 40 and 20 Mbit/s: {goal:.0%} of both links alone together", timeout=120)
    def goals(t):
        arena = Arena(two_hosts([Link(rate=f"{rate}mbit", delay="1ms") for rate in RATES]))
        t.defer(arena.close)
        single = sum(goodput(t, arena, contender) for contender in alone)
        both = goodput(t, arena, mpip(f"{name}, MPIP", "weighted", "auto", udp=udp))
        t.reaches(both / single, goal, "part of the sum")


declare("TCP", TCP, 0.90, False)
declare("UDP", UDP, 0.95, True)
