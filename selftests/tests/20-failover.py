# SPDX-License-Identifier: GPL-2.0
"""Cables pulled, silence in the middle, and both coming back, while data flows from A to B.

What is wanted (two paths of 40 Mbit/s and 5 ms each): no gap at the receiver
above 50 ms when a carrier is lost and above 300 ms after silent loss, which is noticed
within 200 ms; the path carries again, and both are as fast as before, within 1 s of its
return. What was measured is in the comments of the TAP output; the checks allow for an
emulated machine.
"""

import re
import socket
import struct
import threading
import time

from lib import RX_BYTES, Link, case
from lib.events import MONITOR, Listener
from lib.wire import BACK, BOTH, THERE
from tools import flow, udpcount, xfer

LINK = Link(rate="40mbit", delay="5ms", limit=150)
CARRIER, NOTICED, SILENT, RETURN = 0.050, 0.200, 0.300, 1.0
# Mbit/s of TCP that fill both paths; and that need both, if the machine is too busy for more
FILLED, BOTH_USED = 68, 44
FULL = 0.95  # of the rate of both paths before the loss, which counts as both again
# So many times the aim is allowed here, and besides what the machine takes when nothing is lost.
NOISE = 2.5
UDP_RATE, UDP_SIZE = 1040, 1200  # 10 Mbit/s
CA_LOSS = 4  # TCP_CA_Loss, of tcp_info
BEFORE = 0.15 * xfer.SLOW  # seconds: older datagrams cannot be in flight
# The end with the larger port opens the session: A over IPv4, B over IPv6.
PORT = {4: 7000, 6: 61000}
NAMES = {6: "TCP", 17: "UDP"}
# Of a TCP flow at full speed and of the UDP flow: bytes on a path that show it is in use
IN_USE = {6: 150_000, 17: 20_000}


def begin(t, protocol, family=4, links=2, link=LINK):
    """A flow from A to B that uses all paths; returns hosts, wires and the flow."""
    a, b, wires = t.switched([link] * links)
    mine, theirs = (a.addr, b.addr) if family == 4 else (a.addr6, b.addr6)
    t.load(a, b)
    if protocol == 6:
        pairs = xfer.connect(a, b, theirs[0], PORT[family])
        t.spread(a, b, pairs, lanes=links)
        stream = flow.Tcp(pairs[0])
    else:
        stream = flow.Udp(udpcount.pair(a, b, mine[0], theirs[0]), UDP_RATE, UDP_SIZE)
    t.defer(stream.close)

    t.soon(
        lambda: t.module.is_spread((a, b), links, protocol=protocol),
        20,
        f"the flow to have {links} active lanes at both ends",
    )
    for dev in b.dev:
        carries(t, b, dev, protocol, 10)
    pause(t, stream, 0.5)
    return a, b, wires, stream


def pause(t, stream, seconds):
    """Let data flow for a while; it may not break."""
    time.sleep(seconds)
    t.equal(stream.trouble(), None, "the flow")


def carries(t, host, dev, protocol, timeout):
    """Wait until a device has received what shows that the path is in use; returns when."""
    start = host.counters()[dev][RX_BYTES]
    t.soon(
        lambda: host.counters()[dev][RX_BYTES] - start >= IN_USE[protocol],
        timeout,
        f"{IN_USE[protocol]} bytes to arrive at {dev}",
    )
    return time.monotonic()


def rate(stream):
    """Mbit/s of the last half second."""
    now = time.monotonic()
    return sum(mbit for _, mbit in stream.rates(now - 0.5, now)) / 5


def fills(t, stream):
    """Wait until the flow fills both paths; whether it does: sender and receiver may not get the time."""
    end = time.monotonic() + 10
    while (mbit := rate(stream)) < FILLED and time.monotonic() < end:
        pause(t, stream, 0.1)
    if mbit < FILLED:
        t.note(f"this machine is too busy to fill both paths: {mbit:.1f} Mbit/s")
        t.reaches(mbit, BOTH_USED, "Mbit/s before the loss")
    return mbit >= FILLED


def undisturbed(stream):
    """The longest gap of the last half second."""
    now = time.monotonic()
    return stream.gap(now - 0.5, now)[0]


def full_again(stream, before, back):
    """How long after the return the flow had been as fast as before the loss for three tenths of a second."""
    rates = [mbit for _, mbit in stream.rates(back, back + RETURN * NOISE)]
    windows = (sum(rates[n : n + 3]) / 3 for n in range(len(rates) - 2))
    return next(((n + 3) / 10 for n, mbit in enumerate(windows) if mbit >= FULL * before), None)


def noticed(t, events, host, lost, family, gone):
    """A host has found that a path is silent, and told so in time."""
    local = (host.addr if family == 4 else host.addr6)[lost]
    told = [event["time_us"] / 1e6 - gone for event in events.having(kind="path-suspect", local=local)]
    after = [round(when, 3) for when in told if when > 0]
    t.check(after, f"{host} tells that the path of {local} is suspect: {told}")
    t.note(f"told to be suspect {after[0] * 1e3:.0f} ms after the loss (aim {NOTICED * 1e3:.0f} ms)")
    t.within(after[0], NOTICED * NOISE, "seconds until the path was suspect")


def finish(t, stream, spans=()):
    """End the flow: exact. Datagrams may be missing only if they were sent in one of the spans.

    Each is (start, when the loss must have been noticed, end of the failure).
    """
    try:
        came = stream.stop()
    except xfer.Mismatch as error:
        t.check(False, error)
    if isinstance(stream, flow.Tcp):
        t.note(f"{came >> 20} MiB, exact")
        return
    missing = stream.missing()
    t.note(f"{came} of {stream.sent()} datagrams, none twice; missing {len(missing)}")
    if missing and len(spans) == 1:
        gone = spans[0][0] + BEFORE
        first, last = ((when - gone) * 1e3 for _, when in (missing[0], missing[-1]))
        t.note(f"those missing were sent {first:+.0f} to {last:+.0f} ms from the loss")
    t.lost_only(missing, spans)


def lose(t, protocol, family, lost, how, side="A", way=BOTH, bound=SILENT):
    """Lose a path in mid-flow, and have it back."""
    a, b, wires, stream = begin(t, protocol, family)
    wire, dev = wires[lost], b.dev[lost]
    filled = protocol == 6 and fills(t, stream)
    events = Listener(t, a, (*MONITOR, "path-suspect")) if how == "silent" else None
    calm = undisturbed(stream)
    gone = wire.pull(side) if how == "carrier" else wire.silence(way)
    pause(t, stream, 1.5)
    if how == "silent":
        noticed(t, events, a, lost, family, gone)
    back = wire.plug(side) if how == "carrier" else wire.heal()
    if way == BACK:
        returned = 0.0  # data never stopped arriving there
    else:
        returned = carries(t, b, dev, protocol, 10) - back
    pause(t, stream, 0.3)
    if filled:
        # So long until TCP fills both paths as before.
        end = back + RETURN * NOISE
        pause(t, stream, max(0.0, end - time.monotonic()))
        before = sum(mbit for _, mbit in stream.rates(gone - 0.5, gone)) / 5
        full = full_again(stream, before, back)
        t.note(f"both paths: {FULL:.0%} of the rate before the loss {full} s after the return (aim {RETURN} s)")
        t.within(full or 99, RETURN * NOISE, f"seconds until {FULL:.0%} of both paths were used again")
    gap, begun = stream.gap(gone - 0.05, back)
    t.note(
        f"longest gap {gap * 1e3:.0f} ms, {(begun - gone) * 1e3:+.0f} ms from the loss "
        f"(aim {bound * 1e3:.0f} ms, undisturbed {calm * 1e3:.0f} ms); carried again "
        f"{returned * 1e3:.0f} ms after the return (aim {RETURN * 1e3:.0f} ms)"
    )
    allowed = bound * NOISE + calm
    # Lost may be what the queue of the link held and what was sent before the loss was noticed.
    finish(t, stream, [(gone - BEFORE, gone + allowed, back)])
    t.within(round(gap, 3), round(allowed, 3), "longest gap without data, s")
    t.within(round(returned, 3), RETURN * NOISE, "time until the path carried again, s")


def declare(protocol, family, lost, how, side="A", way=BOTH, long=False):
    """One case of `lose`."""
    name = f"{NAMES[protocol]} IPv{family}"
    where = ("the session's own", "the added")[lost]
    what = f"carrier loss at {side} of {where} link" if how == "carrier" else f"silent loss of {where} path"
    if way != BOTH:
        what += f", only {way}"
    bound = CARRIER if how == "carrier" else SILENT

    @case(f"{name}: {what}, and its return", timeout=60, long=long)
    def one(t):
        lose(t, protocol, family, lost, how, side, way, bound)


declare(6, 4, 1, "carrier", "A", long=True)
declare(6, 4, 0, "carrier", "A", long=True)
declare(6, 4, 1, "carrier", "B", long=True)
declare(6, 6, 0, "carrier", "B")
declare(6, 4, 1, "silent", long=True)
declare(6, 4, 0, "silent")
declare(6, 6, 0, "silent", way=THERE)
declare(6, 4, 1, "silent", way=BACK)
declare(6, 6, 1, "silent", long=True)
declare(17, 4, 1, "carrier", "A", long=True)
declare(17, 6, 0, "carrier", "B")
declare(17, 4, 1, "silent", long=True)
declare(17, 4, 0, "silent", way=THERE)
declare(17, 4, 1, "silent", way=BACK, long=True)
declare(17, 6, 1, "silent")
declare(17, 4, 0, "carrier", "A", long=True)


@case("30 % loss on the added path: the flow goes on and the good path is used", timeout=60)
def lossy(t):
    _, _, wires, stream = begin(t, 6)
    calm = undisturbed(stream)
    wires[1].dress(0.3)
    start = time.monotonic()
    got = stream.got()
    pause(t, stream, 4)
    mbit = (stream.got() - got) * 8e-6 / (time.monotonic() - start)
    gap = stream.gap(start, time.monotonic())[0]
    wires[1].heal()
    t.note(f"{mbit:.1f} Mbit/s, longest gap {gap * 1e3:.0f} ms")
    finish(t, stream)
    t.reaches(mbit, 20, "Mbit/s, of 40 that the good path alone carries")
    t.within(round(gap, 3), round(SILENT * NOISE + calm, 3), "longest gap, s")


@case("TCP: what a host's own queue has refused is TCP's to send, cut as it likes", timeout=60)
def own_queue(t):
    a, b, wires, stream = begin(t, 6)
    refused = 0
    for n in range(6):
        # TCP hears of it when it sends: it keeps what was not taken, and cuts it anew for its smaller window.
        for dev in a.dev:
            a.run("tc", "qdisc", "replace", "dev", dev, "root", "netem", "limit", "0")
        pause(t, stream, 0.3)
        refused += sum(int(x) for x in re.findall(r"dropped (\d+)", a.run("tc", "-s", "qdisc").stdout))
        for wire in wires:
            wire.pull()
        for dev in a.dev:
            a.run("tc", "qdisc", "del", "dev", dev, "root")
        got = stream.got()
        wires[n % 2].plug()
        t.wait(lambda got=got: stream.got() - got > 500_000, 10, f"data in turn {n}")
        wires[1 - n % 2].plug()
        for dev in b.dev:
            carries(t, b, dev, 6, 10)
    t.note(f"refused {refused} packets")
    t.at_least(refused, 20, "packets that were refused")
    finish(t, stream)


def not_sent(t, service=None):
    """What TCP was told of as not sent it must send itself, whatever is kept of it here."""
    a, b, wires = t.switched([LINK] * 2)
    for n, dev in enumerate(a.dev, 1):
        a.ip([f"route replace 10.0.{n}.0/24 dev {dev} rto_min 1s"])
    if service:
        a.ip([f"route add {service} via {b.addr[0]} rto_min 1s"])
        nat = "add table ip n; add chain ip n c { type nat hook output priority -100; }; "
        a.run("nft", f"{nat} add rule ip n c ip daddr {service} tcp dport {PORT[4]} dnat to {b.addr[0]}")
    t.load(a, b)
    known = xfer.connect(a, b, b.addr[0], PORT[6])
    t.spread(a, b, known)
    with b.socket() as listener:
        listener.bind((b.addr[0], PORT[4]))
        listener.listen(1)
        near = a.socket()
        near.settimeout(10)
        near.connect((service or b.addr[0], PORT[4]))
        far = listener.accept()[0]
        far.settimeout(10)
    near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    pairs = [(near, far)]
    t.spread(a, b, pairs)
    xfer.exchange(pairs, 200_000, 200_000)
    info = lambda: near.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 28)  # noqa: E731
    t.wait(lambda: struct.unpack_from("=I", info(), 24) == (0,), 10, "all to be acknowledged")
    data = xfer.Source(7).read(30_000)
    # One segment is in flight, and is taken for lost. TCP wants to send the others, and may not any more.
    for wire in wires:
        wire.silence()
    near.sendall(data[:1000])
    a.tc([f"qdisc replace dev {dev} root netem limit 0" for dev in a.dev])
    near.sendall(data[1000:])
    t.soon(lambda: info()[1] == CA_LOSS, 10, "TCP's timer")
    refused = sum(int(x) for x in re.findall(r"dropped (\d+)", a.run("tc", "-s", "qdisc").stdout))
    t.at_least(refused, 2, "packets that were refused")
    for wire in wires:
        wire.pull()
    a.tc([f"qdisc del dev {dev} root" for dev in a.dev])
    for wire in wires:
        wire.heal()
    wires[1].plug()
    t.check(xfer.receive(far, len(data), 20) == data, "the data")
    wires[0].plug()
    xfer.exchange(pairs, 200_000, 200_000)


for WHERE, SERVICE in (("", None), (" with NAT of its own", "10.9.9.9")):

    @case(
        f"TCP: what a host{WHERE} has refused is not sent for TCP, which would not take the acknowledgment",
        long=bool(SERVICE),
    )
    def not_sent_case(t, service=SERVICE):
        not_sent(t, service)


def ends(t, family, lost):
    """A path falls silent just before a connection is closed at one end, then the other, and another one is reset."""
    a, b, wires = t.switched([LINK] * 2)
    t.load(a, b)
    pairs = xfer.connect(a, b, (b.addr if family == 4 else b.addr6)[0], PORT[family], count=2)
    t.spread(a, b, pairs)
    xfer.exchange(pairs, 1_000_000, 1_000_000)
    (near, far), (resets, hears) = pairs
    for sock in (near, far, resets, hears):
        sock.settimeout(10)
    wires[lost].silence()
    for seed, one, other in ((5, near, far), (6, far, near)):
        start = time.monotonic()
        data = xfer.Source(seed).read(200_000)
        sender = threading.Thread(target=lambda one=one, data=data: (one.sendall(data), one.shutdown(socket.SHUT_WR)))
        sender.start()
        came = bytearray()
        while piece := other.recv(1 << 16):
            came += piece
        sender.join()
        took = time.monotonic() - start
        t.check(bytes(came) == data, f"every byte before the end: {len(came)} of {len(data)}")
        t.note(f"200 kB and the end after {took * 1e3:.0f} ms")
        t.within(round(took, 3), SILENT * NOISE + 0.25, "seconds until the other end has read to the end")

    port = near.getsockname()[1]

    def left(host, state):
        """Sockets of the connection that are in such a state."""
        rule = f"( sport = :{port} or dport = :{port} )"
        return host.run("ss", "-tnH", "state", state, rule).stdout.strip()

    for sock in (near, far):
        sock.close()
    for state in ("fin-wait-1", "closing", "last-ack", "fin-wait-2", "established"):
        t.soon(lambda state=state: not left(a, state) and not left(b, state), 3, f"no socket in {state}")
    # Whoever goes on sending is told, though the reset itself may have been lost.
    resets.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wires[lost].heal()
    before, seed = b.counters()[b.dev[lost]][RX_BYTES], 8

    def used():
        nonlocal seed
        seed += 2
        xfer.exchange(pairs[1:], 300_000, 300_000, seed=seed, timeout=20)
        return b.counters()[b.dev[lost]][RX_BYTES] - before > IN_USE[6]

    t.soon(used, 10, "the path to be used again")
    wires[lost].silence()
    start = time.monotonic()
    resets.close()
    hears.setblocking(False)

    def told():
        try:
            hears.send(b"anybody there?")
        except (ConnectionResetError, BrokenPipeError):
            return True
        return False

    t.soon(told, 5, "the other end to be reset")
    took = time.monotonic() - start
    t.note(f"reset after {took * 1e3:.0f} ms")
    t.within(round(took, 3), SILENT * NOISE, "seconds until the other end was reset")


for cell in ((4, 0), (4, 1), (6, 0), (6, 1)):
    PLACE = ("the session's own", "the added")[cell[1]]

    @case(
        f"TCP IPv{cell[0]}: {PLACE} path falls silent as connections are closed and reset: all is told",
        timeout=60,
        long=cell != (4, 1),
    )
    def ends_case(t, cell=cell):
        ends(t, *cell)


def flapping(t, protocol, family, lost, how):
    """A path goes and returns again and again: what is noticed counts, and that it is used in between."""
    _, _, wires, stream = begin(t, protocol, family)
    wire, spans = wires[lost], []
    # Silence lasts longer than it may take to be noticed.
    bound, gone_for = (CARRIER, 0.5) if how == "carrier" else (SILENT, 1.2)
    # The longest of five: after some of them TCP finds the other queue full and has to recover.
    allowed = (2 if protocol == 6 and how == "carrier" else 1) * bound * NOISE + undisturbed(stream)
    start = time.monotonic()
    got = stream.got()
    for _ in range(5):
        gone = wire.pull() if how == "carrier" else wire.silence()
        pause(t, stream, gone_for)
        back = wire.plug() if how == "carrier" else wire.heal()
        pause(t, stream, 0.5)
        spans.append((gone - BEFORE, gone + allowed, back))
    end = time.monotonic()
    gap = stream.gap(start, end)[0]
    mbit = (stream.got() - got) * (8e-6 if protocol == 6 else 8e-6 * UDP_SIZE) / (end - start)
    t.note(f"{mbit:.1f} Mbit/s, longest gap {gap * 1e3:.0f} ms")
    finish(t, stream, spans)
    t.within(round(gap, 3), round(allowed, 3), "longest gap, s")
    # Of the datagrams half would be lost, with each failure, if nobody noticed.
    least = {(6, "carrier"): 25, (6, "silent"): 20, (17, "carrier"): 9, (17, "silent"): 8}
    t.reaches(mbit, least[protocol, how], "Mbit/s")


for cell in ((6, 4, 1, "carrier"), (17, 4, 1, "carrier"), (6, 6, 0, "silent"), (17, 6, 0, "silent")):
    PLACE = ("the session's own", "the added")[cell[2]]
    WHAT = "link flaps every second" if cell[3] == "carrier" else "path falls silent and works again by turns"

    @case(f"{NAMES[cell[0]]} IPv{cell[1]}: {PLACE} {WHAT}", timeout=60, long=cell != (6, 4, 1, "carrier"))
    def flaps(t, cell=cell):
        flapping(t, *cell)


def pulls(t, protocol, family):
    """Cables are pulled, one after the other has come back."""
    _, b, wires, stream = begin(t, protocol, family)
    allowed = CARRIER * NOISE + undisturbed(stream)
    # Some of what comes has been under way: more than the queues hold must get through.
    enough = {6: 700_000, 17: 500}[protocol]
    gaps, returns, spans = [], [], []
    for n in range(20):
        wire, side = wires[n % 2], "AB"[n // 2 % 2]
        gone = wire.pull(side)
        got = stream.got()
        t.wait(lambda got=got: stream.got() - got > enough, 10, f"data over the other link at pull {n}")
        gaps.append(stream.gap(gone - 0.05, time.monotonic())[0])
        back = wire.plug(side)
        spans.append((gone - BEFORE, gone + allowed, back))
        returns.append(carries(t, b, b.dev[n % 2], protocol, 10) - back)
    gaps, returns = ([round(x * 1e3) for x in some] for some in (gaps, returns))
    t.note(f"longest gaps {gaps} ms, carried again after {returns} ms")
    finish(t, stream, spans)
    # Some find the other link's queue full of what TCP has just begun to send there: what is lost
    # in it TCP has to find out by itself.
    t.within(sorted(gaps)[-6], round(allowed * 1e3), "longest gap but five, ms")
    t.within(max(gaps), 600, "longest gap, ms")
    t.within(max(returns), RETURN * NOISE * 1e3, "time until the path carried again, ms")


for cell in ((6, 4), (6, 6), (17, 4), (17, 6)):
    WHAT = "lose nothing" if cell[0] == 6 else "lose what is in flight, and no more"

    @case(
        f"{NAMES[cell[0]]} IPv{cell[1]}: 20 cable pulls in a row, at either end of either link, {WHAT}",
        timeout=120,
        long=cell in ((6, 6), (17, 4)),
    )
    def pulls_case(t, cell=cell):
        pulls(t, *cell)
