# SPDX-License-Identifier: GPL-2.0
"""Boxes in the way: address translation and firewalls, made of nftables and connection tracking.

  natted(boxes_1, boxes_2)

   hA           a box for each uplink          the Internet            hB
  +----+        +-----+          +-----+         +------+            +----+
  | a1 |--------| n11 |----------| n12 |---------| w1   |            |    |
  |    |        +-----+ or none  +-----+         |    b1|------------| b1 |
  | a2 |--------| n21 |--------------------------| w2   |            |    |
  +----+ lan wan+-----+ lan                      +------+            +----+
  192.168.i.2    100.64.i.0/24 between boxes      198.18.i.0/24       198.19.1.2
  fd0a:i::2      fd64:i::/64                      fd18:i::/64         fd19:1::2

The Internet knows no private address: a packet that leaves a box untranslated goes
nowhere. All boxes drop what their connection tracking calls invalid, verify
checksums, do not forgive sequence numbers out of the window (be_liberal=0), and
let nothing in that was not asked for. Each way is 50 Mbit/s and 3 ms.
"""

import contextlib
import socket
import struct
import time
from dataclasses import dataclass, field

from .net import Host, Link, command, wait_for
from .packet import TCP, tcp_segment
from .rtnl import Rtnl, cut_in_software
from .wire import cord, numbers

SO_BINDTODEVICE = 25
LINK = Link(rate="50mbit", delay="3ms", limit=300)
DNS = 53  # every box lets this port out
# Attributes of `mpipctl -j path`: how a path gets through, and why it does not
WAYS, REASONS = ("wrap", "encap", "way"), ("reason", "why")


@dataclass
class Box:
    """What a box does.

    nat      how nftables translates, or nothing for a firewall without translation
    cone     whatever comes from outside and belongs to nothing goes to the host inside
    forward  rules before the box's own of what is forwarded
    mangle   rules that change packets
    sysctl   settings below net/netfilter
    """

    nat: str = "masquerade"
    cone: bool = False
    forward: tuple = ()
    mangle: tuple = ()
    sysctl: dict = field(default_factory=dict)

    def ruleset(self, inside):
        """The box's rules as text for nft; `inside` are the addresses of the host behind it."""
        four, six = inside
        translate = f'oifname "wan" {self.nat}' if self.nat else ""
        cone = [f'iifname "wan" dnat ip to {four}', f'iifname "wan" dnat ip6 to {six}'] if self.cone else []
        chains = {
            "before": ("nat hook prerouting priority dstnat; policy accept;", cone),
            "change": ("filter hook forward priority mangle; policy accept;", self.mangle),
            "through": (
                "filter hook forward priority filter; policy drop;",
                (
                    "ct state invalid counter drop",
                    *self.forward,
                    "ct state established,related accept",
                    'iifname "lan" accept',
                    *(("ct status dnat accept",) if self.cone else ()),
                    "counter",
                ),
            ),
            "own": (
                "filter hook input priority filter; policy drop;",
                ("meta l4proto { icmp, ipv6-icmp } accept", 'iifname "lan" accept', "counter"),
            ),
            "after": ("nat hook postrouting priority srcnat; policy accept;", (translate,)),
        }
        body = "\n".join(
            "\n".join((f"chain {name} {{", f"type {kind}", *filter(None, rules), "}"))
            for name, (kind, rules) in chains.items()
        )
        return f"table inet box {{\n{body}\n}}\n"


PLAIN = Box(cone=True)  # maps and filters whatever the destination is
RESTRICTED = Box()  # keeps ports, lets only answers in
SYMMETRIC = Box(nat="masquerade random,fully-random")  # another port for each destination
NO_UDP = Box(forward=(f"udp dport != {DNS} udp sport != {DNS} counter drop",))
STRICT_TCP = Box(sysctl={"nf_conntrack_tcp_loose": 0})  # a segment without a handshake is invalid
ONLY_HANDSHAKES = Box(forward=NO_UDP.forward, sysctl=STRICT_TCP.sysctl)
ONLY_DNS = Box(forward=(*NO_UDP.forward, "meta l4proto tcp counter drop"))
STRIPS_OPTION = Box(mangle=("reset tcp option 253",))
CHANGES_MSS = Box(mangle=("tcp flags syn tcp option maxseg size set 1200",))
SPEECHLESS = Box(nat=SYMMETRIC.nat, forward=("meta l4proto { icmp, ipv6-icmp } counter drop",))
SHORT = Box(sysctl={"nf_conntrack_udp_timeout": 3, "nf_conntrack_udp_timeout_stream": 3})
FIREWALL = Box(nat="", sysctl={"nf_conntrack_tcp_loose": 0})


class Gate(Host):
    """A box in its place, between "lan" and "wan"."""

    def __init__(self, name, box, inside):
        super().__init__(name)
        self.box = box
        for family in ("ipv4", "ipv6"):
            self.sysctl(f"net/{family}/conf/all/forwarding", 1)
        self.nft(box.ruleset(inside))
        settings = {"nf_conntrack_tcp_be_liberal": 0, "nf_conntrack_checksum": 1, "nf_conntrack_tcp_loose": 1}
        for name, value in {**settings, **box.sysctl}.items():
            self.sysctl(f"net/netfilter/{name}", value)

    def nft(self, text):
        """Feed text to nft."""
        with self.inside():
            command("nft", "-f", "-", stdin=text)

    def forget(self):
        """Lose every mapping, as after a restart."""
        self.run("conntrack", "-F")

    def mappings(self, protocol):
        """What connection tracking knows: lines of text."""
        return self.run("conntrack", "-L", "-p", protocol).stdout.splitlines()

    def counts(self):
        """Packets of each rule with a counter, by the rule's text before it."""
        found = {}
        for line in self.run("nft", "list", "table", "inet", "box").stdout.splitlines():
            rule, counter, rest = line.strip().partition("counter packets ")
            if counter:
                found[rule.strip()] = int(rest.split()[0])
        return found


@dataclass
class Natted:
    """What `natted` has made. `gates[i]` are the boxes of A's uplink i, the nearest first."""

    a: Host
    b: Host
    inet: Host
    gates: list

    @property
    def hosts(self):
        """All of them."""
        return [self.a, self.b, self.inet, *(gate for row in self.gates for gate in row)]

    def target(self, family, number=0):
        """An address of B."""
        return (self.b.addr if family == 4 else self.b.addr6)[number]

    def carried(self):
        """Bytes so far over each uplink, both ways, at the Internet's end."""
        counters = self.inet.counters()
        return [sum(counters[f"w{i}"][n] for n in (0, 2)) for i in range(1, len(self.gates) + 1)]


def natted(boxes, same=False, links_b=1):
    """Build it; `boxes` has a list of boxes for each uplink of A, the nearest first.

    same  A has the same private addresses on all uplinks
    """
    a, b, inet = Host("hA"), Host("hB"), Host("inet")
    for family in ("ipv4", "ipv6"):
        inet.sysctl(f"net/{family}/conf/all/forwarding", 1)
    cords, gates = [], []
    lines = {a: [], b: [], inet: []}
    rules = {a: ([], []), b: ([], [])}
    rtnl_inet = Rtnl(inet)
    shaped = []
    for i, row in enumerate(boxes, 1):
        k = 1 if same else i
        a.dev.append(f"a{i}")
        a.addr.append(f"192.168.{k}.2")
        a.addr6.append(f"fd0a:{k}::2")
        lines[a] += uplink(
            f"a{i}", i, (f"192.168.{k}.2/24", f"fd0a:{k}::2/64"), (f"192.168.{k}.1", f"fd0a:{k}::1")
        )
        if not same:
            rules[a][0].append(f"rule add from 192.168.{k}.0/24 table {i}")
            rules[a][1].append(f"rule add from fd0a:{k}::/64 table {i}")
        # The nets from A to the Internet, with the near and the far end's addresses.
        nets = [(f"192.168.{k}.", f"fd0a:{k}::")]
        nets += [(f"100.6{3 + n}.{i}.", f"fd6{3 + n}:{i}::") for n in range(1, len(row))]
        nets += [(f"198.18.{i}.", f"fd18:{i}::")]
        names = [str(a), *(f"n{i}{n}" for n in range(1, len(row) + 1)), str(inet)]
        gates.append([Gate(name, box, near(net)) for name, box, net in zip(names[1:], row, nets)])
        places = [a, *gates[-1], inet]
        for n, net in enumerate(nets):
            one = f"a{i}" if n == 0 else "wan"
            other = f"w{i}" if n == len(nets) - 1 else "lan"
            cords.append(cord(one, places[n], other, places[n + 1], 1000 + 100 * i + n, 1500))
            for host, dev, end in ((places[n], one, 2), (places[n + 1], other, 1)):
                if host is a:
                    continue
                lines.setdefault(host, [])
                lines[host] += [
                    f"addr add {net[0]}{end}/24 dev {dev}",
                    f"addr add {net[1]}{end}/64 dev {dev} nodad",
                    f"link set {dev} up",
                ]
                if dev == "wan":
                    lines[host] += [f"route add default via {gate}1 dev wan" for gate in net]
        # What is not translated has a way back.
        for n, box in enumerate(row):
            if not box.nat:
                behind = lines[places[n + 2]]
                behind += [
                    f"route add {nets[n][0]}0/24 via {nets[n + 1][0]}2",
                    f"route add {nets[n][1]}/64 via {nets[n + 1][1]}2",
                ]
        shaped += [(Rtnl(gates[-1][-1]), "wan"), (rtnl_inet, f"w{i}")]
    for i in range(1, links_b + 1):
        b.dev.append(f"b{i}")
        b.addr.append(f"198.19.{i}.2")
        b.addr6.append(f"fd19:{i}::2")
        cords.append(cord(f"b{i}", b, f"v{i}", inet, 2000 + i, 1500))
        lines[b] += uplink(
            f"b{i}", i, (f"198.19.{i}.2/24", f"fd19:{i}::2/64"), (f"198.19.{i}.1", f"fd19:{i}::1")
        )
        rules[b][0].append(f"rule add from 198.19.{i}.0/24 table {i}")
        rules[b][1].append(f"rule add from fd19:{i}::/64 table {i}")
        lines[inet] += [
            f"addr add 198.19.{i}.1/24 dev v{i}",
            f"addr add fd19:{i}::1/64 dev v{i} nodad",
            f"link set v{i} up",
        ]
    made = Natted(a, b, inet, gates)
    command("ip", "-batch", "-", stdin="\n".join(cords) + "\n")
    for host, some in lines.items():
        # Routes last: their gateways must be on a link by then.
        host.ip(sorted(some, key=lambda line: line.startswith("route")))
    for host, (four, six) in rules.items():
        if four:
            host.ip(four)
            host.ip(six, "-6")
    for host in (a, b):
        for dev in host.dev:
            cut_in_software(host, dev)
    for host in made.hosts:
        # Addresses of IPv6 work once somebody has asked for the carrier, see net.settle.
        Rtnl(host).look()
    for dev in a.dev:
        for address in b.addr + b.addr6:
            wait_for(lambda d=dev, x=address: answers(a, d, b, x, DNS), 10, f"{dev} to reach {address}", 0)
    for rtnl, dev in shaped:
        rtnl.netem(dev, **numbers(LINK))
    return made


def near(net):
    """The addresses at the near end of a net."""
    return net[0] + "2", net[1] + "2"


def uplink(dev, number, addresses, gateways):
    """Lines for `ip`: addresses, and default routes, also in a table of the uplink's own."""
    return [
        *(
            f"addr add {address} dev {dev} nodad" if ":" in address else f"addr add {address} dev {dev}"
            for address in addresses
        ),
        f"link set {dev} up",
        *(
            f"route add default via {gate} dev {dev} {rest}"
            for gate in gateways
            for rest in (f"metric {100 + number}", f"table {number}")
        ),
    ]


# --- plain hosts ---------------------------------------------------------------


def family_of(address):
    """The socket family of an address."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def bound(host, dev, family, kind):
    """A socket of A that uses this uplink whatever the routes say."""
    sock = host.socket(family, kind)
    with host.inside():
        sock.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, dev.encode() + b"\0")
    return sock


def answers(a, dev, b, address, port, timeout=0.1):
    """Whether a datagram out of this uplink reaches a port of B and its answer comes back.

    Returns what B took for the source.
    """
    family = family_of(address)
    with bound(a, dev, family, socket.SOCK_DGRAM) as near_end, b.socket(family, socket.SOCK_DGRAM) as far_end:
        far_end.bind((address, port))
        for sock in (near_end, far_end):
            sock.settimeout(timeout)
        try:
            near_end.sendto(b"question", (address, port))
            _, source = far_end.recvfrom(100)
            far_end.sendto(b"answer", source)
            near_end.recv(100)
            return source[:2]
        except OSError:
            return None


def connect(a, dev, b, address, port=0, timeout=5):
    """A TCP connection out of this uplink: (socket at A, socket at B)."""
    with b.socket(family_of(address)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(4)
        listener.settimeout(timeout)
        sock = bound(a, dev, family_of(address), socket.SOCK_STREAM)
        sock.settimeout(timeout)
        sock.connect(listener.getsockname())
        return sock, listener.accept()[0]


def udp_pair(a, b, address, port_a=5001, port_b=5002):
    """Two UDP sockets that reach each other through the boxes: B answers whom it saw."""
    family = family_of(address)
    one, other = a.socket(family, socket.SOCK_DGRAM), b.socket(family, socket.SOCK_DGRAM)
    one.bind(("", port_a))
    other.bind((address, port_b))
    one.connect((address, port_b))
    other.settimeout(0.3)

    def first():
        one.send(b"first")
        with contextlib.suppress(TimeoutError):
            return other.recvfrom(100)[1]

    other.connect(wait_for(first, 10, "the first datagram to reach B", 0))
    other.setblocking(False)
    # What was sent meanwhile is not part of any account.
    time.sleep(0.1)
    with contextlib.suppress(BlockingIOError):
        while other.recv(100):
            pass
    return one, other


def stray_segment(a, dev, b, address, port, payload=b"stray"):
    """Whether a TCP segment of a connection that never began gets from A to B.

    B has no socket there: its RST is what shows.
    """
    family = family_of(address)
    with bound(a, dev, family, socket.SOCK_DGRAM) as probe:
        probe.connect((address, port))
        source = probe.getsockname()[0]
    with a.socket(family, socket.SOCK_RAW, TCP) as sock, b.socket(
        socket.AF_PACKET, socket.SOCK_DGRAM, 0
    ) as tap:
        with b.inside():
            tap.bind((b.dev[0], 0x0800 if family == socket.AF_INET else 0x86DD))
        with a.inside():
            sock.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, dev.encode() + b"\0")
        whole = tcp_segment((source, 40000, address, port), 1000, 2000, payload=payload)
        sock.sendto(whole[20 if family == socket.AF_INET else 40 :], (address, 0))
        tap.settimeout(0.5)
        end = time.monotonic() + 0.5
        with contextlib.suppress(TimeoutError):
            while time.monotonic() < end:
                if tap.recv(2000).endswith(payload):
                    return True
    return False


def syn_options(packets):
    """Options of the SYNs among captured packets."""
    return [p.options for p in packets if p.flags & 0x12 == 2]


def mss_of(options):
    """The MSS among options of a SYN."""
    return struct.unpack("!H", options[2])[0]


# --- what mpipctl says -----------------------------------------------------------


def told(paths):
    """What is missing in mpipctl's answer to: how does each path get through, and why do others not?"""
    for path in paths:
        name = f"{path.get('local')} to {path.get('remote')} ({path['state']})"
        if path["state"] == "active" and not any(path.get(key) for key in WAYS):
            return f"mpipctl does not say how path {name} gets through"
        if path["state"] != "active" and not any(path.get(key) for key in REASONS):
            return f"mpipctl does not say why path {name} does not get through"
    return None if paths else "mpipctl knows no path"
