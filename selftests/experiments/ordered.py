# SPDX-License-Identifier: GPL-2.0
"""Figures 6 to 8 of the paper on a multi-link proxy: datagrams over unlike paths, in order."""

import time

from lib import svg
from lib.net import Link

from .lab import Result, lab, late, percent, quantile, span, usual, windows

# Name, rates in Mbit/s, one-way delays in ms, the figure of the paper.
CASES = (
    ("8:2 Mbit/s", (8, 2), (5, 5), 6),
    ("5:5 Mbit/s, 10:100 ms", (5, 5), (10, 100), 7),
    ("8:2 Mbit/s, 10:100 ms", (8, 2), (10, 100), 8),
)
# 94 % of what both links carry.
LOAD = {"rate": 820, "size": 1400}
IN_ORDER, KEPT = 0.999, 0.97
HEAD = ["", "throughput, Mbit/s", "in order, Mbit/s", "in order", "lost", "median delay, ms", "p99, ms"]


def measure(stream, seconds):
    """What an application gets that can use a datagram only if none behind it has come before."""
    start, end = span(seconds)
    time.sleep(0.5)
    came = list(zip(stream.came.whats(), stream.came.times()))
    flags = list(zip(came, late([number for number, _ in came])))
    flags = [(when, is_late) for (_, when), is_late in flags if start <= when < end]
    if not flags:
        raise TimeoutError("nothing has come")
    bits, step = LOAD["size"] * 8e-6, 0.1
    good = [0.0] * max(1, int((end - start) / step))
    for when, is_late in flags:
        at = int((when - start) / step)
        if not is_late and at < len(good):
            good[at] += bits / step
    fifths = []
    for one, other in windows(start, end):
        some = [is_late for when, is_late in flags if one <= when < other]
        fine = len(some) - sum(some)
        rate = bits / (other - one)
        fifths.append((len(some) * rate, fine * rate, fine / max(1, len(some))))
    throughput, in_order, part = (quantile(values, 0.5) for values in zip(*fifths))
    delays = stream.delays(start, end)
    return {
        "throughput": throughput,
        "in_order": in_order,
        "part": part,
        "lost": stream.lost(start, end),
        "median": usual(delays, start, end, 0.5),
        "p99": usual(delays, start, end, 0.99),
        "curve": [(step * (n + 0.5), rate) for n, rate in enumerate(good)],
    }


def row(name, found):
    """A line of the table."""
    return [
        name,
        f"{found['throughput']:.2f}",
        f"{found['in_order']:.2f}",
        percent(found["part"], 2),
        percent(found["lost"], 1),
        *(f"{found[what] * 1e3:.0f}" for what in ("median", "p99")),
    ]


def case(one, seconds, say):
    """One pair of links: the quick path alone, both, both in order."""
    found = {}
    # Other ports: what is left in the queues must not be taken for the next stream's.
    stream = one.media((6001, 6002), kernel=False, **LOAD)
    time.sleep(1)
    found["one path"] = measure(stream, seconds)
    one.end_flows()
    with one.mpip():
        stream = one.media((5001, 5002), kernel=False, **LOAD)
        one.both(5002, 17)
        time.sleep(3)
        found["both paths"] = measure(stream, seconds)
        before = one.module.stats(one.b)
        one.rules("port 5002 proto udp ordered on")
        time.sleep(2)
        found["both, ordered"] = measure(stream, seconds)
        after = one.module.stats(one.b)
        stream.stop()
        one.rules()
    counters = {name: after[name] - before[name] for name in after if name.startswith("reorder_")}
    say(f"  of what the receiver held: { ({k: v for k, v in counters.items() if v}) }")
    return found, counters


def run(say, args):
    """The experiment."""
    seconds = args.seconds or (5 if args.quick else 15)
    result = Result(
        "Datagrams in order over unlike paths (Figures 6 to 8 of the multi-link proxy)",
        f"A steady stream of {LOAD['rate']} datagrams a second of {LOAD['size']} bytes, 94 % of what both paths "
        "carry: over the first path alone, without MPIP; over both without a rule; over both with `mpipctl rule add "
        "port 5002 proto udp ordered on`. Delays are one-way, and as the application sees them. In order is what "
        "comes before everything that was sent after it. Figures but the losses are those of a fifth of the time, the "
        "median of five. The paper's delays are those of a round trip.",
    )
    for name, rates, delays, figure in CASES:
        say(name)
        links = [Link(rate=f"{rate}mbit", delay=f"{delay}ms") for rate, delay in zip(rates, delays)]
        with lab(links) as one:
            found, counters = case(one, seconds, say)
        rows = [row(what, figures) for what, figures in found.items()]
        result.tables.append((f"{name} (Figure {figure})", HEAD, rows))
        plain, ordered = found["both paths"], found["both, ordered"]
        part = ordered["part"]
        result.goal(f"{name}: at least {100 * IN_ORDER:g} % in order", percent(part, 2), part >= IN_ORDER)
        kept = ordered["throughput"] / plain["throughput"]
        result.goal(f"{name}: throughput within 3 % of unordered", percent(kept, 1), kept >= KEPT)
        before = percent(plain["part"], 2)
        say(f"  in order {before}, with the rule {percent(part, 2)}; throughput {percent(kept, 1)}")
        lines = [(what, figures["curve"]) for what, figures in found.items()]
        title, levels = f"In-order throughput, {name}", [("both links", sum(rates))]
        result.plot(
            f"ordered-{figure}.svg",
            f"{name}: what comes in order, per 100 ms",
            svg.chart(title, "time (s)", "Mbit/s per 100 ms", lines, levels),
        )
        result.data[name] = found | {"counters": counters}
    return result
