# SPDX-License-Identifier: GPL-2.0
"""The few requests to the kernel whose moment matters.

Starting `ip` or `tc` takes a quarter of a second in an emulated VM, and nobody
knows when within it the change happened. These are done when the call returns.
"""

import ctypes
import fcntl
import os
import socket
import struct

from .process import NetemError

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK, RTM_NEWADDR, RTM_DELADDR, RTM_NEWQDISC = 16, 17, 18, 20, 21, 36
REQUEST, ACK, REPLACE, EXCL, CREATE = 1, 4, 0x100, 0x200, 0x400
NLMSG_ERROR = 2
IFF_UP = 1
IFA_ADDRESS, IFA_LOCAL, IFA_CACHEINFO, IFA_FLAGS = 1, 2, 6, 8
IFA_F_NODAD = 2
FOREVER = 0xFFFFFFFF
TCA_KIND, TCA_OPTIONS = 1, 2
NETEM_RATE, NETEM_LATENCY64 = 6, 10
ROOT = 0xFFFFFFFF
SIOCETHTOOL, ETHTOOL_STSO, ETHTOOL_SGSO, ETHTOOL_SGRO = 0x8946, 0x1F, 0x24, 0x2C


def attribute(kind, data):
    """A netlink attribute, padded."""
    return struct.pack("=HH", 4 + len(data), kind) + data + b"\0" * (-len(data) % 4)


class Rtnl:
    """Routing netlink of one host."""

    def __init__(self, host):
        self.host = host
        self.sock = host.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self.sock.settimeout(10)
        self.sequence = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # An open socket keeps its namespace alive.
        self.sock.close()

    def ask(self, kind, body, flags=0, what="request"):
        """Send a request and wait for its acknowledgement."""
        self.sequence += 1
        head = struct.pack("=IHHII", 16 + len(body), kind, REQUEST | ACK | flags, self.sequence, 0)
        self.sock.send(head + body)
        while True:
            answer = self.sock.recv(65536)
            _, answered, _, sequence, _ = struct.unpack_from("=IHHII", answer)
            if answered == NLMSG_ERROR and sequence == self.sequence:
                break
        error = -struct.unpack_from("=i", answer, 16)[0]
        if error:
            raise NetemError(f"{self.host}: {what}: {os.strerror(error)}")

    def index(self, dev):
        """Interface index of a device."""
        with self.host.inside():
            return socket.if_nametoindex(dev)

    def up(self, dev, up=True):
        """Switch a device on or off."""
        body = struct.pack("=BBHiII", 0, 0, 0, self.index(dev), IFF_UP if up else 0, IFF_UP)
        self.ask(RTM_NEWLINK, body, what=f"link set {dev} {'up' if up else 'down'}")

    def look(self):
        """Ask for the state of all devices, upon which the kernel looks at their carriers at once."""
        with self.host.inside():
            found = socket.if_nameindex()
        for index, dev in found:
            body = struct.pack("=BBHiII", 0, 0, 0, index, 0, 0)
            self.ask(RTM_GETLINK, body, what=f"link show {dev}")

    def delete(self, dev):
        """Remove a device."""
        body = struct.pack("=BBHiII", 0, 0, 0, self.index(dev), 0, 0)
        self.ask(RTM_DELLINK, body, what=f"link del {dev}")

    def address(self, dev, address, length, add=True, preferred=FOREVER, valid=FOREVER):
        """Give a device an address, change its lifetimes, or take it away."""
        six = ":" in address
        family = socket.AF_INET6 if six else socket.AF_INET
        raw = socket.inet_pton(family, address)
        body = struct.pack("=BBBBi", family, length, IFA_F_NODAD if six else 0, 0, self.index(dev))
        body += attribute(IFA_LOCAL, raw) + attribute(IFA_ADDRESS, raw)
        if add:
            body += attribute(IFA_CACHEINFO, struct.pack("=IIII", preferred, valid, 0, 0))
        what = f"addr {'replace' if add else 'del'} {address}/{length} dev {dev}"
        self.ask(RTM_NEWADDR if add else RTM_DELADDR, body, CREATE | REPLACE if add else 0, what)

    def netem(self, dev, delay=0.0, rate=0, limit=1000, loss=0.0):
        """Make or change a device's netem: seconds, bits a second, packets, a part of 1.

        What is queued already stays queued: it has passed the place that goes bad.
        """
        loss = min(0xFFFFFFFF, int(loss * (1 << 32)))
        options = struct.pack("=IIIIII", 0, limit, loss, 0, 0, 0)
        options += attribute(NETEM_RATE, struct.pack("=IiIi", int(rate / 8), 0, 0, 0))
        options += attribute(NETEM_LATENCY64, struct.pack("=q", int(delay * 1e9)))
        body = struct.pack("=BBHiIII", 0, 0, 0, self.index(dev), 0, ROOT, 0)
        body += attribute(TCA_KIND, b"netem\0") + attribute(TCA_OPTIONS, options)
        self.ask(RTM_NEWQDISC, body, CREATE | REPLACE, f"netem on {dev}")


def set_feature(host, dev, request, on):
    """One of the older requests of ethtool that switch a feature."""
    value = (ctypes.c_uint32 * 2)(request, on)
    body = struct.pack("16sP", dev.encode(), ctypes.addressof(value)).ljust(40, b"\0")
    with host.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, SIOCETHTOOL, body)


def cut_in_software(host, dev):
    """The device takes TCP in packets of the MTU, as a wire does; the stack still hands it whole bursts."""
    set_feature(host, dev, ETHTOOL_STSO, False)


def set_offload(host, dev, on):
    """Segmentation and receive offloads of a device."""
    for request in (ETHTOOL_STSO, ETHTOOL_SGSO, ETHTOOL_SGRO):
        set_feature(host, dev, request, on)
