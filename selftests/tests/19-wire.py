# SPDX-License-Identifier: GPL-2.0
"""The cables and flows that the tests of failures use, without the module: they do what they say."""

import time

from lib import RX_BYTES, Link, case
from lib.wire import BACK, THERE
from tools import flow, udpcount, xfer

LINK = Link(rate="40mbit", delay="5ms", limit=150)


def carrier(host, dev):
    """Whether a device has carrier; it must be switched on."""
    with host.inside():
        line = host.run("ip", "-o", "link", "show", "dev", dev).stdout
    return "LOWER_UP" in line, "UP" in line.split("<")[1].split(">")[0].split(",")


@case("a pulled cable takes the carrier of its own end alone, and data flows again when it is back")
def pull(t):
    a, b, wires = t.switched([LINK])
    stream = flow.Tcp(xfer.connect(a, b, b.addr[0])[0])
    t.defer(stream.close)
    t.wait(lambda: stream.got() > 1 << 20, 10, "data")
    for side, host, other in (("A", a, b), ("B", b, a)):
        gone = wires[0].pull(side)
        t.equal(carrier(host, host.dev[0]), (False, True), f"carrier and up at {host}")
        t.equal(carrier(other, other.dev[0]), (True, True), f"carrier and up at {other}")
        time.sleep(0.2)
        got = stream.got()
        time.sleep(0.3)
        t.equal(stream.got(), got, "bytes while the cable is out")
        back = wires[0].plug(side)
        t.wait(lambda got=got: stream.got() > got, 10, "data after the return")
        gap, begun = stream.gap(gone, time.monotonic())
        t.note(f"{side}: gap {gap:.3f} s from {begun - gone:+.3f} s; out for {back - gone:.3f} s")
        t.reaches(gap, 0.5, "gap")
        t.within(abs(begun - gone), 0.2, "distance of the gap's begin from the pull")
        t.wait(lambda back=back: stream.next_after(back), 1, "a time of the next data")
    t.at_least(stream.stop(), 1 << 20, "bytes, exact")


@case("a silent place drops both ways or one, with all carriers, and heals")
def silent(t):
    a, b, wires = t.switched([LINK])
    sa, sb = udpcount.pair(a, b, a.addr[0], b.addr[0])
    for way, there, back in ((THERE, False, True), (BACK, True, False), ("both", False, False)):
        wires[0].silence(way)
        for source, target, want in ((sa, sb, there), (sb, sa, back)):
            target.settimeout(0.4)
            source.send(way.encode())
            try:
                got = target.recv(100) == way.encode()
            except TimeoutError:
                got = False
            t.equal(got, want, f"silence {way}: from {source.getsockname()[0]}")
        t.equal((carrier(a, "a1"), carrier(b, "b1")), ((True, True), (True, True)), "carriers")
        wires[0].heal()
    sa.send(b"healed")
    sb.settimeout(2)
    t.equal(sb.recv(100), b"healed", "after all")


@case("rate, delay and loss are those of the link; the record of a flow shows them")
def shape(t):
    a, b, wires = t.switched([LINK])
    stream = flow.Tcp(xfer.connect(a, b, b.addr[0])[0])
    t.defer(stream.close)
    t.wait(lambda: stream.got() > 2 << 20, 10, "data")
    start = time.monotonic()
    time.sleep(1.5)
    end = time.monotonic()
    rates = [rate for _, rate in stream.rates(start, end)]
    before = b.counters()["b1"][RX_BYTES]
    t.note(f"Mbit/s {[round(r) for r in rates]}, longest gap {stream.gap(start, end)[0] * 1e3:.0f} ms")
    t.reaches(sum(rates) / len(rates), 30, f"Mbit/s of 40: {rates}")
    t.within(sum(rates) / len(rates), 40, f"Mbit/s of 40: {rates}")
    wires[0].dress(1.0, BACK)
    time.sleep(0.5)
    t.within(b.counters()["b1"][RX_BYTES] - before, 4_000_000, "bytes without acknowledgements")
    wires[0].heal()
    stream.stop()
    flows = flow.Udp(udpcount.pair(a, b, a.addr6[0], b.addr6[0]), 1000, 1000)
    t.defer(flows.close)
    t.wait(lambda: flows.got() > 300, 5, "datagrams")
    wires[0].dress(0.3, THERE)
    start = time.monotonic()
    time.sleep(1.5)
    end = wires[0].heal()
    t.wait(lambda: flows.next_after(end), 5, "datagrams after the loss")
    flows.stop()
    missing = flows.missing()
    lost = len(missing) / (1000 * (end - start))
    t.note(f"{lost:.0%} lost of 30 %; gap {flows.gap(start, end)[0] * 1e3:.0f} ms")
    t.reaches(lost, 0.2, "part lost of 0.3")
    t.within(lost, 0.4, "part lost of 0.3")
    t.equal([n for n, when in missing if not start - 0.05 < when < end + 0.01], [], "lost at other times")


@case("a flow notices a changed, a lost and a doubled byte, and datagrams that come twice")
def notices(t):
    import socket

    for change in ("nothing", "flip", "drop", "double"):
        (near, tap), (inlet, far) = socket.socketpair(), socket.socketpair()
        # A receiver that has found a fault reads no more: all that is sent has to fit into its queue.
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 14)
        stream = flow.Tcp((near, far))
        t.defer(stream.close)
        data = bytearray(tap.recv(65536, socket.MSG_WAITALL))
        stream.went.head[flow.STOP] = 1
        if change == "flip":
            data[12345] ^= 4
        elif change == "drop":
            del data[1000]
        elif change == "double":
            data[500:500] = data[500:600]
        inlet.sendall(data)
        while more := tap.recv(65536):
            inlet.sendall(more)
        inlet.shutdown(socket.SHUT_WR)
        try:
            stream.stop()
            found = False
        except xfer.Mismatch as error:
            t.note(f"{change}: {error}")
            found = True
        t.equal(found, change != "nothing", f"{change} noticed")
    a, b, _ = t.switched([Link()])
    stream = flow.Udp(udpcount.pair(a, b, a.addr[0], b.addr[0]), 500)
    t.defer(stream.close)
    t.wait(lambda: stream.got() > 20, 5, "datagrams")
    stream.pair[0].send(udpcount.payload(1, 3, 1200))
    try:
        stream.stop()
        t.check(False, "a doubled datagram was not noticed")
    except xfer.Mismatch as error:
        t.note(error)


@case("uplinks: every pair of addresses is a way, a pulled cable is noticed at the host alone")
def uplinks(t):
    a, b, _, of_a, _ = t.uplinks()
    for mine, theirs in ((a.addr, b.addr), (a.addr6, b.addr6)):
        for x, y in zip(mine, reversed(theirs)):
            before = a.counters()
            sa, sb = udpcount.pair(a, b, x, y, 6000, 6001)
            sa.send(bytes(900))
            sb.settimeout(3)
            t.equal(len(sb.recv(2000)), 900, f"{x} to {y}")
            dev = a.dev[mine.index(x)]
            t.at_least(a.counters()[dev][2] - before[dev][2], 900, f"bytes by {dev}")
            sa.close()
            sb.close()
    of_a[0].wire.pull()
    t.equal(carrier(a, "a1"), (False, True), "carrier and up")
    t.equal(carrier(a, "a2"), (True, True), "the other's")
    of_a[0].wire.plug()
    sa, sb = udpcount.pair(a, b, a.addr[0], b.addr[0], 6000, 6001)
    sb.settimeout(0.1)

    def through():
        sa.send(b"x")
        try:
            return sb.recv(10)
        except TimeoutError:
            return None

    t.wait(through, 5, "data after the return")
