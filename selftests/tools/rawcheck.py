#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Prove from a capture that nothing was added to user data on the original tuple.

A host without MPIP must be able to read every packet of a session's own tuple.
So in a capture taken at the receiver:

 - a TCP segment's payload equals the stream at its sequence numbers, unless it
   lies wholly below what the receiver has acknowledged before (a carrier: the
   receiver drops it unread);
 - a UDP datagram, by its UDP length, is one that was sent; what lies behind the
   UDP length is counted and its sum checked to be neutral;
 - a SYN differs from an ordinary one by the option at most.

As a program: rawcheck.py CAPTURE SOURCE SPORT DESTINATION DPORT FILE
checks the TCP stream from SOURCE against the bytes of FILE.
"""

import os
import struct
import sys
from dataclasses import dataclass, field

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from lib.packet import ACK, SYN, TCP, UDP, asks, checksum, pack_address, read_pcap  # noqa: E402


@dataclass
class Account:
    """What a capture holds of one direction of a session."""

    segments: int = 0
    payload: int = 0
    covered: int = 0
    isn: int | None = None
    ranges: list = field(default_factory=list)
    asked: int = 0
    syns: int = 0
    carriers: int = 0
    surplus: int = 0
    wrong: list = field(default_factory=list)


def distance(a, b):
    """a - b for TCP sequence numbers, signed."""
    return (a - b + (1 << 31)) % (1 << 32) - (1 << 31)


def check_tcp(packets, tup, stream, isn=None, added=(), trailers=False):
    """Compare every payload byte on a tuple with the stream.

    isn       the initial sequence number if the capture misses the SYN
    added     further tuples whose opposite direction acknowledges the same stream
    trailers  the tuple is an added one: a CM behind the data is taken off first
    """
    backs = {(t[2], t[3], t[0], t[1]) for t in (tup, *added)}
    account = Account()
    acked = None
    for p in packets:
        if p.protocol != TCP:
            continue
        if p.tuple in backs and p.flags & ACK:
            if acked is None or distance(p.ack, acked) > 0:
                acked = p.ack
            continue
        if p.tuple != tup:
            continue
        if p.flags & SYN:
            isn = p.seq
            account.syns += 1
            account.asked += asks(p)
            if p.payload:
                account.wrong.append(f"SYN with {len(p.payload)} bytes of payload")
            continue
        if not p.payload:
            continue
        account.segments += 1
        if isn is None:
            account.wrong.append("no SYN in the capture")
            break
        offset = distance(p.seq, isn) - 1
        data = p.payload
        if trailers and p.cm():
            data = data[: -p.cm()["length"]]
        if offset >= 0 and stream[offset : offset + len(data)] == data:
            account.payload += len(data)
            account.ranges.append((offset, offset + len(data)))
        elif acked is not None and distance((p.seq + len(p.payload)) % (1 << 32), acked) <= 0:
            account.carriers += 1
        else:
            account.wrong.append(f"{len(p.payload)} bytes at {offset} are not the user's")
    account.isn = isn
    account.covered = covered(account.ranges)
    return account


def covered(ranges):
    """How many bytes of the stream from its beginning some ranges hold without a gap."""
    end = 0
    for first, last in sorted(ranges):
        if first > end:
            break
        end = max(end, last)
    return end


def check_udp(packets, tup, expected):
    """Compare datagrams on a tuple with the set of payloads that were sent."""
    account = Account()
    for p in packets:
        if p.protocol != UDP or p.tuple != tup:
            continue
        account.segments += 1
        account.payload += len(p.payload)
        if p.payload not in expected:
            account.wrong.append(f"datagram of {len(p.payload)} bytes that nobody sent")
        if p.surplus:
            account.surplus += 1
            if not neutral(p):
                account.wrong.append(f"surplus of {len(p.surplus)} bytes changes the checksum")
    return account


def neutral(packet):
    """Whether a surplus leaves the checksum over the IP length as valid as over the UDP length.

    The surplus starts at an even offset or is preceded by one pad byte, so only
    its own sum and the difference of lengths in the pseudo header count.
    """
    surplus = packet.surplus
    if len(packet.payload) & 1:
        surplus = b"\0" + surplus
    return checksum(surplus + struct.pack("!H", len(packet.surplus))) in (0, 0xFFFF)


def valid_checksum(packet):
    """Whether the transport checksum over the whole IP payload is right (fails where it is offloaded)."""
    segment = packet.frame[packet.l4 :]
    pseudo = (
        pack_address(packet.src)
        + pack_address(packet.dst)
        + struct.pack("!II", len(segment), packet.protocol)
    )
    return checksum(pseudo + segment) == 0


def main():
    """Command line."""
    if len(sys.argv) != 7:
        sys.exit(__doc__)
    capture, source, sport, destination, dport, file = sys.argv[1:]
    with open(file, "rb") as stream:
        account = check_tcp(read_pcap(capture), (source, int(sport), destination, int(dport)), stream.read())
    print(account)
    return 1 if account.wrong or not account.payload else 0


if __name__ == "__main__":
    sys.exit(main())
