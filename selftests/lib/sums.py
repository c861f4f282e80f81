# SPDX-License-Identifier: GPL-2.0
"""Packets whose device has summed up all of them (CHECKSUM_COMPLETE).

A tunnel passes on such packets when it has verified the checksum around them.
"""

import contextlib
import os
import re

from .net import settle
from .process import wait_for

TRACING = "/sys/kernel/tracing"
EVENT = "mpip_selftest/sums"
COMPLETE = 2  # of skb->ip_summed, include/linux/skbuff.h
INDEX = 9000


def tunnels(a, b):
    """Move the IPv4 addresses of two hosts from their cables to VXLAN over IPv6.

    Returns the indices of the devices, the same at both ends.
    """
    for host, other in ((a, b), (b, a)):
        for i, dev in enumerate(host.dev):
            # Else the cable passes packets on without a checksum, and there is nothing to verify.
            host.run("ethtool", "-K", dev, "tx", "off")
            host.ip(
                [
                    f"addr del {host.addr[i]}/24 dev {dev}",
                    f"link add t{i} index {INDEX + i} type vxlan id {i} local {host.addr6[i]} remote {other.addr6[i]} dstport 4789 dev {dev}",
                    f"addr add {host.addr[i]}/24 dev t{i}",
                    f"link set t{i} up",
                ]
            )
            # What is merged has a sum of another kind.
            host.run("ethtool", "-K", f"t{i}", "gro", "off")
    settle((a, b), [(a, x, b, y) for x, y in zip(a.addr, b.addr)])
    return [INDEX + i for i in range(len(a.dev))]


def _write(file, text):
    # Not to be cut to nothing, and there is no seeking.
    fd = os.open(f"{TRACING}/{file}", os.O_WRONLY | os.O_APPEND)
    try:
        os.write(fd, f"{text}\n".encode())
    finally:
        os.close(fd)


@contextlib.contextmanager
def ip_summed():
    """Counts IPv4 packets as they come in, before any hook: a function for {(index of device, value): packets}."""
    trigger = "hist:keys=dev,summed"
    _write("dynamic_events", f"p:{EVENT} ip_rcv dev=dev->ifindex summed=skb->ip_summed")
    try:
        _write(f"events/{EVENT}/trigger", trigger)

        def counts():
            with open(f"{TRACING}/events/{EVENT}/hist", encoding="ascii") as lines:
                found = re.findall(r"dev: *(\d+), *summed: *(\d+) *} *hitcount: *(\d+)", lines.read())
            return {(int(dev), int(value)): int(count) for dev, value, count in found}

        yield counts
    finally:
        _write(f"events/{EVENT}/trigger", f"!{trigger}")
        # The event is busy until the last user has gone.
        wait_for(_remove, 5, "the event to be removed")


def _remove():
    with contextlib.suppress(OSError):
        _write("dynamic_events", f"-:{EVENT}")
        return True
    return False


def check(t, hosts, devices, counts, least):
    """On every device so many packets had such a sum, and no checksum was found wrong."""
    t.note(f"packets by device and kind of sum: {counts}")
    for dev in devices:
        t.at_least(counts.get((dev, COMPLETE), 0), least, f"packets with a sum over all on {dev}")
    for host in hosts:
        t.equal(t.module.stats(host).get("rx_bad_checksum", 0), 0, f"wrong checksums at {host}")
        wrong = [host.snmp(f"{protocol}:InCsumErrors") for protocol in ("Tcp", "Udp")]
        t.equal(wrong, [0, 0], f"checksum errors at {host}")
