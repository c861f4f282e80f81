# SPDX-License-Identifier: GPL-2.0
"""The tools themselves, without the module: they see what they must and miss nothing."""

import socket
import time

from lib import Link, case
from lib.packet import Capture, Injector, build_cm, parse_cm, tcp_segment, udp_datagram
from tools import rawcheck, udpcount, xfer


@case("plain TCP over one of two links: bytes equal, the other link silent")
def plain_tcp(t):
    a, b = t.two_hosts(2)
    for address in (b.addr[0], b.addr6[0]):
        before = b.counters()["b2"]
        took = xfer.transfer(a, b, address, 16 << 20, 16 << 20)
        t.note(f"{address}: 2 x 16 MiB in {took:.2f} s")
        t.at_most(b.counters()["b2"][0] - before[0], 4000, "bytes on the idle link")
        t.at_least(b.counters()["b1"][0], 16 << 20, "bytes on the used link")


@case("200 plain connections at once")
def many(t):
    a, b = t.two_hosts(1)
    took = xfer.transfer(a, b, b.addr[0], 1 << 17, 1 << 17, count=200)
    t.note(f"{took:.2f} s")
    t.check(True, "all compared")


@case("a changed byte, a missing byte and a surplus byte are noticed")
def notices(t):
    for change in ("nothing", "flip", "drop", "add"):
        (near, tap), (inlet, far) = socket.socketpair(), socket.socketpair()
        sender, receiver = xfer.Stream(near, 1, 300000), xfer.Stream(far, 2, 0)
        pumps = [xfer.Pump([stream], 20) for stream in (sender, receiver)]
        for pump in pumps:
            pump.start()
        data = bytearray()
        while piece := tap.recv(65536):
            data += piece
        if change == "flip":
            data[123456] ^= 4
        elif change == "drop":
            del data[1000]
        elif change == "add":
            data.insert(299000, 7)
        tap.shutdown(socket.SHUT_WR)
        inlet.sendall(data)
        inlet.shutdown(socket.SHUT_WR)
        for pump in pumps:
            pump.join()
        try:
            xfer.compare(sender, receiver, change)
            found = False
        except xfer.Mismatch as error:
            t.note(error)
            found = True
        t.equal(found, change != "nothing", f"{change} noticed")


@case("UDP account: complete, and a copy, a change and a loss are noticed")
def udp_account(t):
    a, b = t.two_hosts(1)
    for address_a, address_b in ((a.addr[0], b.addr[0]), (a.addr6[0], b.addr6[0])):
        sa, sb = udpcount.pair(a, b, address_a, address_b)
        receiver = udpcount.Receiver(sb, 7)
        sent = udpcount.send(sa, None, 7, 2000, (20, 1400), 4000)
        receiver.settle(sent, 10)
        t.check(receiver.exact(sent), f"exact: {receiver.result(sent)}")
        receiver = udpcount.Receiver(sb, 7)
        for number in (0, 1, 1, 3):
            sa.send(udpcount.payload(7, number, 500))
        sa.send(udpcount.payload(7, 4, 500)[:-1] + b"?")
        receiver.settle(5, 1)
        account = receiver.result(5)
        t.equal([size for size, _ in account.pop("odd")], [500], "lengths of what is none of ours")
        t.equal(
            account,
            {"sent": 5, "received": 3, "missing": 2, "duplicate": 1, "corrupt": 1, "reordered": 0},
            "account",
        )
        sa.close()
        sb.close()


@case("netem impairments bite and TCP stays exact")
def impaired(t):
    link = Link(delay="1ms", netem="loss 2% duplicate 1% corrupt 0.5% reorder 5% 25%")
    a, b = t.two_hosts([link])
    before = a.snmp("RetransSegs")
    took = xfer.transfer(a, b, b.addr[0], 8 << 20, 8 << 20)
    t.note(f"2 x 8 MiB in {took:.1f} s")
    t.reaches(a.snmp("RetransSegs") - before, 20, "retransmissions")


@case("rawcheck: plain TCP and UDP pass, foreign bytes are found")
def raw(t):
    a, b = t.two_hosts(1)
    capture = Capture(b, "b1")
    sa, sb = udpcount.pair(a, b, a.addr[0], b.addr[0])
    expected = {udpcount.payload(3, n, 700) for n in range(50)}
    udpcount.send(sa, None, 3, 50, 700, 2000)
    pairs = xfer.connect(a, b, b.addr[0], 7000)
    port = pairs[0][0].getsockname()[1]
    xfer.exchange(pairs, 300000, 1000)
    xfer.close(pairs)
    inject = Injector(a, "a1", b.mac("b1"))
    inject.send(udp_datagram((a.addr[0], 5001, b.addr[0], 5002), b"not one of them"))
    time.sleep(0.2)
    packets = capture.stop()
    stream = xfer.Source(1).read(300000)
    tup = (a.addr[0], port, b.addr[0], 7000)
    account = rawcheck.check_tcp(packets, tup, stream)
    t.equal(account.wrong, [], "foreign bytes")
    t.equal(account.covered, 300000, "bytes covered")
    t.equal((account.asked, account.carriers), (0, 0), "questions")
    spoiled = bytearray(stream)
    spoiled[250000] ^= 1
    t.check(rawcheck.check_tcp(packets, tup, bytes(spoiled)).wrong, "a foreign byte is found")
    account = rawcheck.check_udp(packets, (a.addr[0], 5001, b.addr[0], 5002), expected)
    t.equal((account.segments, len(account.wrong)), (51, 1), "datagrams, foreign ones")


@case("packets made by hand are accepted by the kernel; CM round trip")
def handmade(t):
    a, b = t.two_hosts(1)
    for address_a, address_b in ((a.addr[0], b.addr[0]), (a.addr6[0], b.addr6[0])):
        sa, sb = udpcount.pair(a, b, address_a, address_b)
        inject = Injector(a, "a1", b.mac("b1"))
        inject.send(udp_datagram((address_a, 5001, address_b, 5002), b"hello"))
        sb.settimeout(5)
        t.equal(sb.recv(100), b"hello", "datagram")
        pairs = xfer.connect(a, b, address_b, 7000)
        port = pairs[0][0].getsockname()[1]
        capture = Capture(b, "b1", "tcp")
        xfer.exchange(pairs, 1000, 1000)
        last = [p for p in capture.stop() if p.src == address_a][-1]
        inject.send(
            tcp_segment(
                (address_a, port, address_b, 7000), last.seq + len(last.payload), last.ack, payload=b"more"
            )
        )
        pairs[0][1].setblocking(True)
        pairs[0][1].settimeout(5)
        t.equal(pairs[0][1].recv(100), b"more", "segment")
        xfer.close(pairs)
        sa.close()
        sb.close()
    cm = parse_cm(b"user data" + build_cm("DATA", bytes(range(20))))
    t.equal((cm["type"], cm["length"], cm["session"]), ("DATA", 32, 0x00010203), "CM")


@case("router: every pair of addresses is a way")
def router(t):
    a, b, r = t.routed()
    for i in range(2):
        for address_a, address_b in ((a.addr, b.addr), (a.addr6, b.addr6)):
            for j in range(2):
                before = r.counters()
                sa, sb = udpcount.pair(a, b, address_a[i], address_b[j], 6000 + i, 6010 + j)
                sa.send(b"x" * 900)
                sb.settimeout(5)
                t.equal(len(sb.recv(2000)), 900, f"{address_a[i]} to {address_b[j]}")
                after = r.counters()
                t.at_least(after[f"ra{i + 1}"][0] - before[f"ra{i + 1}"][0], 900, "in by the source's uplink")
                t.at_least(after[f"rb{j + 1}"][2] - before[f"rb{j + 1}"][2], 900, "out by the destination's")
                sa.close()
                sb.close()
