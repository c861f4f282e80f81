# SPDX-License-Identifier: GPL-2.0
"""Android's routing on a host: what netd makes of its networks.

There is no table that all use. Each interface has one, numbered 1000 + its index, and
rules choose it: by the mark that netd puts on every socket, by its user, or by
the interface that is asked for.

  11000  iif lo oif DEV uid 0             root, by an interface: before any VPN
  13000  iif lo users of a VPN            all they send, whatever network they chose, unless protected from it
  16000  mark: network, explicitly chosen
  17000  iif lo oif DEV                   everybody else, by an interface
  23000  mark: network, not chosen but where the socket began
  31000  no network in the mark           the default network
  32000  unreachable

The mark: 16 bits of the network's number, 0x10000 if it was explicitly chosen, 0x20000 if
protected from VPNs, two bits of permissions, and one about accounting.
"""

import contextlib
import os
import socket
from dataclasses import dataclass

from .net import Link

SO_MARK = 36
EXPLICIT, PROTECTED = 0x10000, 0x20000
NUMBER = 0xFFFF
# What netd's marks have in them and does not say that somebody chose a way.
MARKS = "0x1effff"
FIRST_TABLE = 1000
WIFI, CELL = 100, 101
HERE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CONFIG = f"{HERE}/android-kernel/vendor/mpip.toml"
MODEM = "rmnet_data0"  # one of the names that CONFIG knows
LINK = Link(rate="40mbit", delay="5ms", limit=150)
DESTROYED = 103  # ECONNABORTED


class Network:
    """A network as netd knows it: a number and an interface with a table of its own."""

    def __init__(self, number, dev, index):
        self.number, self.dev = number, dev
        self.table = FIRST_TABLE + index

    def rules(self):
        """Rules of every network with an interface, without `rule add` or `rule del`."""
        number, table = self.number, self.table
        return [
            f"priority 16000 fwmark {number | EXPLICIT:#x}/{NUMBER | EXPLICIT:#x} iif lo lookup {table}",
            f"priority 17000 iif lo oif {self.dev} lookup {table}",
        ]


class Physical(Network):
    """Wi-Fi, or a modem."""

    def rules(self):
        """Sockets that began here stay here; root may ask for the interface whatever VPN there is."""
        return super().rules() + [
            f"priority 11000 iif lo oif {self.dev} uidrange 0-0 lookup {self.table}",
            f"priority 23000 fwmark {self.number:#x}/{NUMBER | EXPLICIT:#x} iif lo lookup {self.table}",
        ]


class Vpn(Network):
    """A VPN that its users cannot go round."""

    def __init__(self, number, dev, index, users):
        super().__init__(number, dev, index)
        self.users = users

    def rules(self):
        """All that its users send; when it has no route, nothing."""
        mine = f"fwmark 0x0/{PROTECTED:#x} iif lo uidrange {self.users}"
        return super().rules() + [
            f"priority 13000 {mine} lookup {self.table}",
            f"priority 14000 {mine} prohibit",
        ]


class Netd:
    """netd of one host; from now on its routes are those of Android, for IPv4 and IPv6."""

    def __init__(self, host):
        self.host = host
        self.default = None
        self.queue = None
        # All but the rule for the host's own addresses.
        self._change(rules=["rule flush", "rule add priority 32000 unreachable"])

    @contextlib.contextmanager
    def at_once(self):
        """What is changed here is changed at the end, which takes less time."""
        self.queue = [], []
        yield
        (four, six), self.queue = self.queue, None
        self.host.ip(four)
        self.host.ip(six, "-6")

    def _change(self, routes=(), rules=()):
        """Carry out lines for `ip`: routes have a family, rules are for both."""
        if self.queue:
            for queue, lines in zip(self.queue, ([*routes, *rules], rules)):
                queue += lines
            return
        self.host.ip([*routes, *rules])
        self.host.ip(rules, "-6")

    def add(self, kind, number, dev, routes, **options):
        """A network comes up, with these routes (without device and table)."""
        with self.host.inside():
            network = kind(number, dev, socket.if_nametoindex(dev), **options)
        self._change(
            [f"route replace {route} dev {dev} table {network.table}" for route in routes],
            [f"rule add {rule}" for rule in network.rules()],
        )
        return network

    def remove(self, network):
        """A network has gone; what its addresses were to anybody is told by `destroy`."""
        self._change(rules=[f"rule del {rule}" for rule in network.rules()])

    def choose(self, network):
        """Make it the default network."""
        rule = "priority 31000 fwmark 0x0/0xffff iif lo lookup"
        lines = [f"rule add {rule} {network.table}"]
        if self.default:
            lines.append(f"rule del {rule} {self.default.table}")
        self.default = network
        self._change(rules=lines)

    def destroy(self, *condition):
        """End the TCP sockets that ss selects by these words (SOCK_DESTROY)."""
        # ss says in its status nothing of what it found.
        self.host.run("ss", "-K", "-H", "-t", *condition)

    @contextlib.contextmanager
    def user(self, uid):
        """Sockets made here are of that user."""
        os.seteuid(uid)
        try:
            yield
        finally:
            os.seteuid(0)

    def socket(self, uid, network, family=socket.AF_INET, kind=socket.SOCK_STREAM, explicit=False):
        """A socket of an app, with the mark that netd gives it."""
        with self.host.inside(), self.user(uid):
            sock = socket.socket(family, kind)
        mark = network.number | (EXPLICIT if explicit else 0)
        sock.setsockopt(socket.SOL_SOCKET, SO_MARK, mark)
        return sock

    def connect(self, server, address, uid, network, port=0, source=None, **options):
        """A connection of an app to a host's address: (socket at the app, socket at the server)."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with server.socket(family) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((address, port))
            listener.listen(1)
            listener.settimeout(10)
            sock = self.socket(uid, network, family, **options)
            if source:
                sock.bind((source, 0))
            sock.settimeout(10)
            sock.connect(listener.getsockname())
            return sock, listener.accept()[0]


@dataclass
class Phone:
    """The phone, its networks, and the server."""

    a: object
    b: object
    r: object
    up: list
    netd: Netd
    wifi: Physical
    cell: Physical


def routes_of(up):
    """What a network's table has, but for device and number."""
    four, six = up.addresses(0)
    return [f"{four}/24", six.removesuffix("0") + "/64", *(f"default via {gate}" for gate in up.addresses(1))]


def phone(t, links=(LINK, LINK), modem=None):
    """Both networks are up, Wi-Fi is the default, MPIP runs at both ends; the phone is configured as one.

    As which the modem is no reserve, unless it gets a name that says what it is.
    """
    a, b, r, of_a, _ = t.uplinks(links, 1)
    # Android has no route in the main table that leads out.
    if modem:
        a.ip([f"link set {of_a[1].dev} name {modem}"])
        a.dev[1] = of_a[1].dev = modem
    ways = [(gate, up.dev, 100 + up.number) for up in of_a for gate in up.addresses(1)]
    a.ip([f"route del default via {gate} dev {dev} metric {metric}" for gate, dev, metric in ways])
    netd = Netd(a)
    with netd.at_once():
        networks = [netd.add(Physical, n, up.dev, routes_of(up)) for up, n in zip(of_a, (WIFI, CELL))]
        netd.choose(networks[0])
    t.load(a, b)
    t.module.ctl(a, "config", "apply", "-f", CONFIG)
    return Phone(a, b, r, of_a, netd, *networks)
