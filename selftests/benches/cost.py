# SPDX-License-Identifier: GPL-2.0
"""Instructions per packet, in a VM whose clock counts them.

The processor is emulated and its clock advances by one nanosecond with every
instruction, so a time is a count. One CPU, and it never idles while it counts: a datagram
that is sent passes through the sender, the cable and the receiver before the next one.

  sent      to a device that throws everything away: what one host does to send
  received  from another host, less what that one does to send: what one host does to receive
  both      from application to application: both hosts

The first two are for a host that speaks to peers without MPIP.
"""

import contextlib
import threading
import time
from dataclasses import dataclass

from benches.stage import Stage
from lib.mpip import active
from lib.net import wait_for
from lib.rows import Row
from tools import fetch
from tools.burst import one_flow, sink

PORT = 7001


@dataclass(frozen=True)
class State:
    """What the hosts run.

    on: who has MPIP enabled, by index; paths: between two that have; rule: of nftables, before routing, on A
    """

    name: str
    load: bool = True
    on: tuple = ()
    paths: int = 0
    rule: str = ""


WITHOUT = State("without the module", load=False)
ALONE = [WITHOUT, State("loaded, off", on=()), State("on, peer without MPIP", on=(0,))]
# What the first hook costs, whatever it does; and a host that has some already.
TRACKED = "ct state established accept"
HOOKED = [
    State("without the module, counter", load=False, rule="counter"),
    State("without the module, conntrack", load=False, rule=TRACKED),
    State("on, peer without MPIP, conntrack", on=(0,), rule=TRACKED),
]
TOGETHER = [WITHOUT, State("MPIP, 1 path", on=(0, 1), paths=1), State("MPIP, 2 paths", on=(0, 1), paths=2)]


def per_packet(burst, count, times=5):
    """Instructions for one datagram, the median of a few bursts."""
    burst.send(200)
    took = []
    for _ in range(times):
        start = time.monotonic_ns()
        sent = burst.send(count)
        took.append((time.monotonic_ns() - start) / sent)
    return sorted(took)[times // 2]


class Devices(Stage):
    """Two hosts with a dummy device each, and the module."""

    def __init__(self):
        super().__init__(2)
        for n, host in enumerate(self.hosts, 1):
            host.ip(
                [
                    "link add dummy0 type dummy",
                    "link set dummy0 up",
                    f"addr add 10.7.{n}.1/24 dev dummy0",
                    f"neigh add 10.7.{n}.2 lladdr 02:00:00:00:00:02 dev dummy0 nud permanent",
                ]
            )
            self.sinks.append(sink(host, "0.0.0.0", PORT))

    @contextlib.contextmanager
    def state(self, state):
        """Load and enable what the state says."""
        if state.load:
            self.module.load(enabled=0)
        if state.rule:
            chain = "chain inet t c { type filter hook prerouting priority -150; }"
            self.a.run("nft", f"add table inet t; add {chain}; add rule inet t c {state.rule}")
        try:
            for index in state.on:
                host = self.hosts[index]
                self.module.enable(host)
                # Who does not answer is not asked for long.
                self.module.set(host, query_threshold=1, query_retry="10ms")
                if state.paths:
                    self.module.set(host, max_lanes=state.paths, encap="none")
            yield
        finally:
            if state.rule:
                self.a.run("nft", "delete table inet t")
            if state.load:
                self.module.unload()

    def cost(self, host, far, count, ready=None):
        """Instructions per datagram that a host sends, to the other host or to its dummy device."""
        n = self.hosts.index(host)
        if far:
            local, remote = host.addr[0], self.hosts[1 - n].addr[0]
        else:
            local, remote = f"10.7.{n + 1}.1", f"10.7.{n + 1}.2"
        burst = one_flow(host, (local, 6000), (remote, PORT))
        try:
            # A host that is asked needs time not to answer.
            for _ in range(5):
                burst.send(20)
                time.sleep(0.05)
            if ready:
                wait_for(lambda: burst.send(20) and ready(), 20, "the session to use its paths", 0.1)
            return per_packet(burst, count)
        finally:
            burst.close()

    def spread(self, paths):
        """Whether the UDP session is there at both ends with so many paths."""
        views = [self.module.sessions(host, protocol=17) for host in self.hosts]
        return all(any(len(active(s)) >= paths for s in view) for view in views)

    def bulk(self, size):
        """Instructions per MiB of a TCP transfer from A to B, the median of many: bursts are never the same."""
        times = 15
        server = fetch.serve(self.b)
        try:

            def connect():
                sock = self.a.socket()
                sock.connect((self.b.addr[0], fetch.PORT))
                return sock

            fetch.fetch(connect, 0, 1 << 20)
            took = sorted(fetch.fetch(connect, 0, size) for _ in range(times))
            return took[times // 2] * 1e9 / (size >> 20)
        finally:
            server.kill()
            server.wait()


def instructions(args):
    """To peers without MPIP, and with it."""
    count = 2000 if args.quick else 20000
    size = (4 if args.quick else 32) << 20

    @contextlib.contextmanager
    def opened():
        stage = Devices()
        try:

            def one(state):
                with stage.state(state):
                    if state.paths:
                        ready = lambda: stage.spread(state.paths)  # noqa: E731
                        result = {"UDP, both": stage.cost(stage.a, True, count, ready)}
                    else:
                        result = {"UDP, both": stage.cost(stage.a, True, count)}
                        result["UDP, sent"] = stage.cost(stage.a, False, count)
                        there = stage.cost(stage.b, True, count)
                        result["UDP, received"] = there - stage.cost(stage.b, False, count)
                    result["TCP, per MiB"] = stage.bulk(size)
                    return result

            yield one
        finally:
            stage.close()

    assert threading.active_count() == 1
    states = [*ALONE, *HOOKED, *TOGETHER[1:]]
    return [Row("instructions per packet", states, opened, 20)]
