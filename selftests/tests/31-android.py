# SPDX-License-Identifier: GPL-2.0
"""A phone: Wi-Fi and a modem under Android's routing rules, a VPN, and what becomes of sockets.

A is the phone, a1 its Wi-Fi and a2 its modem; B is a server, both behind a router.
lib/netd.py has the rules. All connections are those of apps: of users other than
root, and marked.
"""

import errno
import socket
import time

from lib import TX_BYTES, case, wireguard
from lib.net import command
from lib.netd import DESTROYED, MARKS, MODEM, WIFI, Physical, Vpn, phone, routes_of
from lib.packet import Capture
from tools import flow, udpcount, xfer

APP, OTHER, GUARDED = 10123, 10124, 10250
GUARDED_USERS = "10200-10299"
VPN = 102
ANCHOR, ANCHOR_TABLE = "10.77.0.2", 77
IN_USE = 40_000  # bytes on an interface that show it is in use
RATE = 1_000_000  # bytes a second
GAP = 1.5  # seconds that Wi-Fi takes at most to be replaced: netd's changes are commands here


def leads_to(up):
    """The line for `ip` that has what is sent from the anchor leave by an interface."""
    return f"route replace default via {up.addresses(1)[0]} dev {up.dev} table {ANCHOR_TABLE}"


def carries(t, stream, host, *devices):
    """Wait until each of these has sent something of the flow."""
    before = host.counters()

    def used():
        t.equal(stream.trouble(), None, "the flow")
        return all(sent(host, dev) - before[dev][TX_BYTES] >= IN_USE for dev in devices)

    t.soon(used, 20, f"{IN_USE} bytes by {' and '.join(devices)}")


def sent(host, dev):
    """Bytes that a device has sent."""
    return host.counters()[dev][TX_BYTES]


def sources(packets):
    """Source addresses of packets."""
    return {p.src for p in packets}


def tcp_spreads(t, p, pairs):
    """Whether both interfaces have their part of some data."""
    before = p.a.counters()
    xfer.exchange(pairs, 500_000, 50_000)
    return min(t.shares(p.a, before)) >= 0.1


@case("the path's own table and source address for each interface, TCP and UDP, IPv4 and IPv6", timeout=90)
def tables(t):
    p = phone(t)
    for host in (p.a, p.b):
        t.module.set(host, scheduler="weighted")
    captures = [Capture(p.a, up.dev, "outbound and (tcp or udp)") for up in p.up]
    for address in (p.b.addr[0], p.b.addr6[0]):
        pairs = [p.netd.connect(p.b, address, APP, p.wifi)]
        t.spread(p.a, p.b, pairs)
        t.soon(lambda x=pairs: tcp_spreads(t, p, x), 20, f"TCP to {address} on both paths")
        xfer.close(pairs)
    near = p.netd.socket(APP, p.wifi, kind=socket.SOCK_DGRAM)
    far = p.b.socket(socket.AF_INET, socket.SOCK_DGRAM)
    near.bind((p.up[0].addresses()[0], 5001))
    far.bind((p.b.addr[0], 5002))
    near.connect(far.getsockname())
    far.connect(near.getsockname())
    receiver = udpcount.Receiver(far, 1)
    total = 0

    def used():
        nonlocal total
        before = p.a.counters()
        udpcount.send(near, None, 1, 50, (200, 1200), 1000, total)
        total += 50
        return min(t.shares(p.a, before)) >= 0.1

    t.soon(used, 20, "UDP on both paths")
    receiver.settle(total, 5)
    t.check(receiver.exact(total), f"UDP: {receiver.result(total)}")
    for up, capture in zip(p.up, captures):
        t.equal(sources(capture.stop()), set(up.addresses()), f"source addresses of what left by {up.dev}")


@case("marks: without `marks` netd's sockets are left alone; a network that was chosen is kept to")
def marks(t):
    p = phone(t)
    t.module.set(p.a, marks=0)
    pairs = [p.netd.connect(p.b, p.b.addr[0], APP, p.wifi)]
    xfer.exchange(pairs, 500_000, 500_000)
    stats = t.module.stats(p.a)
    t.equal(stats["query_tx_syn"] + stats["query_tx_hello"], 0, "questions while every mark counts")
    t.module.set(p.a, marks=MARKS)
    known = [p.netd.connect(p.b, p.b.addr[0], OTHER, p.wifi)]
    t.spread(p.a, p.b, known)
    chosen = [p.netd.connect(p.b, p.b.addr[0], APP, p.cell, port=7100, explicit=True)]
    t.equal(chosen[0][0].getsockname()[0], p.up[1].addresses()[0], "its address")
    wifi = sent(p.a, "a1")
    xfer.exchange(chosen, 2 << 20, 0)
    t.at_most(sent(p.a, "a1") - wifi, 100_000, "bytes by Wi-Fi of a connection that chose the modem")


def watch_for(p, ports):
    """Captures that find TCP segments of these ports on Wi-Fi or the modem, at the phone."""
    words = " or ".join(f"port {port}" for port in ports)
    return [Capture(p.a, up.dev, f"tcp and ({words})") for up in p.up]


@case("a VPN's users never leave it: neither by another path nor while it is down", timeout=90)
def vpn(t):
    p = phone(t)
    net = tunnel(p)
    outside = [p.netd.connect(p.b, p.b.addr[0], OTHER, p.wifi, port=7201)]
    t.spread(p.a, p.b, outside)
    captures = [Capture(p.a, up.dev, "tcp and port 7200") for up in p.up]
    # The second one is known to speak MPIP, and has paths outside.
    for seed, address in ((10, wireguard.ADDRESSES[1]), (20, p.b.addr[0])):
        pairs = [p.netd.connect(p.b, address, GUARDED, net, port=7200)]
        t.equal(pairs[0][0].getsockname()[0], wireguard.ADDRESSES[0], f"source address towards {address}")
        xfer.exchange(pairs, 1 << 20, 1 << 20, seed + 1)
        p.a.ip(["link set wg0 down"])
        stuck = xfer.Traffic(pairs, 100_000, 0, seed + 3, close=False, timeout=30)
        xfer.exchange(outside, 200_000, 200_000, seed + 5)
        p.a.ip(["link set wg0 up", f"route replace default dev wg0 table {net.table}"])
        stuck.wait()
        for session in t.module.sessions(p.a, 7200):
            t.equal(len(session["lane"]), 1, f"lanes of a session inside: {session}")
        xfer.close(pairs)
    leaked = [x for capture in captures for x in capture.stop()]
    for x in leaked[:10]:
        t.note(f"outside: {x.src}:{x.sport} to {x.dst}:{x.dport}, flags {x.flags:#x}, {len(x.payload)} bytes")
    t.equal(len(leaked), 0, "segments outside the tunnel")
    (outer,) = [s for s in t.module.sessions(p.a, protocol=17) if 51820 in (s["local"]["port"], s["remote"]["port"])]
    t.check(len(outer["lane"]) > 1, f"the tunnel itself has several lanes: {outer['lane']}")


@case("a VPN that is switched on takes what was on several paths before", timeout=60)
def vpn_on(t):
    p = phone(t)
    pairs = [p.netd.connect(p.b, p.b.addr[0], GUARDED, p.wifi)]
    t.spread(p.a, p.b, pairs)
    xfer.exchange(pairs, 500_000, 0, seed=5)
    tunnel(p)
    captures = [Capture(p.a, up.dev, "outbound and tcp") for up in p.up]
    inside = sent(p.a, "wg0")
    # It came from an address that is none in there, so nothing comes of it.
    data = xfer.Source(7).read(100_000)
    pairs[0][0].send(data)
    t.wait(lambda: sent(p.a, "wg0") - inside > 5_000, 20, "its data to go into the tunnel")
    # What asks how its old paths do goes on for a moment, and what was sent by them may be sent again.
    seen = [x.payload for capture in captures for x in capture.stop()]
    t.note(f"{sent(p.a, 'wg0') - inside} bytes into the tunnel, {sum(map(len, seen))} outside")
    t.equal([len(x) for x in seen if len(x) >= 64 and x in data], [], "pieces of its data outside the tunnel")
    p.netd.destroy("src", p.up[0].addresses()[0])
    t.equal(destroyed(pairs[0][0]), DESTROYED, "what its socket says then")


def tunnel(p):
    """A VPN to the server for the guarded users, through which all of the Internet is reached."""
    wireguard.join(p.a, p.b)
    # Whatever address the server answers from.
    p.b.ip(["rule add priority 100 to 10.9.0.0/24 lookup main"])
    peer = p.a.run("wg", "show", "wg0", "peers").stdout.strip()
    p.a.run("wg", "set", "wg0", "peer", peer, "allowed-ips", "0.0.0.0/0")
    return p.netd.add(Vpn, VPN, "wg0", ["default"], users=GUARDED_USERS)


def destroyed(sock, timeout=10):
    """The error with which a socket ends, or nothing."""
    sock.settimeout(timeout)
    try:
        while sock.recv(1 << 16):
            pass
    except TimeoutError:
        return None
    except OSError as error:
        return error.errno
    return 0


@case("Wi-Fi goes: a socket with an address that stays lives on, one with Wi-Fi's is destroyed", timeout=90)
def anchor(t):
    p = phone(t)
    wifi, cell = p.up
    addresses = [up.addresses()[0] for up in p.up]
    # Behind each interface it looks like the interface's own address.
    nat = [f'ip saddr {ANCHOR} oifname "{up.dev}" snat to {address}' for up, address in zip(p.up, addresses)]
    chain = "\n".join(("type nat hook postrouting priority srcnat;", *nat))
    with p.a.inside():
        command("nft", "-f", "-", stdin=f"table ip anchor {{\nchain c {{\n{chain}\n}}\n}}\n")
    p.a.ip(
        [
            "link add mpip0 type dummy",
            f"addr add {ANCHOR}/32 dev mpip0",
            "link set mpip0 up",
            # After the rules of VPNs, before those of networks.
            f"rule add priority 15900 from {ANCHOR} iif lo lookup {ANCHOR_TABLE}",
            leads_to(wifi),
        ]
    )
    # The server has the larger port and so would open the session, but sees an address that no
    # socket here has.
    pair = p.netd.connect(p.b, p.b.addr[0], APP, p.wifi, port=61400, source=ANCHOR)
    plain = p.netd.connect(p.b, p.b.addr[0], OTHER, p.wifi)
    stream = flow.Tcp(pair, RATE)
    t.defer(stream.close)
    carries(t, stream, p.a, wifi.dev, cell.dev)

    gone = wifi.wire.pull()
    p.a.ip([leads_to(cell)])
    with p.netd.at_once():
        p.netd.choose(p.cell)
        p.netd.remove(p.wifi)
    p.a.ip([f"addr flush dev {wifi.dev}"])
    p.netd.destroy("src", addresses[0])
    t.equal(destroyed(plain[0]), DESTROYED, "what the socket with Wi-Fi's address says")
    carries(t, stream, p.a, cell.dev)
    gap = stream.gap(gone - 0.05, time.monotonic())[0]
    t.note(f"longest gap {gap * 1e3:.0f} ms")
    t.within(round(gap, 3), GAP, "longest gap of the other one, s")

    wifi.wire.plug()
    four, six = wifi.addresses()
    p.a.ip([f"addr add {four}/24 dev {wifi.dev}", f"addr add {six}/64 dev {wifi.dev} nodad"])
    with p.netd.at_once():
        p.wifi = p.netd.add(Physical, WIFI, wifi.dev, routes_of(wifi))
        p.netd.choose(p.wifi)
    p.a.ip([leads_to(wifi)])
    carries(t, stream, p.a, wifi.dev, cell.dev)
    t.note(f"{stream.stop(20) >> 10} KiB, exact")


@case("the default configuration: a modem by its name is a reserve, and takes over when Wi-Fi falls silent")
def reserve(t):
    p = phone(t, modem=MODEM)
    wifi, cell = p.up
    pair = p.netd.connect(p.b, p.b.addr[0], APP, p.wifi)
    stream = flow.Tcp(pair, RATE)
    t.defer(stream.close)

    def ready():
        t.equal(stream.trouble(), None, "the flow")
        lanes = [lane["state"] for session in t.module.sessions(p.a) for lane in session["lane"]]
        return sorted(lanes) == ["active", "standby"]

    t.soon(ready, 20, "a lane in reserve")
    before, got = p.a.counters(), stream.got()
    t.soon(lambda: stream.got() - got > 2 * RATE, 20, "two seconds' worth of data")
    now = p.a.counters()
    spent = now[cell.dev][TX_BYTES] - before[cell.dev][TX_BYTES]
    t.at_most(spent, IN_USE, "bytes by the modem while Wi-Fi works")
    silent = wifi.wire.silence()
    carries(t, stream, p.a, cell.dev)
    gap = stream.gap(silent, time.monotonic())[0]
    t.note(f"{spent} bytes by the modem before; longest gap {gap * 1e3:.0f} ms")
    t.within(round(gap, 3), GAP, "longest gap when Wi-Fi falls silent, s")
    wifi.wire.heal()

    def rests():
        then = sent(p.a, cell.dev)
        time.sleep(0.5)
        t.equal(stream.trouble(), None, "the flow")
        return sent(p.a, cell.dev) - then < 0.05 * RATE

    t.soon(rests, 20, "Wi-Fi carries all again")
    t.note(f"{stream.stop(20) >> 10} KiB, exact")


@case("SOCK_DESTROY ends a connection on several paths at both ends, and no other", timeout=60)
def destroy(t):
    p = phone(t)
    victim = p.netd.connect(p.b, p.b.addr[0], APP, p.wifi, port=7300)
    other = p.netd.connect(p.b, p.b.addr[0], OTHER, p.wifi, port=7301)
    t.spread(p.a, p.b, [victim, other])
    for host in (p.a, p.b):
        t.module.set(host, close_timeout=1)
    p.netd.destroy("dport", "=", ":7300")
    t.equal(destroyed(victim[0]), DESTROYED, "what the socket says")
    t.equal(destroyed(victim[1]), errno.ECONNRESET, "what the one at the other end says")
    for host in (p.a, p.b):
        t.wait(lambda h=host: not t.module.sessions(h, 7300), 20, f"its session to be forgotten at {host}")
    t.soon(lambda: tcp_spreads(t, p, [other]), 20, "the one that stays to use both paths")
