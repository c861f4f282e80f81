# SPDX-License-Identifier: GPL-2.0
"""Network namespaces as hosts, veth pairs as cables, netem as the bad weather.

Starting a program costs a quarter of a second in an emulated VM, so namespaces
are made with system calls, and what takes many lines goes through `ip -batch` and
`tc -batch`.

  two_hosts(n)                            routed()

   hA            hB                        hA           rt           hB
  +----+  10.0.1.0/24  +----+             +----+      +----+      +----+
  | a1 |---------------| b1 |             | a1 |------| ra1|      |    |
  |    |  10.0.2.0/24  |    |             | .1.|      |    |------| b1 |
  | a2 |---------------| b2 |             | a2 |------|    |------| b2 |
  +----+      ...      +----+             +----+      +----+      +----+
  host A is .1 and fd00:i::1              10.1.i.2/24 at A, 10.2.i.2/24 at B,
  host B is .2 and fd00:i::2              every A address reaches every B one
"""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
from dataclasses import dataclass

from .process import Busy, NetemError, command, wait_for
from .rtnl import Rtnl, set_offload

CLONE_NEWNET = 0x40000000
MS_BIND = 4096
NETNS_DIR = "/run/netns"

_libc = ctypes.CDLL(None, use_errno=True)

__all__ = [
    "Busy",
    "Host",
    "Link",
    "NetemError",
    "cable",
    "command",
    "queue_limit",
    "routed",
    "set_offload",
    "settle",
    "two_hosts",
    "wait_for",
]


@dataclass
class Link:
    """Properties of one cable. Delay, loss and so on apply to each direction.

    `netem` is added verbatim to the qdisc's arguments; `limit` is how many packets
    it may hold, those that it delays included; without one there is a queue of 100 ms
    besides these. `burst` is how many segments a socket hands over as one packet at most
    (0: what the kernel likes); without offloads they are still one packet in the queue.
    `back` overrides the properties of the way from B to A.
    """

    rate: str = ""
    delay: str = ""
    netem: str = ""
    limit: int = 0
    mtu: int = 1500
    offload: bool = True
    burst: int = 0
    back: "Link | None" = None

    def qdisc(self):
        """Arguments of netem, or nothing when the link is ideal."""
        args = []
        if self.delay:
            args += ["delay", self.delay]
        if self.rate:
            args += ["rate", self.rate]
        if self.netem:
            args += [self.netem]
        if args:
            args += ["limit", str(self.room())]
        return " ".join(args)

    def room(self):
        """Packets that the qdisc may hold."""
        if self.limit or not self.rate:
            return self.limit or 10000
        return queue_limit(self.rate, 0.1 + quantity(self.delay, TIMES))


RATES = {"kbit": 1e3, "mbit": 1e6, "gbit": 1e9}
TIMES = {"us": 1e-6, "ms": 1e-3, "s": 1.0}


def quantity(text, units):
    """A number with a unit, or 0 for nothing."""
    for unit, factor in units.items():
        if text.lower().endswith(unit):
            return float(text[: -len(unit)]) * factor
    if text:
        raise ValueError(text)
    return 0


def queue_limit(rate, seconds=0.1):
    """Packets of 1500 bytes that a link of this rate sends in `seconds`."""
    return max(20, int(quantity(rate, RATES) * seconds / 8 / 1500))


class Host:
    """A network namespace with a name, its devices and addresses."""

    def __init__(self, name):
        self.name = name
        self.dev = []
        self.addr = []
        self.addr6 = []
        os.makedirs(NETNS_DIR, exist_ok=True)
        path = f"{NETNS_DIR}/{name}"
        if os.path.exists(path):
            command("ip", "netns", "del", name)
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        try:
            os.unshare(CLONE_NEWNET)
            try:
                open(path, "w").close()
                if _libc.mount(b"/proc/thread-self/ns/net", path.encode(), None, MS_BIND, None):
                    raise OSError(ctypes.get_errno(), f"mount {path}")
                self.fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            finally:
                os.setns(home, CLONE_NEWNET)
        finally:
            os.close(home)
        self.sysctl("net/ipv6/conf/all/accept_dad", 0)
        self.sysctl("net/ipv6/conf/default/accept_dad", 0)
        # Ports far from those that the tests choose.
        self.sysctl("net/ipv4/ip_local_port_range", "32768 60999")
        with Rtnl(self) as rtnl:
            rtnl.up("lo")

    def __str__(self):
        return self.name

    @contextlib.contextmanager
    def inside(self):
        """The calling thread works in this namespace."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        os.setns(self.fd, CLONE_NEWNET)
        try:
            yield
        finally:
            os.setns(home, CLONE_NEWNET)
            os.close(home)

    def ip(self, lines, *options):
        """Feed lines to `ip -batch` in this namespace."""
        command("ip", *options, "-n", self.name, "-batch", "-", stdin="\n".join(lines) + "\n")

    def tc(self, lines):
        """Feed lines to `tc -batch` in this namespace."""
        command("tc", "-n", self.name, "-batch", "-", stdin="\n".join(lines) + "\n")

    def sysctl(self, path, value=None):
        """Read, or write, a file below /proc/sys as this namespace sees it."""
        with self.inside():
            if value is None:
                with open(f"/proc/sys/{path}", encoding="ascii") as file:
                    return file.read().strip()
            with open(f"/proc/sys/{path}", "w", encoding="ascii") as file:
                file.write(str(value))
        return None

    def merge_slowly(self, dev):
        """Have what came wait for more to be merged with: links of tests are slow."""
        sysfs = f"/sys/class/net/{dev}"
        script = f"mount -t sysfs s /sys && echo 2000000 >{sysfs}/gro_flush_timeout && echo 9 >{sysfs}/napi_defer_hard_irqs"
        self.run("unshare", "-m", "sh", "-c", script)

    def run(self, *argv, check=True, timeout=60):
        """Run a command in this namespace and wait for it."""
        with self.inside():
            return command(*argv, check=check, timeout=timeout)

    def spawn(self, *argv, **kwargs):
        """Start a command in this namespace."""
        kwargs.setdefault("stdout", subprocess.DEVNULL)
        kwargs.setdefault("stderr", subprocess.DEVNULL)
        with self.inside():
            return subprocess.Popen([str(a) for a in argv], **kwargs)

    def socket(self, family=socket.AF_INET, kind=socket.SOCK_STREAM, proto=0):
        """A socket that belongs to this namespace; usable from any thread."""
        with self.inside():
            return socket.socket(family, kind, proto)

    def counters(self):
        """Bytes and packets per device: {dev: (rx_bytes, rx_packets, tx_bytes, tx_packets)}."""
        result = {}
        with self.inside(), open("/proc/thread-self/net/dev", encoding="ascii") as file:
            for line in file.readlines()[2:]:
                dev, _, rest = line.partition(":")
                f = rest.split()
                result[dev.strip()] = (int(f[0]), int(f[1]), int(f[8]), int(f[9]))
        return result

    def snmp(self, name):
        """One counter of /proc/net/snmp or netstat by its name, such as RetransSegs or Tcp:InErrs."""
        group, _, name = name.rpartition(":")
        with self.inside():
            for file in ("snmp", "netstat"):
                with open(f"/proc/thread-self/net/{file}", encoding="ascii") as lines:
                    for keys in lines:
                        values = next(lines)
                        table = dict(zip(keys.split()[1:], values.split()[1:]))
                        if name in table and keys.startswith(group):
                            return int(table[name])
        raise KeyError(name)

    def mac(self, dev):
        """The Ethernet address of a device, as bytes."""
        with self.inside(), self.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
            sock.bind((dev, 0))
            return sock.getsockname()[4]

    def pids(self):
        """Processes whose main thread is in this namespace."""
        me = os.fstat(self.fd).st_ino
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                if os.stat(f"/proc/{pid}/ns/net").st_ino == me and int(pid) != os.getpid():
                    found.append(int(pid))
        return found

    def delete(self):
        """Remove the namespace and end what runs in it."""
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        # Connections that nobody owns any more keep the namespace as long as they try to finish.
        self.sysctl("net/ipv4/tcp_orphan_retries", 1)
        os.close(self.fd)
        path = f"{NETNS_DIR}/{self.name}"
        _libc.umount2(path.encode(), 2)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def _links(links):
    return [Link() for _ in range(links)] if isinstance(links, int) else list(links)


def cable(dev, host, peer, other, mtu):
    """The line for `ip` that makes a veth pair between two hosts."""
    return f"link add {dev} mtu {mtu} netns {host} type veth peer name {peer} mtu {mtu} netns {other}"


def _dress(cables):
    """Give both ends of each cable, as (ends, link), their offloads and impairments."""
    lines = {}
    for ends, link in cables:
        for (host, dev), way in zip(ends, (link, link.back or link)):
            if not link.offload:
                set_offload(host, dev, False)
            if link.burst:
                host.ip([f"link set {dev} gso_max_segs {link.burst}"])
            if args := way.qdisc():
                lines.setdefault(host, []).append(f"qdisc replace dev {dev} root netem {args}")
    for host, some in lines.items():
        host.tc(some)


def settle(hosts, ways):
    """Wait until datagrams get through on every (host, address, host, address) and back.

    IPv6 addresses work only once the carrier has been noticed, which the kernel
    puts off for up to a second unless somebody asks for the device's state.
    """
    for host in hosts:
        with Rtnl(host) as rtnl:
            rtnl.look()
    for one, address_one, other, address_other in ways:
        family = socket.AF_INET6 if ":" in address_one else socket.AF_INET
        with one.socket(family, socket.SOCK_DGRAM) as near, other.socket(family, socket.SOCK_DGRAM) as far:
            near.bind((address_one, 0))
            far.bind((address_other, 0))
            near.settimeout(0.05)
            far.settimeout(0.05)

            def through(source, target):
                source.sendto(b"settle", target.getsockname()[:2])
                try:
                    return target.recv(100)
                except TimeoutError:
                    return None

            what = f"{address_one} and {address_other} to reach each other"
            wait_for(lambda s=near, t=far: through(s, t), 10, what, 0)
            wait_for(lambda s=far, t=near: through(s, t), 10, what, 0)


def two_hosts(links=2, names=("hA", "hB")):
    """Two hosts joined by direct cables; returns them."""
    a, b = Host(names[0]), Host(names[1])
    links = _links(links)
    cables, ends = [], ([], [])
    for i, link in enumerate(links, 1):
        cables.append(cable(f"a{i}", a, f"b{i}", b, link.mtu))
        for n, (host, lines) in enumerate(zip((a, b), ends), 1):
            dev = f"{'ab'[n - 1]}{i}"
            host.dev.append(dev)
            host.addr.append(f"10.0.{i}.{n}")
            host.addr6.append(f"fd00:{i}::{n}")
            lines += [
                f"addr add 10.0.{i}.{n}/24 dev {dev}",
                f"addr add fd00:{i}::{n}/64 dev {dev} nodad",
                f"link set {dev} up",
            ]
    command("ip", "-batch", "-", stdin="\n".join(cables) + "\n")
    a.ip(ends[0])
    b.ip(ends[1])
    settle((a, b), [(a, x, b, y) for x, y in zip(a.addr + a.addr6, b.addr + b.addr6)])
    _dress([(((a, f"a{i}"), (b, f"b{i}")), link) for i, link in enumerate(links, 1)])
    return a, b


def routed(links_a=2, links_b=2):
    """Two hosts behind a router, each with several uplinks; returns A, B and the router.

    Source addresses choose the uplink, so every pair of addresses is a path.
    """
    a, b, r = Host("hA"), Host("hB"), Host("rt")
    for family in ("ipv4", "ipv6"):
        r.sysctl(f"net/{family}/conf/all/forwarding", 1)
    cables, lines_r, setup, dress = [], [], [], []
    for side, host, links in ((1, a, _links(links_a)), (2, b, _links(links_b))):
        lines, rules = [], []
        letter = "ab"[side - 1]
        for i, link in enumerate(links, 1):
            dev, peer = f"{letter}{i}", f"r{letter}{i}"
            host.dev.append(dev)
            host.addr.append(f"10.{side}.{i}.2")
            host.addr6.append(f"fd0{side}:{i}::2")
            cables.append(cable(dev, host, peer, r, link.mtu))
            lines += [
                f"addr add 10.{side}.{i}.2/24 dev {dev}",
                f"addr add fd0{side}:{i}::2/64 dev {dev} nodad",
                f"link set {dev} up",
                f"route add default via 10.{side}.{i}.1 dev {dev} metric {100 + i}",
                f"route add default via 10.{side}.{i}.1 dev {dev} table {i}",
                f"rule add from 10.{side}.{i}.2 table {i}",
                f"route add default via fd0{side}:{i}::1 dev {dev} metric {100 + i}",
                f"route add default via fd0{side}:{i}::1 dev {dev} table {i}",
            ]
            rules.append(f"rule add from fd0{side}:{i}::2 table {i}")
            lines_r += [
                f"addr add 10.{side}.{i}.1/24 dev {peer}",
                f"addr add fd0{side}:{i}::1/64 dev {peer} nodad",
                f"link set {peer} up",
            ]
            dress.append((((host, dev), (r, peer)), link))
        setup.append((host, lines, rules))
    command("ip", "-batch", "-", stdin="\n".join(cables) + "\n")
    r.ip(lines_r)
    for host, lines, rules in setup:
        host.ip(lines)
        host.ip(rules, "-6")
    pairs = [(x, y) for x in a.addr for y in b.addr] + [(x, y) for x in a.addr6 for y in b.addr6]
    settle((a, b, r), [(a, x, b, y) for x, y in pairs])
    _dress(dress)
    return a, b, r
