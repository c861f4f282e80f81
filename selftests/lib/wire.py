# SPDX-License-Identifier: GPL-2.0
"""Cables that can be pulled, and places on the way that can go silent.

  switched(2)                                     uplinks()

   hA          sw          hB                      hA          rt             hB
  +----+     +-----+     +----+                   +----+     +-----+         +----+
  | a1 |--sa1| br1 |sb1--| b1 | 10.0.1.0/24       | a1 |--pa1|ra1  |         |    |
  |    |     |     |     |    | fd00:1::/64       |    |     |  rb1|pb1------| b1 |
  | a2 |--sa2| br2 |sb2--| b2 | 10.0.2.0/24       | a2 |--pa2|ra2  |         |    |
  +----+     +-----+     +----+ fd00:2::/64       |    |     |  rb2|pb2------| b2 |
   A is .1 and ::1, B is .2 and ::2               +----+     +-----+         +----+
                                                   10.1.i.2/24, fd01:i::2 at A, 10.2.i.2/24, fd02:i::2 at B

A port that is switched off takes the carrier of the host at its other end, whose
own interface stays up; the far host sees nothing but silence. Queues, rates,
delays and silent loss are at the ports, in the middle, so nothing of them shows
at the hosts.

Both ends of a cable have the same interface index. The kernel takes a device
whose index is that of its lower device for a physical one and treats its carrier
events with the same lack of haste.
"""

import time

from .net import RATES, TIMES, Host, Link, _links, command, quantity, settle
from .rtnl import Rtnl, cut_in_software

THERE, BACK, BOTH = "there", "back", "both"


class Wire:
    """One way from A to B, through a box in the middle.

    near, far  (Rtnl, port) that face A and B; far is None if the way ends at a router
    """

    def __init__(self, link, near, far):
        self.link = link
        self.port = {"A": near, "B": far}
        self.dress()

    def pull(self, side="A"):
        """Pull the cable out of a host: it loses its carrier. Returns the time."""
        rtnl, dev = self.port[side]
        rtnl.up(dev, False)
        return time.monotonic()

    def plug(self, side="A"):
        """Put it back. Returns the time."""
        rtnl, dev = self.port[side]
        rtnl.up(dev, True)
        # The box in the middle may take a second to notice that its own port has a carrier, and does
        # not forward until then; then another one for the bridge. It does at once if somebody asks.
        for _ in range(2):
            rtnl.look()
        return time.monotonic()

    def dress(self, loss=0.0, way=BOTH):
        """Rate, delay and queue of the link, and this loss one way or both. Returns the time."""
        for end, direction in (("B", THERE), ("A", BACK)):
            link = self.link if direction == THERE else self.link.back or self.link
            if self.port[end] and (link.rate or link.delay or loss):
                rtnl, dev = self.port[end]
                rtnl.netem(dev, loss=loss if way in (BOTH, direction) else 0.0, **numbers(link))
        return time.monotonic()

    def silence(self, way=BOTH):
        """From now on nothing comes through, and nobody says so. Returns the time."""
        return self.dress(1.0, way)

    def heal(self):
        """End what `silence` or `dress` began. Returns the time."""
        return self.dress()


def numbers(link):
    """What Rtnl.netem needs to know of a link."""
    rate, delay = quantity(link.rate, RATES), quantity(link.delay, TIMES)
    return {"rate": rate, "limit": link.room(), "delay": delay}


def cord(dev, host, port, box, index, mtu):
    """The line for `ip` that joins a host's device and a port of a box; see above for the index."""
    return (
        f"link add {dev} index {index} mtu {mtu} netns {host} type veth "
        f"peer name {port} index {index} mtu {mtu} netns {box}"
    )


def bridge(name):
    """Lines for `ip` that make a bridge which forwards at once."""
    return [f"link add {name} type bridge forward_delay 0 mcast_snooping 0", f"link set {name} up"]


def switched(links=2):
    """Two hosts, each link through a switch; returns A, B, the switch and the wires."""
    a, b, sw = Host("hA"), Host("hB"), Host("sw")
    sw.sysctl("net/ipv6/conf/all/disable_ipv6", 1)
    sw.sysctl("net/ipv6/conf/default/disable_ipv6", 1)
    links = _links(links)
    cords, ports, lines = [], [], {a: [], b: []}
    for i, link in enumerate(links, 1):
        ports += bridge(f"br{i}")
        for n, (letter, host) in enumerate((("a", a), ("b", b)), 1):
            dev, port = f"{letter}{i}", f"s{letter}{i}"
            host.dev.append(dev)
            host.addr.append(f"10.0.{i}.{n}")
            host.addr6.append(f"fd00:{i}::{n}")
            cords.append(cord(dev, host, port, sw, 100 * n + i, link.mtu))
            ports.append(f"link set {port} master br{i} up")
            lines[host] += [
                f"addr add 10.0.{i}.{n}/24 dev {dev}",
                f"addr add fd00:{i}::{n}/64 dev {dev} nodad",
                f"link set {dev} up",
            ]
    command("ip", "-batch", "-", stdin="\n".join(cords) + "\n")
    sw.ip(ports)
    for host in (a, b):
        host.ip(lines[host])
        for dev in host.dev:
            cut_in_software(host, dev)
    settle((a, b), [(a, x, b, y) for x, y in zip(a.addr + a.addr6, b.addr + b.addr6)])
    rtnl = Rtnl(sw)
    return a, b, sw, [Wire(link, (rtnl, f"sa{i}"), (rtnl, f"sb{i}")) for i, link in enumerate(links, 1)]


class Uplink:
    """A host's interface towards the router, and how it is configured."""

    def __init__(self, host, side, number, wire=None):
        self.host, self.side, self.number, self.wire = host, side, number, wire
        self.dev = f"{'ab'[side - 1]}{number}"

    def addresses(self, last=2):
        """The two addresses that end in this number."""
        return f"10.{self.side}.{self.number}.{last}", f"fd0{self.side}:{self.number}::{last}"

    def routes(self):
        """Lines for `ip` that make the default routes, which go when the interface does."""
        four, six = self.addresses(1)
        return [
            f"route replace default via {gate} dev {self.dev} {rest}"
            for gate in (four, six)
            for rest in (f"metric {100 + self.number}", f"table {self.number}")
        ]

    def configure(self, last=2):
        """Lines for `ip`: up, with these addresses and the default routes."""
        four, six = self.addresses(last)
        return [
            f"link set {self.dev} up",
            f"addr replace {four}/24 dev {self.dev}",
            f"addr replace {six}/64 dev {self.dev} nodad",
            *self.routes(),
        ]

    def rules(self):
        """Lines for `ip` and for `ip -6`: whoever has an address of this uplink leaves by it."""
        four, six = self.addresses(0)
        six = six.removesuffix("0")
        return [f"rule add from {four}/24 table {self.number}"], [
            f"rule add from {six}/64 table {self.number}"
        ]


def uplinks(links_a=2, links_b=2):
    """Two hosts behind a router; returns A, B, the router, A's uplinks and B's."""
    a, b, r = Host("hA"), Host("hB"), Host("rt")
    for family in ("ipv4", "ipv6"):
        r.sysctl(f"net/{family}/conf/all/forwarding", 1)
    for host in (a, b, r):
        # A second address of a net stays when the first one goes, as on every distribution.
        host.sysctl("net/ipv4/conf/all/promote_secondaries", 1)
    cords, lines_r, made = [], [], []
    for side, host, links in ((1, a, _links(links_a)), (2, b, _links(links_b))):
        group = []
        for i, link in enumerate(links, 1):
            up = Uplink(host, side, i)
            four, six = up.addresses(1)
            port, gate = f"p{up.dev}", f"r{up.dev}"
            host.dev.append(up.dev)
            host.addr.append(up.addresses()[0])
            host.addr6.append(up.addresses()[1])
            cords.append(cord(up.dev, host, port, r, 100 * side + i, link.mtu))
            lines_r += [
                *bridge(gate),
                f"link set {port} master {gate} up",
                f"addr add {four}/24 dev {gate}",
                f"addr add {six}/64 dev {gate} nodad",
            ]
            group.append((up, link, port))
        made.append(group)
    command("ip", "-batch", "-", stdin="\n".join(cords) + "\n")
    r.ip(lines_r)
    for group in made:
        host = group[0][0].host
        host.ip(
            [line for up, _, _ in group for line in up.configure()]
            + [r4 for up, _, _ in group for r4 in up.rules()[0]]
        )
        host.ip([r6 for up, _, _ in group for r6 in up.rules()[1]], "-6")
    pairs = [(x, y) for x in a.addr for y in b.addr] + [(x, y) for x in a.addr6 for y in b.addr6]
    settle((a, b, r), [(a, x, b, y) for x, y in pairs])
    rtnl = Rtnl(r)
    for group in made:
        for up, link, port in group:
            # Only what goes towards the host is shaped: the port has no other way out.
            up.wire = Wire(Link(back=link), (rtnl, port), None)
    return a, b, r, *([up for up, _, _ in group] for group in made)
