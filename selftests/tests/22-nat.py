# SPDX-License-Identifier: GPL-2.0
"""NAT boxes and firewalls between the hosts: each shows what it does to plain hosts, then MPIP goes through.

In every case A has two uplinks with a box, or two, on each, and B is a server on
the Internet. First plain TCP and UDP go through each uplink alone and the box
proves to do what it is there for. Then the module is loaded at both ends: the
session goes on byte for byte, all paths that can exist are used, and mpipctl
says how each gets through and why another does not.
"""

import contextlib
import select
import socket
import time

from lib import Failure, Unsteady, active, case, gather, nat
from lib.nat import (
    CHANGES_MSS,
    FIREWALL,
    NO_UDP,
    ONLY_DNS,
    ONLY_HANDSHAKES,
    PLAIN,
    RESTRICTED,
    SHORT,
    SPEECHLESS,
    STRICT_TCP,
    STRIPS_OPTION,
    SYMMETRIC,
)
from lib.packet import Capture, Injector, tcp_segment
from tools import udpcount, xfer

MIB = 1 << 20
# The end with the larger port opens the session: A over IPv4, B over IPv6.
PORT = {4: 7000, 6: 61000}
PATIENCE = 8  # seconds until all paths are up
LEAST = 0.05  # part of the bytes that a path in use carries at least
MEASURED = 34  # seconds: for so long, or less, heartbeats measure the paths of an idle session
DATAGRAMS, SIZE, RATE = 1200, (20, 1400), 1500


def build(t, boxes, **options):
    """The world of a case."""
    made = nat.natted(boxes, **options)
    t.hosts += made.hosts
    return made


# --- plain hosts and the boxes themselves ------------------------------------------


def plain(t, n, family, udp=True):
    """Plain TCP and UDP get through each uplink."""
    target = n.target(family)
    for dev in n.a.dev:
        pairs = [nat.connect(n.a, dev, n.b, target)]
        xfer.Traffic(pairs, 300_000, 300_000, timeout=20).wait()
        xfer.close(pairs)
        source = nat.answers(n.a, dev, n.b, target, 7777, 0.5)
        if udp or dev == n.a.dev[0]:
            t.check(source, f"plain UDP through {dev} gets an answer")
            translated = source[0] not in n.a.addr + n.a.addr6
            t.equal(
                translated, bool(n.gates[n.a.dev.index(dev)][0].box.nat), f"{dev}: address was translated"
            )
        else:
            t.equal(source, None, f"plain UDP through {dev}")


def keeps_port(t, n, family, want):
    """Whether the mapping's port is the same for two destinations, and that of the socket."""
    for dev in n.a.dev:
        kind = nat.family_of(n.target(family))
        ports = []
        with nat.bound(n.a, dev, kind, socket.SOCK_DGRAM) as near:
            near.bind(("", 5555))
            for port in (7001, 7002, 7003):
                with n.b.socket(kind, socket.SOCK_DGRAM) as far:
                    far.bind((n.target(family), port))
                    far.settimeout(2)
                    near.sendto(b"x", (n.target(family), port))
                    ports.append(far.recvfrom(10)[1][1])
        t.note(f"{dev}: port 5555 is seen as {ports}")
        t.equal(ports == [5555] * 3, want, f"{dev}: port kept for all destinations")
        if not want:
            t.equal(len(set(ports)), 3, f"{dev}: different ports for three destinations")


def filters(t, n, family, want_open):
    """Whether a stranger's datagram to a mapping's port gets in."""
    kind = nat.family_of(n.target(family))
    with nat.bound(n.a, "a2", kind, socket.SOCK_DGRAM) as near, n.b.socket(kind, socket.SOCK_DGRAM) as far:
        far.bind((n.target(family), 7001))
        near.bind(("", 5555))
        far.settimeout(2)
        near.settimeout(0.5)
        near.sendto(b"x", (n.target(family), 7001))
        source = far.recvfrom(10)[1]
        with n.b.socket(kind, socket.SOCK_DGRAM) as stranger:
            stranger.bind((n.target(family), 7999))
            stranger.sendto(b"let me in", source[:2])
            try:
                got = near.recv(100)
            except TimeoutError:
                got = None
    t.equal(got is not None, want_open, "a datagram from another port of B gets in")


def strays(t, n, family, want):
    """Whether each uplink lets a TCP segment without a handshake out."""
    for dev in n.a.dev:
        got = nat.stray_segment(n.a, dev, n.b, n.target(family), 7100)
        t.equal(got, want, f"{dev}: a segment without a handshake gets out")


def option_is_gone(t, n, family):
    """A SYN with option 253 arrives without it."""
    source = (n.a.addr if family == 4 else n.a.addr6)[0]
    capture = Capture(n.b, "b1", "tcp")
    option = bytes((253, 12)) + b"MP" + bytes(8)
    gate = n.gates[0][0]
    syn = tcp_segment((source, 40001, n.target(family), 7200), 1, 0, 2, options=option)
    Injector(n.a, "a1", gate.mac("lan")).send(syn)
    time.sleep(0.3)
    (options,) = nat.syn_options(capture.stop())
    t.check(253 not in options, f"options of the SYN at B: {options}")


def mss_is_changed(t, n, family):
    """The SYN of a plain connection arrives with another MSS."""
    capture = Capture(n.b, "b1", "tcp")
    xfer.close([nat.connect(n.a, "a1", n.b, n.target(family))])
    sizes = {nat.mss_of(options) for options in nat.syn_options(capture.stop())}
    t.equal(sizes, {1200}, "MSS at B")


# --- with the module ----------------------------------------------------------------


class Count:
    """What the uplinks carry from now on."""

    def __init__(self, n):
        self.n = n
        self.start = n.carried()

    def shares(self):
        """The part of the bytes that each uplink has had."""
        grown = [now - then for now, then in zip(self.n.carried(), self.start)]
        return [round(part / max(1, sum(grown)), 3) for part in grown]


def in_use(count):
    """How many uplinks are."""
    return sum(part >= LEAST for part in count.shares())


def check_shares(t, count, paths, what):
    """So many uplinks are in use."""
    shares = count.shares()
    t.note(f"{what}: shares of the uplinks {shares}")
    t.reaches(in_use(count), paths, f"{what}: uplinks in use, of shares {shares}")


def lanes(t, n, protocol):
    """On how many paths that answer the session has active lanes at each end, at least."""
    counts = []
    for host in (n.a, n.b):
        paths, sessions = t.module.paths_and_sessions(host, protocol=protocol)
        good = {path["id"] for path in paths if path["state"] == "active" and path["srtt_us"]}
        counts.append(max((len({lane["path"] for lane in active(s)} & good) for s in sessions), default=0))
    return min(counts)


def tcp(t, n, family, paths=2, pairs=None):
    """A TCP session over all paths; returns its sockets."""
    pairs = pairs or xfer.connect(n.a, n.b, n.target(family), PORT[family])
    end = time.monotonic() + PATIENCE
    seed = 100
    while lanes(t, n, 6) < paths:
        seed += 2
        xfer.exchange(pairs, 20_000, 20_000, seed, timeout=20)
        if time.monotonic() > end:
            raise Unsteady(f"TCP: {lanes(t, n, 6)} active lanes after {PATIENCE} s, want {paths}")
    count = Count(n)
    took = xfer.exchange(pairs, 3 * MIB, 3 * MIB, timeout=40)
    t.note(f"TCP: 2 x 3 MiB in {took:.2f} s")
    check_shares(t, count, paths, "TCP")
    return pairs


def udp(t, n, family, paths=2):
    """A UDP session over all paths; returns its sockets."""
    for host in (n.a, n.b):
        # By weight all paths are used, however little there is to send.
        t.module.set(host, scheduler="weighted")
    sockets = nat.udp_pair(n.a, n.b, n.target(family))
    stream = [100]
    end = time.monotonic() + PATIENCE
    while paths > 1 and lanes(t, n, 17) < paths:
        both_ways(t, sockets, stream, 40, 300, 800)
        if time.monotonic() > end:
            raise Unsteady(f"UDP: {lanes(t, n, 17)} active lanes after {PATIENCE} s, want {paths}")
    while True:
        # Where boxes drop what a session says on its own tuple it first has to find another one.
        count = Count(n)
        both_ways(t, sockets, stream, DATAGRAMS, SIZE, RATE)
        if in_use(count) >= paths or time.monotonic() > end:
            break
    check_shares(t, count, paths, "UDP")
    return sockets


def both_ways(t, sockets, stream, amount, size, rate):
    """Datagrams both ways, each exactly once."""
    stream[0] += 2
    ids = stream[0], stream[0] + 1
    receivers = [udpcount.Receiver(sock, n) for sock, n in zip(reversed(sockets), ids)]
    senders = [udpcount.Sender(sock, None, n, amount, size, rate) for sock, n in zip(sockets, ids)]
    counts = [sender.wait() for sender in senders]
    # Both, also if the first one is not exact: who goes on reading takes what others wait for.
    for receiver, sent in zip(receivers, counts):
        receiver.settle(sent, 5, quiet=0.1)
    for receiver, sent, who in zip(receivers, counts, "BA"):
        if not receiver.exact(sent):
            raise Failure(f"UDP: exactly once at {who}: {receiver.result(sent)}")


def multipath(t, n, family):
    """TCP and UDP with the module at both ends. Each is tried even if the other fails."""
    t.load(n.a, n.b)
    failures = []
    for run in (tcp, udp):
        try:
            run(t, n, family)
        except (Failure, xfer.Mismatch, TimeoutError, OSError) as error:
            failures.append(error)
    with contextlib.suppress(Exception):
        t.note(t.module.ctl(n.a, "-d", "path").stdout)
    reason = nat.told(t.module.show(n.a, "-d path"))
    if reason:
        failures.append(Failure(reason))
    t.check(not failures, *gather(failures))


# --- the cases ----------------------------------------------------------------------


def declare(name, boxes, families, proof=None, plain_udp=True, long=None, **options):
    """Cases of one arrangement of boxes."""
    for family in families:

        @case(f"{name}, IPv{family}", timeout=100, long=long)
        def one(t, family=family):
            n = build(t, boxes, **options)
            plain(t, n, family, plain_udp)
            if proof:
                proof(t, n, family)
            multipath(t, n, family)


def is_cone(t, n, family):
    keeps_port(t, n, family, True)
    filters(t, n, family, True)


def is_restricted(t, n, family):
    keeps_port(t, n, family, True)
    filters(t, n, family, False)


def is_symmetric(t, n, family):
    keeps_port(t, n, family, False)


def is_strict(t, n, family):
    strays(t, n, family, False)


def adds_strict(t, n, family):
    got = nat.stray_segment(n.a, "a2", n.b, n.target(family), 7100)
    t.equal(got, False, "a segment without a handshake gets out of the added uplink")


def is_firewall(t, n, family):
    strays(t, n, family, False)
    filters(t, n, family, False)


def is_loose(t, n, family):
    strays(t, n, family, True)


declare("NAT that maps and filters whatever the destination", [[PLAIN], [PLAIN]], (4, 6), is_cone)
declare("NAT that lets only answers in", [[RESTRICTED], [RESTRICTED]], (4, 6), is_restricted)
declare("NAT with a port for each destination", [[SYMMETRIC], [SYMMETRIC]], (4, 6), is_symmetric)
declare("two NATs in a row", [[RESTRICTED, RESTRICTED], [SYMMETRIC, RESTRICTED]], (4, 6), long=True)
declare("the same private addresses behind both NATs", [[RESTRICTED]] * 2, (4, 6), same=True, long=True)
declare("no TCP without a handshake", [[STRICT_TCP], [STRICT_TCP]], (4, 6), is_strict)
declare("option 253 is stripped", [[STRIPS_OPTION], [STRIPS_OPTION]], (4, 6), option_is_gone, long=True)
declare("the MSS is changed", [[CHANGES_MSS], [CHANGES_MSS]], (4, 6), mss_is_changed, long=True)
declare("a stateful firewall without translation", [[FIREWALL], [FIREWALL]], (4, 6), is_firewall)
declare("NAT, and a server with two addresses", [[RESTRICTED], [SYMMETRIC]], (4, 6), links_b=2, long=True)
declare("NAT of one uplink only", [[FIREWALL], [RESTRICTED]], (4, 6), long=True)
# The box is on the added path only: plain UDP has to have a way of its own.
declare(
    "unknown UDP is dropped on the added path", [[RESTRICTED], [NO_UDP]], (4, 6), is_loose, plain_udp=False
)
declare(
    "unknown UDP is dropped on the added path, TCP without a handshake, too",
    [[RESTRICTED], [ONLY_HANDSHAKES]],
    (4, 6),
    adds_strict,
    plain_udp=False,
)


def one_way(t, family):
    """Datagrams one way, from A: B is known from a TCP session."""
    n = build(t, [[RESTRICTED], [RESTRICTED]])
    t.load(n.a, n.b)
    xfer.transfer(n.a, n.b, n.target(family), 100_000, 100_000)
    for host in (n.a, n.b):
        t.module.set(host, scheduler="weighted")
    near, far = nat.udp_pair(n.a, n.b, n.target(family))
    receiver = udpcount.Receiver(far, 9)
    sent = 0

    def send(count):
        nonlocal sent
        sent += udpcount.send(near, None, 9, count, 1000, 800, sent)

    t.soon(lambda: send(20) or lanes(t, n, 17) >= 2, PATIENCE, "a session over both NATs")
    count = Count(n)
    send(DATAGRAMS)
    receiver.settle(sent, 5)
    t.check(receiver.exact(sent), f"exactly once: {receiver.result(sent)}")
    t.equal(receiver.senders, {far.getpeername()[:2]}, "who the datagrams come from")
    check_shares(t, count, 2, "UDP")


for FAMILY in (4, 6):

    @case(
        f"datagrams go one way only, to a peer known from a TCP session, through NATs, IPv{FAMILY}",
        timeout=100,
    )
    def one_way_case(t, family=FAMILY):
        one_way(t, family)


def on_the_wire(t, run, family, encap, offload):
    """All lanes travel as `encap` says, to the port that is set, with bursts cut or whole."""
    port = 4443
    protocol = "udp" if encap == "udp" else "tcp"
    n = build(t, [[RESTRICTED], [RESTRICTED]])
    for host in (n.a, n.b):
        for dev in host.dev if not offload else ():
            host.run("ethtool", "-K", dev, "tso", "off", "gso", "off", "gro", "off")
    t.load(n.a, n.b)
    for host in (n.a, n.b):
        t.module.set(host, encap=encap, port=port)
    capture = Capture(n.b, n.b.dev[0], f"{protocol} port {port}")
    run(t, n, family)
    seen = capture.stop()
    data = sum(len(p.payload) for p in seen if p.dport == port)
    t.at_least(data, MIB // 2, f"bytes to port {port} in {protocol}")
    ways = {path["way"] for path in t.module.paths(n.a) if path["state"] == "active"}
    t.equal(ways, {encap}, "how the paths are used")


for cell in ((tcp, 4, "udp", True), (tcp, 6, "udp", False), (tcp, 6, "tcp", False), (tcp, 4, "tcp", True), (udp, 4, "tcp", True)):

    @case(
        f"{cell[0].__name__.upper()} IPv{cell[1]}: encap={cell[2]}, another port, offloads "
        f"{'on' if cell[3] else 'off'}: as it says on the wire",
        timeout=100,
        long=cell[0] == tcp and cell[1] == 4,
    )
    def on_the_wire_case(t, cell=cell):
        on_the_wire(t, *cell)


def goes_on(t, pairs, sockets):
    """TCP and UDP work, whichever paths they have."""
    xfer.exchange(pairs, MIB, MIB, seed=50, timeout=20)
    both_ways(t, sockets, [600], 300, 800, 1000)


def sessions(t, n, family):
    """A TCP and a UDP session, known at both ends; their sockets."""
    pairs, sockets = xfer.connect(n.a, n.b, n.target(family), PORT[family]), nat.udp_pair(n.a, n.b, n.target(family))
    for host in (n.a, n.b):
        t.module.set(host, scheduler="weighted")
    stream = [800]

    def known():
        goes_on(t, pairs, sockets)
        both_ways(t, sockets, stream, 40, 300, 800)
        return all(t.module.sessions(host, protocol=kind) for host in (n.a, n.b) for kind in (6, 17))

    t.soon(known, PATIENCE, "both to be sessions at both ends")
    return pairs, sockets


def added(t, n, family):
    """What mpipctl says at A of the path by the second uplink."""
    local = (n.a.addr if family == 4 else n.a.addr6)[1]
    return next((path for path in t.module.show(n.a, "-d path") if path["local"] == local), None)


def not_used(t, n, family, pairs, sockets):
    """The added path cannot exist: all goes on, and mpipctl says why it is not used."""

    def given_up():
        goes_on(t, pairs, sockets)
        path = added(t, n, family)
        return path if path and path["state"] != "active" and nat.told([path]) is None else None

    path = t.soon(given_up, PATIENCE, "mpipctl to say why the added path is not used")
    t.note(f"{path['state']}: {[path.get(key) for key in nat.REASONS]}")
    t.note(t.module.ctl(n.a, "-d", "path").stdout)
    count = Count(n)
    goes_on(t, pairs, sockets)
    t.within(count.shares()[1], LEAST, "share of an uplink that cannot be used")


def becomes_used(t, n, pairs, sockets):
    """The added path can exist from now on, and is used by both sessions that are open."""

    def used():
        return min(lanes(t, n, kind) for kind in (6, 17)) >= 2 or goes_on(t, pairs, sockets)

    t.soon(used, 20, "lanes on both paths")
    stream = [900]
    for what, run in (
        ("TCP", lambda: xfer.exchange(pairs, 2 * MIB, 2 * MIB, seed=60, timeout=20)),
        ("UDP", lambda: both_ways(t, sockets, stream, DATAGRAMS, SIZE, RATE)),
    ):
        end = time.monotonic() + PATIENCE
        while True:
            # Weights are learnt, and a machine that is busy elsewhere teaches them nonsense.
            count = Count(n)
            run()
            if in_use(count) >= 2 or time.monotonic() > end:
                break
        check_shares(t, count, 2, what)


def only_dns(t, family):
    """Nothing gets out of the second uplink but datagrams to port 53: neither do lanes, until that is their port."""
    n = build(t, [[RESTRICTED], [ONLY_DNS]])
    with nat.bound(n.a, "a2", nat.family_of(n.target(family)), socket.SOCK_STREAM) as sock:
        sock.settimeout(1)
        try:
            sock.connect((n.target(family), 7300))
            t.check(False, "plain TCP gets out")
        except TimeoutError:
            pass
    t.load(n.a, n.b)
    ends = sessions(t, n, family)
    not_used(t, n, family, *ends)
    for host in (n.a, n.b):
        t.module.set(host, port=nat.DNS)
    becomes_used(t, n, *ends)


def unwrapped(t, family):
    """With encap=none nothing is wrapped; where only that would help the path is not used, and is once it may be."""
    n = build(t, [[RESTRICTED], [ONLY_HANDSHAKES]])
    t.load(n.a, n.b)
    for host in (n.a, n.b):
        t.module.set(host, encap="none")
    ends = sessions(t, n, family)
    not_used(t, n, family, *ends)
    ways = {path["way"] for path in t.module.paths(n.a) if path["state"] == "active"}
    t.equal(ways, {"raw"}, "how the paths are used")
    for host in (n.a, n.b):
        t.module.set(host, encap="auto")
    becomes_used(t, n, *ends)


for NAME, RUN in (
    ("nothing but DNS gets out of the added uplink: the path is used once that is the port", only_dns),
    ("encap=none, and a box that wants handshakes: the path is used once wrappers are allowed", unwrapped),
):
    for FAMILY in (4, 6):

        @case(f"{NAME}, IPv{FAMILY}", timeout=120)
        def impossible_case(t, run=RUN, family=FAMILY):
            run(t, family)


def drain(sockets, quiet=0.3):
    """Read what is not for anybody, also what is still on its way, until nothing has come for so many seconds."""
    while ready := select.select(sockets, [], [], quiet)[0]:
        for sock in ready:
            sock.recv(65536)


def goes_both_ways(t, sockets, stream):
    """Whether datagrams both ways come exactly once."""
    drain(sockets)
    try:
        both_ways(t, sockets, stream, 200, 500, 1500)
    except (Failure, ConnectionRefusedError):
        # What left by the session's own way before anybody knew met a host without such a socket.
        return False
    return True


def plain_goes_on(t, n, family):
    """Plain TCP: whether it goes on when the NAT of the first uplink has lost its mappings."""
    pairs = xfer.connect(n.a, n.b, n.target(family), PORT[family])
    n.gates[0][0].forget()
    try:
        xfer.exchange(pairs, 100_000, 100_000, timeout=5)
    except (xfer.Mismatch, OSError):
        return False
    xfer.close(pairs)
    return True


def forgets(t, which, boxes, family):
    """A NAT loses its mappings in mid-session; within a bounded time the session uses it again."""
    n = build(t, boxes)
    # The NAT that keeps ports makes the same mapping again, the other one does not.
    t.equal(plain_goes_on(t, n, family), boxes[0] == [RESTRICTED], "plain TCP goes on")
    t.load(n.a, n.b)
    failures = []
    for run, protocol in ((tcp, 6), (udp, 17)):
        name = {6: "TCP", 17: "UDP"}[protocol]
        try:
            ends = run(t, n, family)
            n.gates[which][0].forget()
            start, stream = time.monotonic(), [5000]
            while True:
                count = Count(n)
                if protocol == 6:
                    whole = bool(xfer.exchange(ends, 300_000, 300_000, 7, timeout=20))
                else:
                    whole = goes_both_ways(t, ends, stream)
                if min(count.shares()) >= LEAST and whole:
                    break
                if time.monotonic() - start > 10:
                    raise Unsteady(
                        f"{name}: 10 s after the mapping was lost: "
                        f"shares of the uplinks {count.shares()}, exact {whole}"
                    )
            t.note(f"{name}: both uplinks again after {time.monotonic() - start:.2f} s")
            if protocol == 17:
                drain(ends)
                both_ways(t, ends, stream, 300, 500, 1000)
        except (Failure, xfer.Mismatch, TimeoutError, OSError) as error:
            failures.append(error)
    t.check(not failures, *gather(failures))


for words, gate, uplinks in (
    ("the NAT of the added path forgets its mapping", 1, [[RESTRICTED], [SYMMETRIC]]),
    ("the NAT of the session's own path forgets its mapping", 0, [[RESTRICTED], [SYMMETRIC]]),
    ("the NAT of the session's own path forgets its mapping and makes another", 0, [[SYMMETRIC], [RESTRICTED]]),
    ("the NAT of the added path forgets its mapping, and ICMP errors get lost", 1, [[RESTRICTED], [SPEECHLESS]]),
    ("the box of the added path forgets its connections, and lets in none without a handshake", 1,
     [[RESTRICTED], [ONLY_HANDSHAKES]]),
):
    for ip in (4, 6):

        # The others lose their mappings, and more.
        @case(f"{words}, IPv{ip}", timeout=100, long=words.endswith("its mapping") or None)
        def forgets_case(t, which=gate, boxes=uplinks, family=ip):
            forgets(t, which, boxes, family)


def forgets_many(t, family):
    """Twenty connections lose their mappings at once."""
    n = build(t, [[RESTRICTED], [SPEECHLESS]])
    t.load(n.a, n.b)
    pairs = xfer.connect(n.a, n.b, n.target(family), PORT[family], count=20)

    def heard():
        """What each lane of each session has brought to B."""
        return {
            (session["id"], lane["path"], lane["remote"]["port"]): lane["rx_packets"]
            for session in t.module.sessions(n.b, protocol=6)
            for lane in session["lane"]
        }

    def on_both():
        """How many of the connections B hears on both uplinks."""
        before = heard()
        xfer.exchange(pairs, 100_000, 100_000, 7, timeout=40)
        fresh = {lane[:2] for lane, packets in heard().items() if packets > before.get(lane, 0)}
        sessions = [session for session, _ in fresh]
        return sum(sessions.count(session) > 1 for session in set(sessions))

    t.soon(lambda: on_both() == 20, 20, "twenty connections over both uplinks")
    n.gates[1][0].forget()
    start = time.monotonic()
    t.soon(lambda: on_both() == 20, 15, "all over both again")
    t.note(f"{time.monotonic() - start:.1f} s")


for FAMILY in (4, 6):

    @case(f"the NAT of the added path forgets the mappings of twenty connections at once, IPv{FAMILY}", timeout=100)
    def forgets_many_case(t, family=FAMILY):
        forgets_many(t, family)


def until_answered(t, n, family, idle):
    """Plain UDP: whether B's answer gets back to A through the second uplink after so many idle seconds."""
    kind = nat.family_of(n.target(family))
    with nat.bound(n.a, "a2", kind, socket.SOCK_DGRAM) as near, n.b.socket(kind, socket.SOCK_DGRAM) as far:
        far.bind((n.target(family), 7003))
        far.settimeout(2)
        near.settimeout(0.5)
        near.sendto(b"x", (n.target(family), 7003))
        source = far.recvfrom(10)[1]
        time.sleep(idle)
        far.sendto(b"still there?", source)
        try:
            return near.recv(100) == b"still there?"
        except TimeoutError:
            return False


def kept_alive(t, family):
    """Short mappings, and keep-alives that are shorter still."""
    n = build(t, [[SHORT], [SHORT]])
    t.equal(until_answered(t, n, family, 0.5), True, "plain: B reaches A soon after")
    t.equal(until_answered(t, n, family, 5), False, "plain: B reaches A after 5 s")
    t.load(n.a, n.b)
    for host in (n.a, n.b):
        t.module.set(host, heartbeat="1s", keepalive="2s")
    sockets = udp(t, n, family)
    # Heartbeats measure the paths for 30 s; then there is nothing but keep-alives.
    for stream, idle in ((7000, 5), (7001, 34)):
        time.sleep(idle)
        # B speaks first: nothing of A's makes a mapping anew.
        count = Count(n)
        receiver = udpcount.Receiver(sockets[0], stream)
        sent = udpcount.send(sockets[1], None, stream, 300, 800, 1000)
        receiver.settle(sent, 5)
        t.check(receiver.exact(sent), f"exactly once at A after {idle} idle seconds: {receiver.result(sent)}")
        check_shares(t, count, 2, "UDP from B")


def kept_alive_by_default(t, family):
    """What is sent by sessions in which nobody sends."""
    n = build(t, [[RESTRICTED], [RESTRICTED]])
    t.load(n.a, n.b)
    pairs, sockets = tcp(t, n, family), udp(t, n, family)
    time.sleep(MEASURED)
    captures = [Capture(n.b, dev, "tcp or udp") for dev in n.b.dev]
    start = time.time()
    time.sleep(40)
    flows = {}
    for p in sorted((p for c in captures for p in c.stop()), key=lambda p: p.time):
        if p.dst in n.b.addr + n.b.addr6:
            flows.setdefault((p.protocol, p.src, p.sport), []).append(p.time - start)
    for flow, times in sorted(flows.items()):
        t.note(f"{flow}: after {[round(x, 1) for x in times]} s")
        t.within(max(y - x for x, y in zip([0, *times], [*times, 40])), 17, f"longest silence of {flow}, s")
        t.within(len(times), 9, f"packets of {flow} in 40 s")
    sources = {protocol: {src for p, src, _ in flows if p == protocol} for protocol in (6, 17)}
    t.equal([len(x) for x in sources.values()], [2, 2], f"uplinks that are kept alive, of {sources}")
    # They are as good as before.
    xfer.exchange(pairs, 300_000, 300_000, 5, timeout=20)
    both_ways(t, sockets, [400], 100, 500, 1000)


for FAMILY in (4, 6):

    @case(
        f"mappings that live for 3 s are kept alive in an idle UDP session, measured and not any more, IPv{FAMILY}",
        timeout=120,
    )
    def kept_alive_case(t, family=FAMILY):
        kept_alive(t, family)

    @case(
        f"idle sessions behind boxes keep each mapping alive every 15 s, and send nothing else, IPv{FAMILY}",
        timeout=140,
    )
    def kept_alive_by_default_case(t, family=FAMILY):
        kept_alive_by_default(t, family)
