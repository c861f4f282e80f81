# SPDX-License-Identifier: GPL-2.0
"""Many datagrams with few system calls: sendmmsg, of one flow or of any number.

So a datagram costs what the kernel does with it and next to nothing else. Several
flows go out by a raw socket that takes whole IPv4 packets. Sinks have their packets thrown away by
a socket filter, after all the network stack had to do with them.
"""

import ctypes
import socket
import struct

BATCH = 1024
SO_ATTACH_FILTER = 26
_libc = ctypes.CDLL(None, use_errno=True)


class _Iovec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("len", ctypes.c_size_t)]


class _Msghdr(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_void_p),
        ("namelen", ctypes.c_uint),
        ("iov", ctypes.c_void_p),
        ("iovlen", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("controllen", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    ]


class _Mmsghdr(ctypes.Structure):
    _fields_ = [("hdr", _Msghdr), ("len", ctypes.c_uint)]


class _Filter(ctypes.Structure):
    _fields_ = [
        ("code", ctypes.c_ushort),
        ("jt", ctypes.c_ubyte),
        ("jf", ctypes.c_ubyte),
        ("k", ctypes.c_uint),
    ]


class _Program(ctypes.Structure):
    _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.POINTER(_Filter))]


def sink(host, address, port):
    """A UDP socket that takes whatever comes and keeps nothing of it."""
    sock = host.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((address, port))
    # A classic BPF program of one instruction: return 0, drop.
    program = _Program(1, ctypes.pointer(_Filter(0x06, 0, 0, 0)))
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, bytes(program))
    return sock


def checksum(data):
    """The Internet checksum."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def datagram(source, target, payload=bytes(64)):
    """An IPv4 packet; the kernel fills in what is 0 of the IP header."""
    length = 8 + len(payload)
    ends = socket.inet_aton(source[0]) + socket.inet_aton(target[0])
    ports = struct.pack("!HHH", source[1], target[1], length)
    pseudo = ends + struct.pack("!BBH", 0, socket.IPPROTO_UDP, length)
    udp = ports + struct.pack("!H", checksum(pseudo + ports + b"\0\0" + payload) or 0xFFFF) + payload
    return struct.pack("!BBHHHBBH", 0x45, 0, 20 + length, 0, 0x4000, 64, socket.IPPROTO_UDP, 0) + ends + udp


class Burst:
    """Datagrams, one after the other and again from the start, over a socket that is closed with it.

    packets  list of (what to send, address or None for a connected socket)
    """

    def __init__(self, sock, packets):
        sock.setsockopt(socket.SOL_SOCKET, getattr(socket, "SO_SNDBUFFORCE", 32), 64 << 20)
        self.sock = sock
        self.count = count = max(len(packets), BATCH)
        self.keep = [ctypes.create_string_buffer(data, len(data)) for data, _ in packets]
        self.names = {}
        self.iov = (_Iovec * count)()
        self.vector = (_Mmsghdr * count)()
        for n in range(count):
            address, data = packets[n % len(packets)][1], self.keep[n % len(packets)]
            self.iov[n] = _Iovec(ctypes.addressof(data), len(data))
            hdr = self.vector[n].hdr
            if address:
                name = self.name(address)
                hdr.name, hdr.namelen = ctypes.addressof(name), len(name)
            hdr.iov, hdr.iovlen = ctypes.addressof(self.iov) + n * ctypes.sizeof(_Iovec), 1

    def name(self, address):
        """A sockaddr_in, one for each address."""
        if address not in self.names:
            raw = struct.pack("=H", socket.AF_INET) + bytes(2) + socket.inet_aton(address) + bytes(8)
            self.names[address] = ctypes.create_string_buffer(raw, len(raw))
        return self.names[address]

    def send(self, total):
        """Send so many; returns how many."""
        step, sent = ctypes.sizeof(_Mmsghdr), 0
        while sent < total:
            at = 0
            while at < self.count and sent + at < total:
                place = ctypes.byref(self.vector, at * step)
                n = _libc.sendmmsg(
                    self.sock.fileno(), place, min(BATCH, self.count - at, total - sent - at), 0
                )
                if n < 0:
                    raise OSError(ctypes.get_errno(), "sendmmsg")
                at += n
            sent += at
        return sent

    def close(self):
        """Close the socket."""
        self.sock.close()


def one_flow(host, source, target, payload=bytes(64)):
    """A Burst of one flow, over a connected UDP socket."""
    sock = host.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(source)
    sock.connect(target)
    return Burst(sock, [(payload, None)])


def many_flows(host, flows):
    """A Burst of a list of flows: ((source address, port), (target address, port))."""
    sock = host.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    return Burst(sock, [(datagram(*flow), flow[1][0]) for flow in flows])
