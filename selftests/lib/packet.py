# SPDX-License-Identifier: GPL-2.0
"""Packets as bytes: capture on a device, take apart, put together, and MPIP's control messages."""

import os
import re
import signal
import socket
import struct
import subprocess
import tempfile
import time
from dataclasses import dataclass, field

from .net import Busy, NetemError, wait_for
from .process import written

ETH_IP, ETH_IP6 = 0x0800, 0x86DD
TCP, UDP, ICMP, ICMP6 = 6, 17, 1, 58
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
HOP_HEADERS = (0, 43, 60)  # IPv6 headers that may precede the transport header

CM_MAGIC = 0x4D50
CM_TYPES = (
    "DATA REPORT HELLO HELLO_REPLY CONFIRM OPEN OPEN_ACK "
    "LANE LANE_ACK LANE_CONFIRM ADDR CLOSE GOODBYE GOODBYE_ACK ADDR_ACK MISSING"
).split()
EXID_ASK, EXID_ANSWER = 0x4D50, 0x4D51


def checksum(data):
    """The Internet checksum of some bytes."""
    if len(data) & 1:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def pack_address(address):
    """4 or 16 bytes."""
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


@dataclass
class Packet:
    """A captured frame, taken apart as far as it could be."""

    time: float = 0.0
    frame: bytes = b""
    src: str = ""
    dst: str = ""
    protocol: int = 0
    sport: int = 0
    dport: int = 0
    seq: int = 0
    ack: int = 0
    flags: int = 0
    options: dict = field(default_factory=dict)
    payload: bytes = b""
    surplus: bytes = b""  # behind the UDP length, inside the IP length
    l3: int = 0  # offset of the IP header in the frame
    l4: int = 0  # offset of the transport header in the frame

    @property
    def tuple(self):
        """(source, port, destination, port)."""
        return self.src, self.sport, self.dst, self.dport

    def cm(self):
        """The control message at the end of the transport payload or surplus, if it looks like one."""
        return parse_cm(self.surplus or self.payload)


def parse_options(data):
    """TCP options as {kind: value}."""
    found, at = {}, 0
    while at < len(data):
        kind = data[at]
        if kind == 0:
            break
        if kind == 1:
            at += 1
            continue
        if at + 1 >= len(data) or data[at + 1] < 2:
            break
        found[kind] = data[at + 2 : at + data[at + 1]]
        at += data[at + 1]
    return found


def parse(frame, when=0.0):
    """Take an Ethernet frame apart; None if it is not IP or is a later fragment."""
    if len(frame) < 34:
        return None
    p = Packet(time=when, frame=frame, l3=14)
    kind = struct.unpack_from("!H", frame, 12)[0]
    if kind == ETH_IP:
        header = (frame[14] & 15) * 4
        end = 14 + struct.unpack_from("!H", frame, 16)[0]
        if end == 14:  # a segment beyond 64 KiB still to be cut
            end = len(frame)
        if struct.unpack_from("!H", frame, 20)[0] & 0x1FFF:
            return None
        p.protocol = frame[23]
        p.src, p.dst = (socket.inet_ntop(socket.AF_INET, frame[o : o + 4]) for o in (26, 30))
        p.l4 = 14 + header
    elif kind == ETH_IP6:
        size = struct.unpack_from("!H", frame, 18)[0]
        end = 54 + size if size else len(frame)
        p.protocol = frame[20]
        p.src, p.dst = (socket.inet_ntop(socket.AF_INET6, frame[o : o + 16]) for o in (22, 38))
        p.l4 = 54
        while p.protocol in HOP_HEADERS:
            p.protocol, length = frame[p.l4], frame[p.l4 + 1]
            p.l4 += 8 * (length + 1)
    else:
        return None
    segment = frame[p.l4 : end]
    if p.protocol == TCP and len(segment) >= 20:
        p.sport, p.dport, p.seq, p.ack = struct.unpack_from("!HHII", segment)
        header = (segment[12] >> 4) * 4
        p.flags = segment[13]
        p.options = parse_options(segment[20:header])
        p.payload = segment[header:]
    elif p.protocol == UDP and len(segment) >= 8:
        p.sport, p.dport, length = struct.unpack_from("!HHH", segment)
        length = length or len(segment)
        p.payload, p.surplus = segment[8:length], segment[length:]
    else:
        p.payload = segment
    return p


class Capture:
    """tcpdump on a device, from construction to `stop`."""

    def __init__(self, host, dev, expression=""):
        fd, self.file = tempfile.mkstemp(suffix=".pcap")
        os.close(fd)
        # -Z root: it may not drop its rights, or it could not write to our folder.
        argv = [
            "tcpdump",
            "-i",
            dev,
            "-n",
            # The longest packet there is: the buffer has a place of this size for each.
            "-s",
            "65549",
            "-B",
            "131072",
            "--immediate-mode",
            "-U",
            "-Z",
            "root",
            "-w",
            self.file,
        ]
        self.log = tempfile.TemporaryFile()  # noqa: SIM115 - closed in stop
        self.process = host.spawn(*argv, *expression.split(), stderr=self.log)
        wait_for(lambda: b"listening on" in self.read_log() or self.process.poll(), 60, "tcpdump to start")
        if self.process.poll() is not None:
            raise NetemError(f"tcpdump: {self.read_log().decode()}")

    def read_log(self):
        """What tcpdump has said."""
        return written(self.log)

    def stop(self):
        """End the capture; returns its packets. A capture with gaps proves nothing and is an error."""
        wait_for(self.settled, 5, "the capture to settle")
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise NetemError("tcpdump did not end") from None
        said = self.read_log().decode()
        self.log.close()
        dropped = re.search(r"(\d+) packets dropped by kernel", said)
        if not dropped or int(dropped[1]):
            raise Busy(f"the capture has gaps: {said}")
        packets = list(read_pcap(self.file))
        os.unlink(self.file)
        return packets

    def settled(self):
        """Whether the file has stopped growing for a while."""
        before = os.path.getsize(self.file)
        time.sleep(0.3)
        return before == os.path.getsize(self.file)


def read_pcap(path):
    """Packets of a pcap file."""
    with open(path, "rb") as file:
        data = file.read()
    order = "<" if data[:4] in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1") else ">"
    scale = 1e-9 if data[:4] in (b"\x4d\x3c\xb2\xa1", b"\xa1\xb2\x3c\x4d") else 1e-6
    at = 24
    while at + 16 <= len(data):
        seconds, fraction, size, _ = struct.unpack_from(f"{order}IIII", data, at)
        packet = parse(data[at + 16 : at + 16 + size], seconds + fraction * scale)
        at += 16 + size
        if packet:
            yield packet


def write_pcap(path, packets):
    """A pcap file of (time, Ethernet frame)."""
    with open(path, "wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 1 << 18, 1))
        for when, frame in packets:
            seconds, rest = divmod(when, 1)
            file.write(struct.pack("<IIII", int(seconds), int(rest * 1e6), len(frame), len(frame)) + frame)


# --- putting packets together ------------------------------------------------


def ip_header(src, dst, protocol, size):
    """An IPv4 or IPv6 header for a payload of `size` bytes."""
    if ":" in src:
        return struct.pack("!IHBB", 6 << 28, size, protocol, 64) + pack_address(src) + pack_address(dst)
    header = struct.pack(
        "!BBHHHBBH4s4s", 0x45, 0, 20 + size, 0, 0x4000, 64, protocol, 0, pack_address(src), pack_address(dst)
    )
    return header[:10] + struct.pack("!H", checksum(header)) + header[12:]


def pseudo(src, dst, protocol, size):
    """The pseudo header of the transport checksum."""
    return pack_address(src) + pack_address(dst) + struct.pack("!II", size, protocol)


def tcp_segment(tup, seq, ack, flags=ACK, payload=b"", options=b"", window=1000):
    """IP packet with a TCP segment for a (source, port, destination, port)."""
    src, sport, dst, dport = tup
    options += b"\1" * (-len(options) % 4)
    head = struct.pack(
        "!HHIIBBHHH",
        sport,
        dport,
        seq & 0xFFFFFFFF,
        ack & 0xFFFFFFFF,
        (20 + len(options)) << 2,
        flags,
        window,
        0,
        0,
    )
    body = head + options + payload
    total = checksum(pseudo(src, dst, TCP, len(body)) + body)
    body = body[:16] + struct.pack("!H", total) + body[18:]
    return ip_header(src, dst, TCP, len(body)) + body


def udp_datagram(tup, payload, surplus=b""):
    """IP packet with a UDP datagram, optionally with bytes behind the UDP length."""
    src, sport, dst, dport = tup
    body = struct.pack("!HHHH", sport, dport, 8 + len(payload), 0) + payload
    total = checksum(pseudo(src, dst, UDP, len(body)) + body) or 0xFFFF
    body = body[:6] + struct.pack("!H", total) + body[8:] + surplus
    return ip_header(src, dst, UDP, len(body)) + body


def refresh(ip):
    """Make the checksums of an edited IP packet right again."""
    ip = bytearray(ip)
    if ip[0] >> 4 == 4:
        header = (ip[0] & 15) * 4
        ip[2:4] = struct.pack("!H", len(ip))
        ip[10:12] = b"\0\0"
        ip[10:12] = struct.pack("!H", checksum(bytes(ip[:header])))
        protocol, ends = ip[9], bytes(ip[12:20])
    else:
        header, protocol, ends = 40, ip[6], bytes(ip[8:40])
        ip[4:6] = struct.pack("!H", len(ip) - 40)
    body = ip[header:]
    at = 16 if protocol == TCP else 6
    size = len(body) if protocol == TCP else struct.unpack_from("!H", body, 4)[0]
    body[at : at + 2] = b"\0\0"
    total = checksum(ends + struct.pack("!II", size, protocol) + bytes(body[:size])) or 0xFFFF
    body[at : at + 2] = struct.pack("!H", total)
    return bytes(ip[:header] + body)


class Injector:
    """Puts raw IP packets on the cable at a host's device, bypassing the host's own stack."""

    def __init__(self, host, dev, target_mac):
        self.sock = host.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        with host.inside():
            self.sock.bind((dev, 0))
        self.ends = target_mac + host.mac(dev)

    def send(self, ip):
        """Send an IP packet."""
        kind = ETH_IP6 if ip[0] >> 4 == 6 else ETH_IP
        self.sock.send(self.ends + struct.pack("!H", kind) + ip)


# --- control messages --------------------------------------------------------


def parse_cm(data):
    """Read a control message from the end of some bytes; the tag is not verified. None if there is none."""
    if len(data) < 12:
        return None
    magic, kind, length = struct.unpack("!HBB", data[-4:])
    length *= 4
    if magic != CM_MAGIC or kind >> 4 != 1 or kind & 15 >= len(CM_TYPES) or not 12 <= length <= len(data):
        return None
    body = data[-length:-12]
    cm = {
        "type": CM_TYPES[kind & 15],
        "length": length,
        "body": body,
        "tag": data[-12:-4],
        "raw": data[-length:],
    }
    if kind & 15 == 0 and len(body) == 12:
        cm["session"], cm["number"], cm["marks"] = struct.unpack("!III", body)
    elif kind & 15 < 2:
        if len(body) < 20:
            return None
        cm["session"], cm["path"], cm["feedback"], cm["size"], cm["timestamp"], cm["delay"], cm["number"] = (
            struct.unpack_from("!IBBHIiI", body)
        )
    else:
        if len(body) < 16:
            return None
        cm["node"], cm["session"], cm["number"] = struct.unpack_from("!QII", body)
    return cm


def build_cm(kind, body, tag=b"\xa5" * 8):
    """A control message with any tag; without the keys nobody can make a valid one."""
    return body + tag + struct.pack("!HBB", CM_MAGIC, 1 << 4 | CM_TYPES.index(kind), (len(body) + 12) // 4)


def asks(packet):
    """Whether a SYN or SYN-ACK carries MPIP's option."""
    value = packet.options.get(253, b"")
    return len(value) == 10 and struct.unpack("!H", value[:2])[0] in (EXID_ASK, EXID_ANSWER)
