# SPDX-License-Identifier: GPL-2.0
"""How long transfers of a given size take, and questions and answers; in the VM.

fct      from connecting to the last byte, 10 KB to 10 MB
simult   the cases of the kernel's selftest net/mptcp/simult_flows.sh
latency  a byte there and back, like netperf's TCP_RR
"""

import contextlib
import statistics

from lib import contest
from lib.contest import Arena
from lib.net import Link, routed
from lib.rows import Row, arena_row, link
from tools import fetch

SIZES = {"10 KB": 10_000, "100 KB": 100_000, "1 MB": 1_000_000, "10 MB": 10_000_000}
TWO_PATHS = [contest.MPTCP[1], *contest.MPIP]
BEST = [contest.TCP[0]]
LARGE, SMALL = 16 << 20, 80 << 10
# Two links, Mbit/s and ms each way, and their queues in packets.
CASES = [
    ((10, 0, 20), (10, 0, 20)),
    ((10, 1, 20), (10, 25, 50)),
    ((10, 0, 30), (3, 0, 20)),
    ((10, 1, 40), (3, 25, 30)),
    ((10, 25, 50), (3, 1, 30)),
]


def fct(args):
    """Flow completion times. The first path is never worse than the second."""
    counts = (10, 10, 5, 2) if not args.quick else (3, 2, 1, 1)

    def measure(_arena, way, _contender):
        result = {}
        for (name, size), count in zip(SIZES.items(), counts):
            took = [fetch.fetch(way.connect, size) for _ in range(count)]
            result[name] = statistics.median(took) * 1e3
        return result

    return [
        arena_row(
            f"{one[0]}/{one[1]} + {two[0]}/{two[1]}",
            [*BEST, *TWO_PATHS],
            [link(*one), link(*two)],
            measure,
            12,
            links=[one, two],
        )
        for one, two in (((40, 5), (40, 5)), ((40, 5), (20, 50)))
    ]


def simult(args):
    """16 MiB one way and 80 KiB back at the same time, against the selftest's limit."""
    rows = []
    for number, case in enumerate(CASES[:1] if args.quick else CASES, 1):
        for name, up, down in (("there", SMALL, LARGE), ("back", LARGE, SMALL)):
            rows.append(simult_row(number, name, case, up, down))
    return rows


def simult_row(number, name, case, up, down):
    """One case in one direction: A has two addresses, B one behind a router."""
    rates = [rate for rate, _, _ in case]
    limit = 1000 * LARGE * 8 * 10 // (sum(rates) * 1_000_000 * 9) + 450

    @contextlib.contextmanager
    def opened():
        hosts = a, b, router = routed([Link()] * 2, [Link()])
        arena = Arena(hosts)
        try:
            for host, devices in ((a, a.dev), (b, b.dev), (router, ["ra1", "ra2", "rb1"])):
                host.ip([f"link set {dev} gso_max_segs 0" for dev in devices])
            for n, (rate, delay, queue) in enumerate(case, 1):
                way = (
                    f"root netem rate {rate}mbit" + (f" delay {delay}ms" if delay else "") + f" limit {queue}"
                )
                a.tc([f"qdisc replace dev a{n} {way}"])
                router.tc([f"qdisc replace dev ra{n} {way}"])

            def one(contender):
                with arena.playing(contender) as way:
                    took = fetch.fetch(way.connect, down, up) * 1e3
                    return {"time": took, "within": took <= limit}

            yield one
        finally:
            arena.close()

    what = " + ".join(f"{rate}/{delay}" for rate, delay, _ in case)
    contenders = [contest.MPTCP[1], contest.MPIP_DEFAULT]
    return Row(f"{number}: {what}, {name}", contenders, opened, limit / 1e3 + 4, {"limit": limit})


def latency(args):
    """Questions of one byte, one at a time."""

    def measure(_arena, way, _contender):
        with way.connect() as sock:
            fetch.echo(sock)
            fetch.ping(sock, 20)
            took = sorted(fetch.ping(sock, count))
        return {f"p{p}": took[min(count - 1, count * p // 100)] * 1e3 for p in (50, 99)}

    count = 50 if args.quick else 300
    contenders = [
        *BEST,
        *contest.MPTCP,
        contest.MPIP_ONE,
        *contest.MPIP,
        *contest.MPIP_IN_UDP,
        contest.WIREGUARD,
    ]
    rows = []
    for name, links in (
        ("no delay", [(0, 0), (0, 0)]),
        ("40/5 + 40/5", [(40, 5), (40, 5)]),
        ("40/5 + 20/50", [(40, 5), (20, 50)]),
    ):
        cables = [link(*each) for each in links]
        rows.append(arena_row(name, contenders, cables, measure, 5, links=links))
    return rows
