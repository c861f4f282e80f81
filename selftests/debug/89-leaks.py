# SPDX-License-Identifier: GPL-2.0
"""Memory that was allocated and that nobody refers to any more: the kernel looks for it (kmemleak).

Before allocations are made to fail: those of kmemleak would, too, and it then switches itself off.
"""

import os
import re
import socket

from lib import case
from lib.net import command
from lib.watch import leaks, module_text
from tools import udpcount, xfer

MIB = 1 << 20


def whole_life(t, a, b):
    """Sessions of all kinds that begin, carry data and end; rules, settings and peers that come and go."""
    for cm in ("adaptive", "every"):
        for host in (a, b):
            t.module.set(host, cm=cm)
        pairs = [pair for address in (b.addr[0], b.addr6[1]) for pair in xfer.connect(a, b, address, count=5)]
        t.spread(a, b, pairs)
        sa, sb = udpcount.pair(a, b, a.addr[0], b.addr[0])
        t.module.ctl(a, "rule", "add", "proto", "udp", "ordered", "on")
        receiver = udpcount.Receiver(sb, 1)
        sent = udpcount.send(sa, None, 1, 300, (200, 1200), 500)
        receiver.settle(sent, 5)
        xfer.exchange(pairs, MIB // 4, MIB // 4)
        t.module.ctl(a, "rule", "flush")
        t.module.ctl(a, "interface", "set", a.dev[1], "backup", "on")
        t.module.ctl(a, "interface", "set", a.dev[1], "backup", "off")
        xfer.close(pairs)
        for sock in (sa, sb):
            sock.close()
        # With it go a peer, its paths and its sessions at both ends.
        t.module.disable(b)
        t.module.enable(b)


def merged(t, a, b):
    """Receivers merge what is wrapped in UDP, and it has to come apart again."""
    for host in (a, b):
        t.module.set(host, encap="udp")
        for dev in host.dev:
            host.merge_slowly(dev)
            # A veth that could send bursts whole has nothing merged.
            host.run("ethtool", "-K", dev, "tso", "off", "gro", "on")
    for feature in ("rx-gro-list", "rx-udp-gro-forwarding"):
        for host in (a, b):
            for dev in host.dev:
                host.run("ethtool", "-K", dev, feature, "on")
        pairs = xfer.connect(a, b, b.addr[0], count=2)
        t.spread(a, b, pairs)
        before = t.module.stats(b)["rx_merged"]
        xfer.exchange(pairs, MIB, MIB)
        t.at_least(t.module.stats(b)["rx_merged"] - before, 20, f"{feature}: packets that came apart")
        xfer.close(pairs)
        for host in (a, b):
            for dev in host.dev:
                host.run("ethtool", "-K", dev, feature, "off")


def churn():
    """Much is allocated and given back: what was allocated last is still named by the allocator's own lists."""
    for _ in range(20):
        command("true")
        socks = []
        for size in (1, 100, 300, 600, 1200, 2500, 5000):
            pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
            for _ in range(8):
                pair[0].send(bytes(size))
            socks += pair
        for sock in socks:
            sock.close()


def of_the_module(found, text):
    """Those that it has allocated, whether it is still there or not."""

    def is_ours(report):
        calls = [int(word, 16) for word in re.findall(r"\b0x([0-9a-f]{6,16})\b(?!/)", report)]
        return "[mpip]" in report or any(text[0] <= call < text[1] for call in calls)

    return [report for report in found if is_ours(report)]


@case("none of the memory that nobody refers to is the module's, and what leaks on purpose is found", timeout=300)
def none_is_lost(t):
    a, b = t.two_hosts(2)
    t.load(a, b)
    text = module_text()
    whole_life(t, a, b)
    merged(t, a, b)
    churn()
    found = of_the_module(leaks(), text)
    t.check(not found, "lost while in use:\n" + "\n".join(found[:3]))
    t.module.disable(a)
    t.unload()
    churn()
    found = of_the_module(leaks(), text)
    t.check(not found, "left behind:\n" + "\n".join(found[:3]))
    command("insmod", os.environ["MPIP_LEAK_KO"])
    churn()
    found = [report for report in leaks() if "[kmemleak_test]" in report]
    command("rmmod", "kmemleak_test")
    t.note(f"{len(found)} pieces of memory were lost on purpose and found")
    t.at_least(len(found), 5, "pieces of memory that were lost on purpose, found")
