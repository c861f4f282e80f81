# SPDX-License-Identifier: GPL-2.0
"""A WireGuard tunnel between two hosts."""

from .process import command

ADDRESSES = ("10.9.0.1", "10.9.0.2")


def join(a, b, path=0):
    """Make wg0 on both, over the addresses of one path; ADDRESSES are inside."""
    ends = (a, b)
    keys = [a.run("wg", "genkey").stdout.strip() for _ in ends]
    for n, host in enumerate(ends):
        peer = ends[1 - n]
        public = piped(a, keys[1 - n], "wg", "pubkey")
        host.ip(["link add wg0 type wireguard"])
        piped(host, keys[n], "wg", "set", "wg0", "listen-port", 51820, "private-key", "/dev/stdin")
        endpoint = f"{peer.addr[path]}:51820"
        host.run("wg", "set", "wg0", "peer", public, "allowed-ips", "10.9.0.0/24", "endpoint", endpoint)
        host.ip([f"addr add {ADDRESSES[n]}/24 dev wg0", "link set wg0 mtu 1420 up"])


def piped(host, text, *argv):
    """Run a command in a host's namespace with this on its standard input; returns what it prints."""
    with host.inside():
        return command(*argv, stdin=text + "\n").stdout.strip()
