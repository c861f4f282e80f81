# SPDX-License-Identifier: GPL-2.0
"""One session and a hundred thousand: time and instructions per packet, memory per session.

Two hosts with one cable and several addresses each, all of which reach each other, so
that there are ports enough for a second lane of every session. Datagrams pass through
both hosts before the next is sent; what is timed is both together.
"""

import contextlib
import resource
import time
from dataclasses import dataclass

from benches.stage import Stage
from lib.rows import Row
from lib.vt import Terminal
from tools.burst import many_flows, sink

ADDRESSES = 6
FIRST, PORTS = 2048, 20000
SINK = 7001
# So many flows begin at once.
OPENED = 2000


@dataclass(frozen=True)
class Crowd:
    """So many flows, with MPIP or without."""

    name: str
    flows: int
    mpip: bool


def slab():
    """Bytes of kernel memory in use: slabs, percpu, page tables aside; vmalloc for large tables."""
    with open("/proc/meminfo", encoding="ascii") as file:
        info = {line.split(":")[0]: int(line.split()[1]) << 10 for line in file}
    return info["Slab"] + info["Percpu"] + info["VmallocUsed"]


class Addresses(Stage):
    """The hosts."""

    def __init__(self):
        super().__init__(1)
        for n, host in enumerate(self.hosts, 1):
            host.addr = [f"10.0.{i}.{n}" for i in range(1, ADDRESSES + 1)]
            host.ip([f"addr add {address}/24 dev {host.dev[0]}" for address in host.addr[1:]])
        # Datagrams are written by themselves, but a port without a socket is none of A's.
        resource.setrlimit(resource.RLIMIT_NOFILE, (PORTS + 1000, PORTS + 1000))
        self.sinks.append(sink(self.b, "0.0.0.0", SINK))
        self.sinks += [sink(self.a, "0.0.0.0", FIRST + port) for port in range(PORTS)]

    def flows(self, count):
        """Different flows, their ends spread over the addresses."""
        found = []
        for n in range(count):
            rest, port = divmod(n, PORTS)
            local, remote = self.a.addr[rest % ADDRESSES], self.b.addr[rest // ADDRESSES % ADDRESSES]
            found.append(((local, FIRST + port), (remote, SINK)))
        return found

    def sessions(self):
        """Sessions at both ends."""
        return [self.module.show(host, "status")["sessions"] for host in self.hosts]

    def populate(self, flows, patience):
        """Send until every flow is a session on two lanes, or nothing new comes.

        Returns seconds, sessions and lanes.
        """
        start = last = time.monotonic()
        most = 0, 0
        for first in range(0, len(flows), OPENED):
            some = flows[first : first + OPENED]
            burst = many_flows(self.a, some)
            try:
                while min(most) < first + len(some):
                    burst.send(len(some))
                    have = min(self.sessions()), self.module.stats(self.a)["lane_opened"]
                    now = time.monotonic()
                    if have > most:
                        most, last = have, now
                    elif now - last > 5 or now - start > patience:
                        return last - start, *most
                    time.sleep(0.01)
            finally:
                burst.close()
        return last - start, *most


def watched(host):
    """What a person at `mpipctl top` waits for, seconds: the first picture, another order of the sessions."""
    terminal = Terminal("mpipctl", "-n", host, "top")

    def until(shown, start):
        while not any(shown in line for line in terminal.look()):
            if time.monotonic() - start > 120:
                raise TimeoutError(f"{shown!r} is not on the screen: {terminal.look()}")
            time.sleep(0.005)
        return time.monotonic() - start

    try:
        result = {"top_seconds": until("SESSIONS 1-", time.monotonic())}
        start = time.monotonic()
        terminal.type("s")
        result["key_seconds"] = until("RX▼", start)
        terminal.type("q")
        terminal.wait()
        return result
    finally:
        terminal.close()


def nanoseconds(burst, packets, times):
    """Time per datagram: the best of a few bursts, which is the one that was not disturbed."""
    took = []
    for _ in range(times):
        start = time.perf_counter_ns()
        sent = burst.send(packets)
        took.append((time.perf_counter_ns() - start) / sent)
    return min(took)


def crowds(many):
    """One flow and many, without the module and with it."""
    return [
        Crowd("1 flow", 1, False),
        Crowd("1 session", 1, True),
        Crowd(f"{many:,} flows", many, False),
        Crowd(f"{many:,} sessions", many, True),
    ]


def opened(packets, times, more):
    """What yields the measurement of a crowd; `more` gets the stage and the crowd, and returns more figures."""

    @contextlib.contextmanager
    def play():
        stage = Addresses()
        try:

            def one(crowd):
                flows = stage.flows(crowd.flows)
                burst = many_flows(stage.a, flows)
                result = {}
                try:
                    burst.send(crowd.flows)
                    before = slab()
                    if crowd.mpip:
                        stage.module.load(enabled=0)
                        for host in stage.hosts:
                            stage.module.enable(host)
                            stage.module.set(host, max_lanes=2, encap="none")
                        empty = slab()
                        took, have, lanes = stage.populate(flows, 300)
                        result |= {"sessions": have, "lane_opened": lanes}
                        result["opened_per_second"] = have / max(took, 0.001)
                        # Both hosts are in the same kernel.
                        result["bytes_per_session"] = (slab() - empty) / max(1, have) / 2
                    burst.send(packets // 4)
                    result["nanoseconds"] = nanoseconds(burst, packets, times)
                    result |= more(stage, crowd)
                    result["left"] = slab() - before
                    return result
                finally:
                    burst.close()
                    if stage.module.loaded():
                        stage.module.unload()

            yield one
        finally:
            stage.close()

    return play


def scale(args):
    """One session and many, with the module and without: how long everything takes."""
    many = args.sessions or (2000 if args.quick else 100_000)
    packets = 20_000 if args.quick else 400_000

    def waited_for(stage, crowd):
        if not crowd.mpip or crowd.flows == 1:
            return {}
        start = time.monotonic()
        listed = stage.module.ctl(stage.a, "-o", "session").stdout.count("\n")
        result = {"dump_seconds": time.monotonic() - start, "dumped": listed}
        result |= watched(stage.a)
        start = time.monotonic()
        stage.module.unload()
        return result | {"unload_seconds": time.monotonic() - start}

    return [Row("sessions", crowds(many), opened(packets, 5, waited_for), 30, {"many": many})]


def crowd(args):
    """The same in a VM whose clock counts instructions: what a packet costs, whatever the caches hold."""
    many = args.sessions or (2000 if args.quick else 100_000)
    # Each flow has to have its turn.
    packets = max(many, 20_000)
    return [Row("sessions", crowds(many), opened(packets, 3, lambda *_: {}), 60, {"many": many})]
