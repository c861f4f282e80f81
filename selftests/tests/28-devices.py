# SPDX-License-Identifier: GPL-2.0
"""Paths over devices of all kinds, and what applications do to their sockets."""

import contextlib
import os
import select
import shutil
import socket
import tempfile
import threading

from lib import Link, case
from lib.net import settle
from tools import udpcount, xfer

# How to put a device on top of another, with the addresses of that one: lines for `ip`.
KINDS = {
    "VLAN": ("link add link {dev} name {new} type vlan id 7",),
    "macvlan": ("link add link {dev} name {new} type macvlan mode bridge",),
    "ipvlan": ("link add link {dev} name {new} type ipvlan mode l2",),
    "bridge": ("link add {new} type bridge forward_delay 0", "link set {dev} master {new}"),
    "bond": (
        "link add {new} type bond mode active-backup miimon 100",
        "link set {dev} down",
        "link set {dev} master {new}",
    ),
}


def crown(host, n, kind, prefix):
    """Put a device on top of a host's; it takes the addresses over."""
    dev, new = host.dev[n], f"{prefix}{n + 1}"
    host.ip(
        [f"addr flush dev {dev}"]
        + [line.format(dev=dev, new=new) for line in KINDS[kind]]
        + [
            f"link set {dev} up",
            f"link set {new} up",
            f"addr add {host.addr[n]}/24 dev {new}",
            f"addr add {host.addr6[n]}/64 dev {new} nodad",
        ]
    )
    host.dev[n] = new


def both_carry(t, a, b, family):
    """TCP and UDP use both paths, and nothing is lost or altered."""
    y = (b.addr if family == 4 else b.addr6)[0]
    pairs = xfer.connect(a, b, y)
    t.spread(a, b, pairs)
    before = a.counters()
    xfer.exchange(pairs, 4 << 20, 4 << 20, timeout=40)
    shares = t.shares(a, before)
    t.note(f"TCP: shares {shares}")
    t.reaches(min(shares), 0.1, "TCP: share of the lesser path")
    xfer.close(pairs)
    x = (a.addr if family == 4 else a.addr6)[0]
    for host in (a, b):
        t.module.set(host, scheduler="weighted")
    sockets = udpcount.pair(a, b, x, y)
    sent = 0

    def send(count):
        nonlocal sent
        for sock, stream in zip(sockets, (1, 2)):
            udpcount.send(sock, None, stream, count, (20, 1400), 2000, sent)
        sent += count

    at_a, at_b = udpcount.Receiver(sockets[0], 2), udpcount.Receiver(sockets[1], 1)

    def used():
        before = a.counters()
        send(50)
        return min(t.shares(a, before)) >= 0.1

    t.soon(used, 20, "UDP on both paths")
    send(600)
    for receiver in (at_a, at_b):
        receiver.settle(sent, 5)
        t.check(receiver.exact(sent), f"UDP: {receiver.result(sent)}")


for pair, family in ((("VLAN", "bridge"), 4), (("macvlan", "bond"), 6), (("ipvlan", "VLAN"), 4)):

    @case(f"one path over a {pair[0]}, one over a {pair[1]}, IPv{family}", timeout=100)
    def stacked(t, pair=pair, family=family):
        a, b = t.two_hosts([Link(rate="50mbit", delay="1ms")] * 2)
        for n, kind in enumerate(pair):
            crown(a, n, kind, "x")
            if kind == "VLAN":
                # A tag is for both ends.
                crown(b, n, kind, "y")
        settle((a, b), [(a, x, b, y) for x, y in zip(a.addr + a.addr6, b.addr + b.addr6)])
        t.load(a, b)
        both_carry(t, a, b, family)


class Switch:
    """Open vSwitch in a namespace, with a bridge for each link."""

    def __init__(self, host, folder):
        self.host, self.folder = host, folder
        self.env = {
            "OVS_RUNDIR": self.folder,
            "OVS_DBDIR": self.folder,
            "OVS_LOGDIR": self.folder,
            "OVS_SYSCONFDIR": "/etc",
            "PATH": os.environ["PATH"],
        }
        database = f"{self.folder}/conf.db"
        self.run("ovsdb-tool", "create", database, "/usr/share/openvswitch/vswitch.ovsschema")
        socket_name = f"punix:{self.folder}/db.sock"
        self.run("ovsdb-server", database, f"--remote={socket_name}", "--detach", "--no-chdir", "--pidfile")
        self.control("--no-wait", "init")
        self.run("ovs-vswitchd", f"unix:{self.folder}/db.sock", "--detach", "--no-chdir", "--pidfile")

    def run(self, *argv):
        """A command of Open vSwitch."""
        return self.host.run("env", *(f"{k}={v}" for k, v in self.env.items()), *argv)

    def control(self, *argv):
        """ovs-vsctl."""
        return self.run("ovs-vsctl", f"--db=unix:{self.folder}/db.sock", "--timeout=20", *argv)

    def flows(self, bridge, *lines):
        """Replace the flows of a bridge."""
        self.run("ovs-ofctl", "del-flows", bridge)
        for line in lines:
            self.run("ovs-ofctl", "add-flow", bridge, line)


STATEFUL = ["priority=20,arp,actions=normal", "priority=20,icmp6,actions=normal", "priority=1,actions=drop"]
for family in ("ip", "ipv6"):
    STATEFUL += [
        f"priority=10,{family},ct_state=-trk,actions=ct(table=1)",
        f"table=1,priority=10,{family},ct_state=+trk+inv,actions=drop",
        f"table=1,priority=9,{family},ct_state=+trk+new,in_port=1,actions=ct(commit),normal",
        f"table=1,priority=9,{family},ct_state=+trk+est,actions=normal",
        f"table=1,priority=9,{family},ct_state=+trk+rel,actions=normal",
    ]


@case("Open vSwitch on both links; on one it follows connections and lets only A begin them", timeout=120)
def open_vswitch(t):
    a, b, wires = t.switched([Link(rate="50mbit", delay="1ms")] * 2)
    host = t.hosts[-1]
    folder = tempfile.mkdtemp()
    t.defer(shutil.rmtree, folder)
    switch = Switch(host, folder)
    for i in (1, 2):
        host.ip([f"link set sa{i} nomaster", f"link set sb{i} nomaster", f"link del br{i}"])
        switch.control(
            "add-br", f"ovs{i}", "--", "add-port", f"ovs{i}", f"sa{i}", "--", "add-port", f"ovs{i}", f"sb{i}"
        )
        host.ip([f"link set ovs{i} up"])
        switch.control("set", "interface", f"sa{i}", "ofport_request=1")
    switch.flows("ovs2", *STATEFUL)
    settle((a, b), [(a, x, b, y) for x, y in zip(a.addr + a.addr6, b.addr + b.addr6)])
    t.load(a, b)
    both_carry(t, a, b, 4)
    t.note(switch.run("ovs-ofctl", "dump-flows", "ovs2").stdout)


def tcp_pair(t, a, b):
    """A connection that is a session with two lanes."""
    pairs = xfer.connect(a, b, b.addr[0])
    t.spread(a, b, pairs)
    return pairs[0]


def receive(sock, count):
    """So many bytes."""
    parts = []
    while count and (data := sock.recv(min(count, 1 << 16))):
        parts.append(data)
        count -= len(data)
    return b"".join(parts)


@case("zero copy, sendfile and splice: every byte over both paths", timeout=100)
def zero_copy(t):
    a, b = t.two_hosts([Link(rate="50mbit", delay="1ms")] * 2)
    t.load(a, b)
    near, far = tcp_pair(t, a, b)
    near.settimeout(30)
    far.settimeout(30)
    data = xfer.Source(5).read(4 << 20)
    near.setsockopt(socket.SOL_SOCKET, 60, 1)  # SO_ZEROCOPY

    def by_message():
        view = memoryview(data)
        while view:
            with contextlib.suppress(BlockingIOError):
                view = view[near.send(view[: 1 << 16], 0x4000000) :]  # MSG_ZEROCOPY
            with contextlib.suppress(BlockingIOError):
                near.recvmsg(0, 1000, socket.MSG_ERRQUEUE | socket.MSG_DONTWAIT)

    def by_file():
        with tempfile.TemporaryFile() as file:
            file.write(data)
            file.flush()
            done = 0
            while done < len(data):
                done += os.sendfile(near.fileno(), file.fileno(), done, len(data) - done)

    def by_splice():
        source, sink = os.pipe()
        with tempfile.TemporaryFile() as file:
            file.write(data)
            file.seek(0)
            done = 0
            while done < len(data):
                n = os.splice(file.fileno(), sink, 1 << 16)
                while n:
                    moved = os.splice(source, near.fileno(), n)
                    done += moved
                    n -= moved
        os.close(source)
        os.close(sink)

    for way in (by_message, by_file, by_splice):
        near.setblocking(True)
        before = a.counters()
        sender = threading.Thread(target=way)
        sender.start()
        t.check(receive(far, len(data)) == data, f"{way.__name__}: every byte")
        sender.join()
        t.reaches(min(t.shares(a, before)), 0.1, f"{way.__name__}: share of the lesser path")


@case("urgent data, half-closed ends and tiny writes", timeout=60)
def odd(t):
    a, b = t.two_hosts([Link(rate="50mbit", delay="1ms"), Link(rate="50mbit", delay="8ms")])
    t.load(a, b)
    near, far = tcp_pair(t, a, b)
    for sock in (near, far):
        sock.settimeout(20)
    far.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    data = xfer.Source(6).read(60_000)
    urgent = []

    def talk():
        for at in range(0, len(data), 60):
            near.send(data[at : at + 60], socket.MSG_OOB if at % 6000 == 0 else 0)
        near.shutdown(socket.SHUT_WR)

    sender = threading.Thread(target=talk)
    sender.start()
    if select.select([], [], [far], 20)[2]:
        urgent.append(True)
    t.check(receive(far, len(data)) == data, "urgent data in line, in its place")
    t.equal(far.recv(1), b"", "the end of the stream")
    sender.join()
    t.check(urgent, "the socket heard of urgent data")
    back = xfer.Source(7).read(1 << 20)
    sender = threading.Thread(target=lambda: (far.sendall(back), far.close()))
    sender.start()
    t.check(receive(near, len(back)) == back, "the other half goes on")
    t.equal(near.recv(1), b"", "and ends")
    sender.join()


@case("TCP Fast Open: data in the SYN arrives once", timeout=60)
def fast_open(t):
    a, b = t.two_hosts(2)
    for host in (a, b):
        host.sysctl("net/ipv4/tcp_fastopen", 3)
    t.load(a, b)
    xfer.transfer(a, b, b.addr[0], 10_000, 10_000)
    data = xfer.Source(8).read(300_000)
    with b.socket() as listener:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 5)
        listener.bind((b.addr[0], 7000))
        listener.listen(5)
        for n in range(4):
            near = a.socket()
            sent = near.sendto(data[:500], 0x20000000, (b.addr[0], 7000))  # MSG_FASTOPEN
            far, _ = listener.accept()
            far.settimeout(20)
            sender = threading.Thread(target=near.sendall, args=(data[sent:],))
            sender.start()
            t.check(receive(far, len(data)) == data, f"connection {n}: every byte")
            sender.join()
            near.close()
            far.close()
    t.at_least(b.snmp("TCPFastOpenPassive"), 1, "connections with data in the SYN")
