# SPDX-License-Identifier: GPL-2.0
"""The Wireshark dissector, by tshark, on what is captured here: it finds all messages, and no others."""

import json
import os
import shutil
import socket
import struct
import tempfile

from lib import Link, active, case
from lib.net import command
from lib.packet import (
    CM_MAGIC,
    CM_TYPES,
    ETH_IP,
    TCP,
    UDP,
    Capture,
    asks,
    build_cm,
    tcp_segment,
    udp_datagram,
    write_pcap,
)
from lib.rtnl import Rtnl
from lib.wire import numbers
from tools import udpcount, xfer

DISSECTOR = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../wireshark/mpip.lua")
LINK = Link(rate="40mbit", delay="3ms", limit=300)
# Messages that have one field of each name
FIELDS = """
    type length place session lane number node path feedback_path data_length flags timestamp delay
    packets_received bytes_received answered hold nonce_a nonce_b public_key port original_path entries
    entry.ipv4 entry.ipv6 challenge echo observed.family observed.port paths_down acked reset
    missing.refused missing.first missing.behind option option.nonce surplus.pad surplus.compensated
    inner.protocol inner.seq inner.ack inner.flags inner.length inner.data_length
""".split()

TRUTH = ("False", "True")  # as some versions write it; others have 0 and 1


def tshark(packets):
    """What tshark says of (time, frame): for each its fields of MPIP as {name: [value, ...]}."""
    with tempfile.TemporaryDirectory() as folder:
        # Wireshark runs no scripts for root.
        os.chmod(folder, 0o755)
        write_pcap(f"{folder}/all.pcap", packets)
        shutil.copy(DISSECTOR, folder)
        done = command(
            *("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"),
            *("env", f"HOME={folder}", "tshark", "-n", "-X", f"lua_script:{folder}/mpip.lua"),
            *("-r", f"{folder}/all.pcap", "-T", "json", "-e", "frame.number", "-e", "_ws.expert.message"),
            *(word for name in FIELDS for word in ("-e", f"mpip.{name}")),
            timeout=120,
        )
    found = []
    for n, frame in enumerate(json.loads(done.stdout), 1):
        layers = frame["_source"]["layers"]
        assert layers.pop("frame.number") == [str(n)]
        found.append({name.removeprefix("mpip."): values for name, values in layers.items()})
    return found, done.stderr


def number(layers, name):
    """The only value of a field, as a number."""
    (value,) = layers[name]
    return int(value, 0) if value not in TRUTH else TRUTH.index(value)


def octets(layers, name):
    """The only value of a field of bytes."""
    (value,) = layers[name]
    return bytes.fromhex(value.replace(":", ""))


def flow(t, a, b, port):
    """A TCP session over both paths; returns its sockets and its session at A."""
    pairs = xfer.connect(a, b, b.addr[0], port)
    t.defer(xfer.close, pairs)
    session = t.spread(a, b, pairs)[pairs[0][0].getsockname()[1]]
    xfer.exchange(pairs, 100_000, 100_000)
    return pairs, session


def datagrams(t, a, b, port, six=False):
    """A UDP session over both paths; returns it as A sees it."""
    mine, theirs = (a.addr6[0], b.addr6[0]) if six else (a.addr[0], b.addr[0])
    ends = udpcount.pair(a, b, mine, theirs, port, port + 1)
    for end in ends:
        t.defer(end.close)
        end.setblocking(False)

    def ready():
        for size in (300, 301):
            for end in ends:
                end.send(bytes(size))
        sessions = t.module.sessions(a, port, UDP)
        return sessions and len(active(sessions[0])) >= 2 and sessions[0]

    session = t.soon(ready, 20, "a UDP session with two lanes")
    for size in range(100, 160):
        for end in ends:
            end.send(bytes(size))
    return session


def traffic(t, a, b):
    """Everything that MPIP sends. Returns the sessions that were wrapped, by protocol and way."""
    wrapped = {}

    def everywhere(**params):
        lines = "".join(f"param set {name} {value}\n" for name, value in params.items())
        for host in (a, b):
            command("mpipctl", "-n", host, "-b", "-", stdin=lines)

    everywhere(scheduler="weighted", encap="none")
    pairs, _ = flow(t, a, b, 7000)
    # Not sooner: who loses a SYN sends it again without its option.
    for host in (a, b):
        for dev in host.dev:
            Rtnl(host).netem(dev, loss=0.01, **numbers(LINK))

    def missed():
        xfer.exchange(pairs, 300_000, 300_000)
        return t.module.stats(a)["repair_asked"] and t.module.stats(b)["repair_asked"]

    t.soon(missed, 20, "something lost that is asked for")
    datagrams(t, a, b, 7100, six=True)
    everywhere(cm="every")
    xfer.exchange(pairs, 100_000, 100_000)
    datagrams(t, a, b, 7200)
    everywhere(cm="adaptive", encap="udp")
    wrapped[TCP, "udp"] = flow(t, a, b, 7001)[1]
    everywhere(encap="tcp")
    wrapped[UDP, "tcp"] = datagrams(t, a, b, 7300)
    pairs, wrapped[TCP, "tcp"] = flow(t, a, b, 7002)
    # An end that gives up says so on an added lane.
    pairs[0][0].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    pairs[0][0].close()
    a.ip(["addr del 10.0.2.1/24 dev a2"])
    t.soon(lambda: any(p["state"] == "gone" for p in t.module.paths(b)), 10, "B to hear of it")
    t.module.disable(a)
    t.soon(lambda: not t.module.show(b, "peer"), 10, "B to hear the goodbye")
    return wrapped


def message(t, packet, cm, got):
    """All fields of one message are those of its bytes."""
    what = f"{cm['type']} of {packet.tuple}"
    kind = CM_TYPES.index(cm["type"])
    t.equal([got["type"], number(got, "length")], [[str(kind)], cm["length"]], what)
    t.check(str(cm["session"]) in got["session"], f"{what}: session {got['session']}")
    t.equal(number(got, "number"), cm["number"], f"{what}: number")
    body = cm["body"]
    if kind < 2:
        names = ("path", "feedback", "timestamp", "delay")
        got_names = ("path", "feedback_path", "timestamp", "delay")
        t.equal([number(got, n) for n in got_names], [cm[n] for n in names], what)
        if kind == 0:
            t.equal(number(got, "data_length"), cm["size"], what)
        else:
            names = ("packets_received", "bytes_received", "answered", "hold")
            t.equal(tuple(number(got, n) for n in names), struct.unpack("!IIII", body[24:40]), what)
        return
    t.equal(number(got, "node"), cm["node"], f"{what}: node")
    if cm["type"] in ("HELLO", "HELLO_REPLY", "CONFIRM"):
        t.equal(octets(got, "nonce_a"), body[16:24], what)
        if cm["type"] != "HELLO":
            t.equal((octets(got, "nonce_b"), octets(got, "public_key")), (body[24:32], body[32:64]), what)
    if cm["type"] in ("CONFIRM", "OPEN", "OPEN_ACK", "ADDR"):
        at = {"CONFIRM": 64, "ADDR": 24}.get(cm["type"], 16)
        port, path, count = struct.unpack("!HBB", body[at : at + 4])
        names = ("port", "original_path", "entries")
        t.equal(tuple(number(got, n) for n in names), (port, path, count), what)
        addresses = got.get("entry.ipv4", []) + got.get("entry.ipv6", [])
        t.equal(len(addresses), count, f"{what}: addresses {addresses}")
        if len(body) - at - 4 == 8 * count:
            want = [socket.inet_ntoa(body[o : o + 4]) for o in range(at + 8, len(body), 8)]
            t.equal(got.get("entry.ipv4", []), want, what)
    if cm["type"].startswith("LANE"):
        t.equal((octets(got, "challenge"), octets(got, "echo")), (body[20:28], body[28:36]), what)
        t.equal(number(got, "observed.port"), int.from_bytes(body[18:20], "big"), what)
    if cm["type"] == "ADDR":
        t.equal(number(got, "paths_down"), int.from_bytes(body[16:24], "big"), what)
    if cm["type"] == "CLOSE":
        t.equal(number(got, "reset"), int.from_bytes(body[16:20], "big"), what)
    if cm["type"] == "MISSING":
        ends = [int(n) for pair in zip(got["missing.first"], got["missing.behind"]) for n in pair]
        t.equal(ends, list(struct.unpack(f"!{len(ends)}I", body[20:])), what)


def inside(t, packets, found, session, protocol, way):
    """All that a wrapped session sent on its added lanes is seen for what it is."""
    ends = {
        tuple(x for end in order for x in (lane[end]["addr"], lane[end]["port"]))
        for lane in session["lane"]
        if not lane["original"]
        for order in (("local", "remote"), ("remote", "local"))
    }
    count = 0
    name = {TCP: "TCP", UDP: "UDP"}[protocol]
    for packet, got in zip(packets, found):
        data = packet.payload
        if packet.tuple not in ends or packet.protocol != {"udp": UDP, "tcp": TCP}[way]:
            continue
        t.equal(got["lane"], [way], f"lane of {packet.tuple}")
        if len(data) < 8 or packet.cm() or struct.unpack("!I", data[:4])[0] != session["id"]:
            continue
        count += 1
        t.equal(got["inner.protocol"], [name], f"inside {packet.tuple}")
        t.equal(set(got["session"]), {str(session["id"])}, "its session")
        if protocol == TCP:
            seq, ack, offset, flags = struct.unpack("!IIBB", data[4:14])
            want = [seq, ack, flags, len(data) - (offset >> 4) * 4]
            names = ("inner.seq", "inner.ack", "inner.flags", "inner.data_length")
        else:
            want = [struct.unpack("!H", data[4:6])[0], len(data) - 8]
            names = ("inner.length", "inner.data_length")
        t.equal([number(got, n) for n in names], want, f"header inside {packet.tuple}")
    t.at_least(count, 20, f"packets of {name} in {way}")


def strangers():
    """Frames of nobody's that may be taken for messages, or lead a dissector astray."""
    tcp, udp = ("192.0.2.1", 1000, "192.0.2.2", 2000), ("192.0.2.1", 29170, "192.0.2.2", 29170)
    frames = []
    for kind in CM_TYPES:
        for size in (0, 4, 15, 16, 17, 20, 24, 40, 56, 64, 68, 388):
            for fill in (0, 0xFF):
                cm = build_cm(kind, bytes([fill]) * size)
                frames += [tcp_segment(tcp, 1, 1, payload=cm), udp_datagram(udp, b"x", b"\0\0\0\0\0" + cm)]
    footer = struct.pack("!HBB", CM_MAGIC, 0x17, 17)
    frames += [udp_datagram(udp, bytes(size) + footer) for size in (0, 12, 40)]
    for options in (b"\xfd\x0c", b"\xfd", b"\xfd\x00MP", b"\xfd\x0cMPxxxxxxx", b"\x02"):
        frames.append(tcp_segment(tcp, 1, 0, 2, options=options))
    whole = tcp_segment(tcp, 1, 1, payload=build_cm("OPEN", bytes(32)))
    frames += [whole[:n] for n in range(20, len(whole))]
    return [(1.0, bytes(12) + struct.pack("!H", ETH_IP) + frame) for frame in frames]


@case("tshark shows every message of a session's life, lanes, and what is wrapped in them", timeout=150)
def life(t):
    a, b = t.two_hosts([LINK, LINK])
    captures = [Capture(a, dev, "tcp or udp") for dev in a.dev]
    xfer.transfer(a, b, b.addr[0], 100_000, 100_000, port=6999)
    t.load(a, b)
    wrapped = traffic(t, a, b)
    packets = sorted((p for capture in captures for p in capture.stop()), key=lambda p: p.time)
    found, said = tshark([(p.time, p.frame) for p in packets])
    t.equal(len(found), len(packets), f"frames: {said}")
    t.check("ua" not in said.replace("unusual", ""), f"what tshark complained about: {said}")
    types, places, options = {}, set(), set()
    for packet, got in zip(packets, found):
        cm = packet.cm()
        t.equal("type" in got, bool(cm), f"a message in {packet}")
        if cm:
            types[cm["type"]] = types.get(cm["type"], 0) + 1
            message(t, packet, cm, got)
            places.update(got["place"])
            if packet.surplus:
                t.equal(number(got, "surplus.compensated"), 1, f"the sum of {packet.tuple}")
        t.equal("option" in got, asks(packet), f"an option in {packet.tuple}")
        options.update(got.get("option", []))
        odd = [m for m in got.get("_ws.expert.message", []) if "Lua" in m or "protocol has it" in m]
        t.equal(odd, [], f"remarks about {packet.tuple}")
        if packet.sport == 6999 or packet.dport == 6999:
            t.equal(set(got) - {"_ws.expert.message"}, set(), "of a plain connection")
    t.note(f"{len(packets)} frames, {types}")
    t.equal(set(types), set(CM_TYPES), "types")
    t.equal(places, {"alone", "behind data", "surplus area"}, "places")
    t.equal(options, {"0x4d50", "0x4d51"}, "options")
    for (protocol, way), session in wrapped.items():
        inside(t, packets, found, session, protocol, way)


@case("tshark takes nothing of others for MPIP, and is led astray by nobody", timeout=120)
def others(t):
    frames = strangers()
    found, said = tshark(frames)
    t.equal(len(found), len(frames), f"frames: {said}")
    lengths = {}
    for got in found:
        t.check(not any("Lua" in m for m in got.get("_ws.expert.message", [])), f"an error: {got}")
        if "type" in got:
            lengths.setdefault(CM_TYPES[number(got, "type")], set()).add(number(got, "length"))
    t.note(lengths)
    # Of those that were made at all lengths, only the right ones.
    for kind, want in (("DATA", {32}), ("REPORT", {52}), ("HELLO", {76}), ("LANE", {68}), ("GOODBYE", {28})):
        t.equal(lengths[kind], want, f"lengths of {kind}")
