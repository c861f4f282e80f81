# SPDX-License-Identifier: GPL-2.0
"""Who competes in `make bench`, and how each of them is set up between two hosts.

    with arena.playing(contender) as way:
        ...  # way.connect(), way.prefix, way.address

Whatever a contender needs is there within the block only, so that none of them
disturbs another.
"""

import contextlib
import socket
from dataclasses import dataclass, field, replace

from tools import fetch

from . import wireguard
from .mpip import Mpip, active
from .net import NetemError, wait_for


@dataclass(frozen=True)
class Contender:
    """One way of moving data.

    stack  "tcp", "mptcp", "mpip" or "wireguard"
    path   the link whose addresses the application uses
    paths  MPTCP: subflows; MPIP: paths
    params  parameters of MPIP
    """

    name: str
    stack: str = "tcp"
    path: int = 0
    paths: int = 1
    udp: bool = False
    params: dict = field(default_factory=dict, hash=False)


def mpip(name, scheduler=None, encap="none", paths=2, udp=False):
    """A contender with MPIP."""
    params = {"encap": encap} | ({"scheduler": scheduler} if scheduler else {})
    return Contender(name, "mpip", 0, paths, udp, params)


SCHEDULERS = ("weighted", "earliest")
TCP = [Contender("TCP, path 1"), Contender("TCP, path 2", path=1)]
MPTCP = [Contender("MPTCP, 1 subflow", "mptcp"), Contender("MPTCP", "mptcp", paths=2)]
MPIP_ONE = mpip("MPIP, 1 path", paths=1)
MPIP = MPIP_WEIGHTED, MPIP_DEFAULT = [mpip(f"MPIP {s}", s) for s in SCHEDULERS]
MPIP_IN_UDP = [mpip(f"MPIP {s}, in UDP", s, "udp") for s in SCHEDULERS]
WIREGUARD = Contender("WireGuard, path 1", "wireguard")
UDP = [Contender("UDP, path 1", udp=True), Contender("UDP, path 2", path=1, udp=True)]
UDP_MPIP = [mpip(f"UDP, MPIP {s}", s, udp=True) for s in SCHEDULERS]
ALL = [*TCP, *MPTCP, MPIP_ONE, *MPIP, *MPIP_IN_UDP, WIREGUARD, *UDP, *UDP_MPIP]


@dataclass
class Way:
    """How an application gets from A to B: the address, and what a program is started with."""

    arena: "Arena"
    address: str
    mptcp: bool = False

    @property
    def prefix(self):
        """Words before a command."""
        return ("mptcpize", "run") if self.mptcp else ()

    def connect(self):
        """A connection to the fetch server in B."""
        proto = socket.IPPROTO_MPTCP if self.mptcp else 0
        sock = self.arena.a.socket(socket.AF_INET, socket.SOCK_STREAM, proto)
        sock.settimeout(60)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.connect((self.address, fetch.PORT_MPTCP if self.mptcp else fetch.PORT))
        return sock


class Arena:
    """Two hosts with a server on B, and the module when a contender wants it."""

    def __init__(self, hosts):
        self.hosts = list(hosts)
        self.a, self.b = self.hosts[:2]
        self.module = Mpip()
        self.servers = []
        try:
            self.prepare()
        except BaseException:
            self.close()
            raise

    def prepare(self):
        """Servers, and sysctls that make repeated connections independent of each other."""
        for host in (self.a, self.b):
            host.sysctl("net/mptcp/enabled", 1)
            host.sysctl("net/ipv4/tcp_no_metrics_save", 1)
        self.servers = [fetch.serve(self.b)]

    def close(self):
        """Remove all of it."""
        for server in self.servers:
            server.kill()
            server.wait()
        with contextlib.suppress(NetemError):
            if self.module.loaded():
                self.module.unload()
        for host in self.hosts:
            host.delete()

    @contextlib.contextmanager
    def playing(self, contender):
        """Set the contender up; yields its Way."""
        start = {"tcp": self.tcp, "mptcp": self.mptcp, "mpip": self.mpip, "wireguard": self.wireguard}
        with start[contender.stack](contender) as way:
            yield way

    @contextlib.contextmanager
    def tcp(self, contender):
        """Nothing but the kernel."""
        yield Way(self, self.b.addr[contender.path])

    @contextlib.contextmanager
    def mptcp(self, contender):
        """The kernel's MPTCP. Who has more addresses than the other announces or joins from them."""
        more = contender.paths - 1
        for host in (self.a, self.b):
            host.run("ip", "mptcp", "limits", "set", "subflow", more, "add_addr_accepted", more)
        if more:
            host, kind = (self.b, "signal") if len(self.b.addr) > 1 else (self.a, "subflow")
            host.run("ip", "mptcp", "endpoint", "add", host.addr[1], "dev", host.dev[1], kind)
        try:
            yield Way(self, self.b.addr[0], mptcp=True)
        finally:
            for host in (self.a, self.b):
                host.run("ip", "mptcp", "endpoint", "flush")

    @contextlib.contextmanager
    def mpip(self, contender):
        """The module on both hosts, which know each other already."""
        self.module.load(enabled=0)
        try:
            for host in (self.a, self.b):
                self.module.enable(host)
                self.module.set(host, max_lanes=contender.paths, **contender.params)
            way = Way(self, self.b.addr[0])
            self.acquaint(way, contender.paths)
            yield way
        finally:
            self.module.unload()

    def acquaint(self, way, paths):
        """A little traffic until a connection is a session on so many paths."""

        def spread():
            fetch.ping(sock, 5)
            views = [self.module.sessions(host, protocol=6) for host in (self.a, self.b)]
            return all(any(len(active(s)) >= paths for s in view) for view in views)

        with way.connect() as sock:
            fetch.echo(sock)
            wait_for(spread, 20, f"MPIP to use {paths} paths", 0.05)

    @contextlib.contextmanager
    def wireguard(self, contender):
        """A tunnel over one path."""
        ends = (self.a, self.b)
        try:
            wireguard.join(*ends, contender.path)
            way = Way(self, wireguard.ADDRESSES[1])
            way.connect().close()
            yield way
        finally:
            for host in ends:
                host.run("ip", "link", "del", "wg0", check=False)


def schedulers(host):
    """The module's schedulers, the default one first."""
    module = Mpip()
    module.load(enabled=0)
    try:
        module.enable(host)
        param = module.params(host).get("scheduler")
    finally:
        module.unload()
    if not param:
        return SCHEDULERS[:1]
    default = param["choices"][param["default"] - param["minimum"]]
    return sorted(filter(param["choices"].__contains__, SCHEDULERS), key=lambda name: name != default)


def known(contenders, names):
    """Those contenders whose scheduler the module has; it cannot be told one if it has no choice."""
    found = []
    for c in contenders:
        params = dict(c.params)
        if params.get("scheduler", names[0]) not in names:
            continue
        if len(names) == 1:
            params.pop("scheduler", None)
        found.append(replace(c, params=params))
    return found
