# SPDX-License-Identifier: GPL-2.0
"""What one test case works with: hosts, the module, checks, and the clean-up after it."""

import contextlib
import json
import random
import subprocess
import time

from tools import xfer

from . import net, wire
from .mpip import Mpip, active
from .net import wait_for

CASES = []
UNLOAD = 30  # seconds: grace periods of a machine that is emulated, and busy
SLOW = xfer.SLOW  # if it is more than 1, what is measured is told, not judged

# Fields of Host.counters()
RX_BYTES, RX_PACKETS, TX_BYTES, TX_PACKETS = range(4)


class Failure(Exception):
    """A check of a test case did not hold."""


class Unsteady(Failure):
    """Something measured - a time, a rate, a share - missed its bound: the machine may have been busy.

    Only this may be tried again. What is wrong rather than slow is a plain Failure.
    """


def gather(failures):
    """What to say of several failures, and their kind: unsteady only if all of them are."""
    kind = Unsteady if all(isinstance(error, Unsteady) for error in failures) else Failure
    return "; ".join(str(error) or type(error).__name__ for error in failures), kind


class Case:
    """A test case as the runner sees it."""

    def __init__(self, name, function, timeout, long):
        self.name = name
        self.function = function
        self.timeout = timeout
        self.long = long


def case(name, timeout=60, long=None):
    """Declare a function as a test case; it gets a fresh World.

    A long one repeats at length, or in one more combination, what others show: it has to be asked for.
    If that is not said, of two that differ in the family of addresses only one is long, by turns.
    """

    def register(function):
        CASES.append(Case(name, function, timeout, long))
        return function

    return register


class World:
    """Everything a case makes is undone by `close`, whatever happened in between."""

    def __init__(self, report):
        self.report = report
        self.hosts = []
        self.undo = []
        self.module = Mpip()
        self.random = random.Random(20180)
        self.checks = 0
        self.slowest = 0.0

    # --- checks and notes -------------------------------------------------

    def note(self, text):
        """A diagnostic line of the TAP output."""
        for line in str(text).splitlines():
            self.report(line)

    def check(self, condition, what, kind=Failure):
        """Fail the case unless the condition holds."""
        self.checks += 1
        if not condition:
            if kind is Unsteady and SLOW > 1:
                self.note(f"not judged: {what}")
                return
            raise kind(what)

    def equal(self, got, want, what):
        """Fail the case unless both are equal; show them."""
        self.check(got == want, f"{what}: got {got!r}, want {want!r}")

    def at_least(self, got, want, what, kind=Failure):
        """Fail the case unless got >= want; show both."""
        self.check(got >= want, f"{what}: got {got}, want at least {want}", kind)

    def at_most(self, got, want, what, kind=Failure):
        """Fail the case unless got <= want; show both."""
        self.check(got <= want, f"{what}: got {got}, want at most {want}", kind)

    def reaches(self, got, want, what):
        """Like at_least, for what is measured and differs with the load of the machine."""
        self.at_least(got, want, what, Unsteady)

    def within(self, got, want, what):
        """Like at_most, for what is measured and differs with the load of the machine."""
        self.at_most(got, want, what, Unsteady)

    def lost_only(self, missing, spans):
        """Datagrams, as (number, time sent), may be missing only if they were sent in one of these spans.

        A span is (start, due, end): lost after `due` means that the reason was noticed late.
        """
        stray = [n for n, when in missing if not any(start <= when <= end for start, _, end in spans)]
        self.equal(stray[:5], [], "missing datagrams that nothing explains")
        late = [n for n, when in missing if not any(start <= when <= due for start, due, _ in spans)]
        self.within(len(late), 0, f"datagrams lost because it was noticed late ({late[:5]})")

    def wait(self, condition, timeout, what, kind=Failure):
        """Wait until the condition returns something true and return that, or fail the case."""
        self.checks += 1
        try:
            return wait_for(condition, timeout * SLOW, what)
        except TimeoutError as error:
            raise kind(str(error)) from None

    def soon(self, condition, timeout, what):
        """Like wait, for what a busy machine may put off: lanes that come up, paths that are used."""
        return self.wait(condition, timeout, what, Unsteady)

    def defer(self, function, *args):
        """Call this at the end of the case; the last deferred comes first."""
        self.undo.append((function, args))

    # --- hosts ------------------------------------------------------------

    def two_hosts(self, links=2):
        """See net.two_hosts."""
        hosts = net.two_hosts(links)
        self.hosts += hosts
        return hosts

    def routed(self, links_a=2, links_b=2):
        """See net.routed."""
        hosts = net.routed(links_a, links_b)
        self.hosts += hosts
        return hosts

    def switched(self, links=2):
        """See wire.switched; returns A, B and the wires."""
        a, b, switch, wires = wire.switched(links)
        self.hosts += [a, b, switch]
        return a, b, wires

    def uplinks(self, links_a=2, links_b=2):
        """See wire.uplinks."""
        a, b, router, of_a, of_b = wire.uplinks(links_a, links_b)
        self.hosts += [a, b, router]
        return a, b, router, of_a, of_b

    # --- the module -------------------------------------------------------

    def load(self, *hosts, **options):
        """Load the module, off in the initial namespace, on in the hosts named."""
        options.setdefault("enabled", 0)
        self.module.load(**options)
        for host in hosts:
            self.module.enable(host)

    def unload(self):
        """Unload the module; it must go at once, so nothing may still refer to it."""
        start = time.monotonic()
        self.module.unload()
        took = time.monotonic() - start
        self.slowest = max(self.slowest, took)
        # Not for another try: a bound this wide is missed by references that are given back late.
        self.check(took < UNLOAD * SLOW, f"rmmod took {took:.1f} s")

    # --- what the module has done ------------------------------------------

    def spread(self, a, b, pairs, lanes=2, timeout=30):
        """Exchange a little over open connections until all are sessions with so many active lanes.

        Returns A's sessions by A's port.
        """
        ports = {near.getsockname()[1] for near, _ in pairs}
        seed = 1000

        def ready():
            nonlocal seed
            seed += 2 * len(pairs)
            xfer.exchange(pairs, 3000, 3000, seed)
            views = [self.by_port(host, "local" if host is a else "remote") for host in (b, a)]
            if all(len(active(view.get(port, {}))) >= lanes for view in views for port in ports):
                return {port: views[1][port] for port in ports}
            return None

        return self.soon(ready, timeout, f"{len(pairs)} sessions with {lanes} active lanes at both ends")

    def flows(self, traffic, amount, timeout, what):
        """Wait until so many more bytes have come through each way."""
        start = traffic.moved()
        self.wait(
            lambda: all(now - then >= amount for now, then in zip(traffic.moved(), start)), timeout, what
        )

    def carries(self, host, amount=200_000, timeout=20):
        """Wait until each device of a host has sent so many more bytes."""
        start = host.counters()
        self.soon(
            lambda: all(host.counters()[d][TX_BYTES] - start[d][TX_BYTES] >= amount for d in host.dev),
            timeout,
            f"{amount} bytes on each link of {host}",
        )

    def by_port(self, host, end, protocol=6):
        """Sessions of a host by the port of one end."""
        return {s[end]["port"]: s for s in self.module.sessions(host, protocol=protocol)}

    def shares(self, host, before, field=TX_BYTES):
        """What part of a counter's growth since `before` each of the host's devices had."""
        now = host.counters()
        grown = [now[dev][field] - before[dev][field] for dev in host.dev]
        return [part / max(1, sum(grown)) for part in grown]

    # --- the end ----------------------------------------------------------

    def dump(self):
        """What helps to understand a failure, as diagnostics."""
        for host in self.hosts:
            if self.module.loaded():
                for what in ("status", "peer", "session", "path"):
                    with contextlib.suppress(Exception):
                        self.note(f"{host} {what}: {shorten(json.dumps(self.module.show(host, what)))}")
                with contextlib.suppress(Exception):
                    self.note(f"{host} stats: { ({k: v for k, v in self.module.stats(host).items() if v}) }")
            with contextlib.suppress(Exception):
                self.note(f"{host} devices (bytes, packets received and sent): {host.counters()}")
                self.note(f"{host} nstat: {' '.join(interesting(host.run('nstat', '-asz').stdout))}")
                for line in host.run("ss", "-tinmH").stdout.splitlines()[:8]:
                    self.note(f"{host} ss: {shorten(line.strip(), 500)}")
                for line in host.run("tc", "-s", "qdisc").stdout.splitlines():
                    if "netem" in line or "dropped" in line and "Sent 0" not in line:
                        self.note(f"{host} tc: {line.strip()}")

    def close(self):
        """Undo everything. Returns what went wrong meanwhile, or None."""
        trouble = None
        for function, args in reversed(self.undo):
            try:
                function(*args)
            except Exception as error:  # the rest must be undone all the same
                trouble = trouble or f"clean-up: {error}"
        try:
            if self.module.loaded():
                self.unload()
        except (Failure, net.NetemError, subprocess.SubprocessError) as error:
            trouble = trouble or f"unloading at the end: {error}"
        for host in self.hosts:
            host.delete()
        if self.slowest:
            self.note(f"the slowest rmmod took {self.slowest:.2f} s")
        return trouble


def shorten(text, most=2000):
    """The text, or its beginning if it is long."""
    return text if len(text) <= most else text[:most] + " ..."


def interesting(nstat):
    """Non-zero TCP, UDP and IP counters of nstat's output that tell of trouble."""
    words = (
        "Retrans",
        "InErrs",
        "CsumErr",
        "PAWS",
        "Ofo",
        "OFO",
        "Discards",
        "RcvbufErr",
        "TCPTimeouts",
        "Dup",
        "Spurious",
        "InNoRoutes",
        "OutRsts",
        "InAddrErr",
        "Reorder",
        "SACK",
    )
    for line in nstat.splitlines():
        fields = line.split()
        if len(fields) >= 2 and fields[1] != "0" and any(w in fields[0] for w in words):
            yield f"{fields[0]}={fields[1]}"


def run_case(one, report):
    """Run one case; returns a reason, None when it passed, and whether it may be tried again."""
    world = World(report)
    reason, again = None, False
    try:
        one.function(world)
        if not world.checks:
            reason = "the case checked nothing"
    except (Failure, net.NetemError) as error:
        reason = str(error) or type(error).__name__
        again = isinstance(error, (Unsteady, net.Busy))
    except Exception as error:
        import traceback

        for line in traceback.format_exc().splitlines():
            report(line)
        reason = f"{type(error).__name__}: {error}"
    if reason:
        with contextlib.suppress(Exception):
            world.dump()
    trouble = world.close()
    return "; ".join(filter(None, (reason, trouble))) or None, again and not trouble
