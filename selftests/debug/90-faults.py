# SPDX-License-Identifier: GPL-2.0
"""Memory is refused to the module, and only to it: what it does may be less, never wrong.

For a kernel with fault injection (`make test-debug`), which also tells what is lost or locked for ever.
"""

import contextlib
import tempfile

from lib import NetemError, active, case
from lib.net import command
from lib.watch import faults
from tools import udpcount, xfer

MIB = 1 << 20


def refused(t, *hosts):
    """How often the hosts had no memory."""
    return sum(t.module.stats(host)["no_memory"] for host in hosts)


def under_faults(t, kind, percent, least, **params):
    """TCP and UDP over two paths meanwhile: every byte, and the counters tell."""
    a, b = t.two_hosts(2)
    t.load(a, b)
    for host in (a, b):
        t.module.set(host, **params)
    pairs = [pair for address in (b.addr[0], b.addr6[1]) for pair in xfer.connect(a, b, address, count=2)]
    t.spread(a, b, pairs)
    sa, sb = udpcount.pair(a, b, a.addr[0], b.addr[0])
    at_b, at_a = udpcount.Receiver(sb, 1), udpcount.Receiver(sa, 2)
    senders = [udpcount.Sender(sa, None, 1, None, 700, 200), udpcount.Sender(sb, None, 2, None, 700, 200)]
    before = refused(t, a, b)
    traffic = xfer.Traffic(pairs)
    t.flows(traffic, MIB, 60, "bytes before")
    with faults(kind, percent) as happened:
        t.flows(traffic, 4 * MIB, 120, f"bytes with {kind}")
        if least:
            t.wait(lambda: refused(t, a, b) - before >= least, 60, f"{least} refusals to be counted")
        # What begins now has to get along as well.
        late = xfer.connect(a, b, b.addr[1], count=2)
        xfer.exchange(late, MIB // 4, MIB // 4, timeout=90)
        t.at_least(happened(), 1, f"faults by {kind}")
    t.note(f"no_memory {refused(t, a, b) - before}")
    t.flows(traffic, MIB, 60, "bytes afterwards")
    took = traffic.finish()
    t.note(f"{traffic.moved()} bytes exact in {took:.1f} s; longest silence {traffic.silence():.2f} s")
    xfer.close(late)
    for receiver, sender in ((at_b, senders[0]), (at_a, senders[1])):
        sent = sender.finish()
        result = receiver.settle(sent, 5).result(sent)
        t.note(f"UDP {result}")
        t.equal((result["duplicate"], result["corrupt"]), (0, 0), f"duplicate and corrupt: {result}")
        # A datagram for which there is no memory may be lost, as anywhere in the stack.
        t.at_least(result["received"], sent * 0.8, "datagrams received")
    # Nothing is left of it: a new connection is on two paths.
    fresh = xfer.connect(a, b, b.addr[0])
    t.spread(a, b, fresh)
    xfer.exchange(fresh, MIB, MIB)
    xfer.close(fresh)


@case("small pieces of memory are refused under traffic", timeout=300)
def slab(t):
    under_faults(t, "failslab", 10, 20)


@case("small pieces of memory are refused, a message with every packet", timeout=300)
def slab_every(t):
    under_faults(t, "failslab", 20, 20, cm="every")


@case("small pieces of memory are refused, packets inside UDP", timeout=300)
def slab_udp(t):
    under_faults(t, "failslab", 10, 20, encap="udp")


@case("pages are refused under traffic", timeout=300)
def pages(t):
    under_faults(t, "fail_page_alloc", 50, 0)


@case("the data of packets moves whenever it may", timeout=300)
def moved(t):
    under_faults(t, "fail_skb_realloc", 100, 0)


@case("the data of packets moves whenever it may, packets inside TCP", timeout=300)
def moved_tcp(t):
    under_faults(t, "fail_skb_realloc", 100, 0, encap="tcp")


@case("switched on, off and on again while memory is refused: all of it or nothing", timeout=300)
def switched(t):
    a, b = t.two_hosts(2)
    t.load()
    outcomes = []
    # Single pages are what vmalloc() asks for, and the kernel complains when it does not get them.
    for kind, order in (("failslab", 0), ("fail_page_alloc", 1)):
        for percent in (5, 15, 40):
            for n in range(8):
                host = (a, b)[n % 2]
                with faults(kind, percent, **{"min-order": order}):
                    try:
                        t.module.enable(host)
                        outcomes.append(True)
                    except NetemError as error:
                        t.check("memory" in str(error), f"another reason: {error}")
                        outcomes.append(False)
                    for words in ("param set cm every", "rule add port 22 mode never"):
                        with contextlib.suppress(NetemError):
                            t.module.ctl(host, *words.split())
                    with contextlib.suppress(NetemError):
                        t.module.show(host, "status")
                    t.module.disable(host)
                t.check(not enabled(t, host), "off")
                with contextlib.suppress(NetemError):
                    t.module.ctl(host, "rule", "flush")
    t.note(f"{outcomes.count(True)} times on, {outcomes.count(False)} times refused")
    t.at_least(outcomes.count(True), 5, "times it was switched on")
    t.at_least(outcomes.count(False), 5, "times it was refused")
    for host in (a, b):
        t.module.set(host, cm="adaptive")
        t.module.enable(host)
    pairs = xfer.connect(a, b, b.addr[0])
    t.spread(a, b, pairs)
    xfer.exchange(pairs, MIB, MIB)
    t.check(all(active(s) for s in t.module.sessions(a, protocol=6)), "sessions are open")


@case("the pre-shared key is changed while memory is refused: it is, or the old one and all sessions stay", timeout=300)
def key(t):
    a, b = t.two_hosts(2)
    t.load(a, b)
    pairs = xfer.connect(a, b, b.addr[0], count=2)
    t.spread(a, b, pairs)
    keys = [t.module.ctl(None, "psk", "generate").stdout for _ in range(2)]
    outcomes, current = [], None

    def has(text):
        """Whether A has this key."""
        with tempfile.NamedTemporaryFile("w", suffix=".toml") as config, tempfile.NamedTemporaryFile("w") as file:
            file.write(text)
            config.write(f'psk = "{file.name}"\n')
            for each in (file, config):
                each.flush()
            return "psk" not in t.module.ctl(a, "config", "diff", "-f", config.name, check=False).stdout

    for n, percent in enumerate((100, 5, 15, 40) * 4):
        wanted = keys[n % 2]
        before = t.module.show(a, "status")
        with faults("failslab", percent):
            done = command("mpipctl", "-n", a.name, "psk", "set", "-", stdin=wanted, check=False)
        after = t.module.show(a, "status")
        t.check(after["enabled"], f"MPIP is on with {percent} %: {done.stderr}")
        outcomes.append(done.returncode == 0)
        if done.returncode == 0:
            current = wanted
        else:
            t.check("memory" in done.stderr, f"another reason: {done.stderr}")
            t.equal(after["id"], before["id"], "node id of what goes on")
            if current is None:
                t.equal(after["sessions"], before["sessions"], "sessions that go on")
        t.equal([has(text) for text in keys], [text == current for text in keys], f"the key, {percent} %")
        xfer.exchange(pairs, 20_000, 20_000)
    t.note(f"{outcomes.count(True)} times changed, {outcomes.count(False)} times refused")
    t.at_least(outcomes.count(False), 4, "times it was refused")
    command("mpipctl", "-n", a.name, "psk", "set", "-", stdin=keys[0])
    command("mpipctl", "-n", b.name, "psk", "set", "-", stdin=keys[0])
    t.spread(a, b, xfer.connect(a, b, b.addr[0]))


def enabled(t, host):
    """Whether MPIP is on."""
    return t.module.show(host, "status")["enabled"]
