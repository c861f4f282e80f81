# SPDX-License-Identifier: GPL-2.0
"""Goodput over two shaped links, in the VM: pairs of rates and delays, every stack there is, random loss,
and what is left to a plain TCP connection on one of the links."""

from dataclasses import replace

from lib import contest
from lib.net import routed
from lib.rows import arena_row, beside, iperf3, link

# Rate in Mbit/s, one-way delay in ms.
PAIRS = [
    ((40, 0), (40, 0)),
    ((40, 10), (40, 0)),
    ((40, 10), (40, 2)),
    ((20, 0), (40, 0)),
    ((40, 0), (20, 0)),
    ((100, 0), (100, 0)),
    ((40, 5), (20, 50)),
]
LOSSES = (0.1, 1, 3)  # percent, of the second of two links of 40 Mbit/s and 10 ms
USUAL = [*contest.TCP, contest.MPTCP[1], *contest.MPIP]
USUAL_UDP = [*contest.UDP, *contest.UDP_MPIP]


def title(*links):
    """A pair of links in words."""
    return " + ".join(
        f"{rate}/{delay or 0}" + (f" {loss[0]:g} % loss" if loss else "") for rate, delay, *loss in links
    )


def row(links, contenders, seconds):
    """iperf3 over two such links."""
    measure = iperf3(seconds, [each[0] for each in links])
    cables = [link(*each) for each in links]
    return arena_row(title(*links), contenders, cables, measure, seconds + 5, links=links)


def goodput(args):
    """TCP and UDP over the pairs of links that the peers were measured on."""
    return [row(pair, [*USUAL, *USUAL_UDP], args.seconds) for pair in PAIRS]


def stacks(args):
    """Every stack, with one path and with two, plain and wrapped."""
    return [row(((40, 2), (40, 2)), contest.ALL, args.seconds)]


def loss(args):
    """Random loss on the second of two links."""
    return [row(((40, 10), (40, 10, percent)), USUAL, args.seconds) for percent in LOSSES]


def fair(args):
    """A plain TCP connection over the second link, beside another one there, or beside two links together; and
    over the only link of a host whose peer has two ways to it.

    No bursts, as on a wire: a queue that counts one of 64 KB as one packet has no end for who sends such, and
    plain TCP, which sends shorter ones, would have to share a queue of half a second.
    """
    contenders = [replace(contest.TCP[1], path=-1), contest.MPTCP[1], *contest.MPIP]
    # CUBIC takes that long to find its share: in ten seconds one of two equals has twice what the other has.
    seconds = 4 * args.seconds
    wire = {"offload": False, "burst": 1}
    first = link(40, 10, **wire)

    def one(name, cables, **more):
        return arena_row(name, contenders, cables, beside(seconds), seconds + 6, **more)

    def one_link(cables):
        return routed([link(**wire)] * 2, cables)

    return [
        one(title((40, 10), (40, 10)), [first, link(40, 10, **wire)]),
        one(title((40, 10), (40, 10, 1)), [first, link(40, 10, 1, **wire)]),
        one("40/10 for both paths", [first], hosts=one_link),
    ]
