# SPDX-License-Identifier: GPL-2.0
"""Rows of `make bench`: one situation, in which several contenders are measured one after the other."""

import contextlib
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

from .contest import Arena, Way
from .net import Link, NetemError, two_hosts, wait_for

# Below the MTU with room for a CM.
DATAGRAM = 1400
# Ports of iperf3: of what is measured, and of the connection beside it.
IPERF, BESIDE = 5201, 5202


@dataclass
class Row:
    """One situation.

    contenders  who is measured, in this order; each has a name
    open        a context manager that yields a function: contender -> dictionary of figures
    estimate    seconds for one contender, to tell how long it is going to take
    about       what the report needs to know of it
    turns       rounds of all contenders in a repetition
    """

    name: str
    contenders: list
    open: Callable
    estimate: float
    about: dict = field(default_factory=dict)
    turns: int = 1


def link(rate=0, delay=0, loss=0, **more):
    """A cable of so many Mbit/s and ms one way, with so many percent of loss each way."""
    return Link(
        rate=f"{rate}mbit" if rate else "",
        delay=f"{delay}ms" if delay else "",
        netem=f"loss {loss}%" if loss else "",
        **more,
    )


def arena_row(name, contenders, cables, measure, estimate, hosts=two_hosts, **about):
    """A row between two hosts with such cables, from which `hosts` makes them; `measure` gets arena, way and
    contender.
    """

    @contextlib.contextmanager
    def opened():
        arena = Arena(hosts(cables))
        try:

            def one(contender):
                with arena.playing(contender) as way:
                    return measure(arena, way, contender)

            yield one
        finally:
            arena.close()

    return Row(name, contenders, opened, estimate, about)


def iperf3(seconds, rates=(), options=()):
    """A `measure` that runs iperf3 from A to B for so long; `rates` are those of the links in Mbit/s.

    UDP, which has next to no beginning, half as long: where each packet is emulated it takes longest.
    """

    def measure(arena, way, contender):
        more, length = list(options), seconds
        if contender.udp:
            length = max(2, seconds // 2)
            both = contender.stack == "mpip" and contender.paths > 1
            rate = sum(rates) if both else rates[contender.path]
            more += ["-u", "-l", DATAGRAM, "-b", f"{rate}M" if rate else "0"]
        return run_iperf3(arena, way, length, more)

    return measure


@contextlib.contextmanager
def iperf3_server(host, prefix, port):
    """An iperf3 that listens, for one client.

    One for several closes its socket after each and opens another; who connects in between is reset.
    """
    server = host.spawn(*prefix, "iperf3", "-s", "-1", "-p", port)
    try:
        wait_for(lambda: f":{port} " in host.run("ss", "-Hltn").stdout, 30, "iperf3 to listen", 0.1)
        yield
    finally:
        server.kill()
        server.wait()


def run_iperf3(arena, way, seconds, options=()):
    """One run with a server of its own; see `iperf3_client`."""
    with iperf3_server(arena.b, way.prefix, IPERF):
        return iperf3_client(arena, way, seconds, options, IPERF)


def iperf3_client(arena, way, seconds, options, port):
    """One run: goodput at the receiver and what each link carried in Mbit/s, what TCP sent again."""
    a, b = arena.a, arena.b
    argv = [*way.prefix, "iperf3", "-J", "-c", way.address, "-p", port, "-t", seconds, *options]
    before, resent = b.counters(), a.snmp("RetransSegs")
    done = a.run(*argv, check=False, timeout=seconds + 40)
    try:
        report = json.loads(done.stdout)
    except ValueError:
        report = {"error": done.stdout + done.stderr}
    if done.returncode and "error" not in report:
        report["error"] = done.stderr
    after = b.counters()
    if "error" in report:
        raise NetemError(f"iperf3: {report['error']}")
    received = report["end"].get("sum_received") or report["end"]["sum"]
    took = received.get("seconds") or seconds
    result = {
        "goodput": received["bits_per_second"] / 1e6,
        "links": [(after[dev][0] - before[dev][0]) * 8e-6 / took for dev in b.dev],
        "retransmitted": a.snmp("RetransSegs") - resent,
    }
    if "lost_percent" in received:
        result["lost_percent"] = received["lost_percent"]
    return result


def beside(seconds):
    """A `measure` of what a plain TCP connection over the second link, or the only one, has beside the contender.

    `share` is that, and beside another plain TCP connection what the two have on average.
    """

    def measure(arena, way, contender):
        if contender.stack == "mpip":
            for host, port in ((arena.a, "port"), (arena.b, "sport")):
                arena.module.ctl(host, "rule", "add", port, BESIDE, "mode", "never")
        plain = Way(arena, arena.b.addr[-1])
        run = partial(iperf3_client, arena, seconds=seconds, options=())
        # Both servers before either client; and whatever fails, both clients have ended before the servers do.
        with (
            iperf3_server(arena.b, way.prefix, IPERF),
            iperf3_server(arena.b, plain.prefix, BESIDE),
            ThreadPoolExecutor(1) as pool,
        ):
            other = pool.submit(run, plain, port=BESIDE)
            results = {"goodput": run(way, port=IPERF)["goodput"], "beside": other.result()["goodput"]}
        # Of two equals one may have twice what the other has, by chance: each counts as either.
        equal = contender.stack == "tcp"
        results["share"] = sum(results.values()) / 2 if equal else results["beside"]
        return results

    return measure
