# SPDX-License-Identifier: GPL-2.0
"""Events: who is told of what, who may listen, and how listening ends."""

import os
import re
import signal
import subprocess
import tempfile
import time

from lib import case
from lib.events import MONITOR, Listener, groups_of
from lib.net import Host
from lib.process import written
from tools import xfer

HERE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
NOBODY = (
    "setpriv",
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
    "--bounding-set=-all",
    "--inh-caps=-all",
)


def node(t, host):
    return t.module.show(host, "status")["id"]


def cable(t, near, far):
    """A network of its own on a new cable between two hosts."""
    near.ip(
        [
            f"link add x1 type veth peer name x2 netns {far}",
            "link set x1 up",
            "addr add 192.0.2.1/24 dev x1",
        ]
    )
    far.ip(["link set x2 up"])


@case("a session opens: peer-up, then each path once; the other end is disabled: peer-down", timeout=90)
def session(t):
    a, b = t.two_hosts(2)
    t.load(a, b)
    listeners = Listener(t, a), Listener(t, b)
    before = time.monotonic() * 1e6
    pairs = xfer.connect(a, b, b.addr[0], 7000)
    t.spread(a, b, pairs)
    ids = node(t, b), node(t, a)
    for peer, here, there, listener in zip(ids, (a, b), (b, a), listeners):
        up = listener.hears(kind="peer-up")
        t.equal(up["peer"], peer, "the peer")
        paths = {p["id"]: p for p in t.module.paths(here)}
        for local, remote in zip(here.addr, there.addr):
            event = listener.hears(kind="path-up", local=local, remote=remote)
            path = paths[event["path"]]
            t.equal(
                [event[k] for k in ("peer", "local", "remote", "ifindex", "dev")],
                [path[k] for k in ("peer", "local", "remote", "ifindex", "dev")],
                "event and path",
            )
            t.check(before <= up["time_us"] <= event["time_us"] <= time.monotonic() * 1e6, "the times")
    t.module.disable(b)
    t.equal(listeners[0].hears(kind="peer-down")["reason"], "goodbye", "why A lost B")
    t.equal(listeners[1].hears(kind="peer-down")["reason"], "stopped", "why B lost A")
    for listener in listeners:
        # On a slow machine a path may be suspect for a moment.
        kinds = [e["kind"] for e in listener.read() if e["kind"].endswith(("-up", "-down"))]
        t.equal(kinds, ["peer-up", "path-up", "path-up", "peer-down"], f"what {listener.host} was told")
    # New keys, a new life.
    t.module.enable(b)
    t.spread(a, b, pairs)
    t.wait(lambda: len(listeners[0].having(kind="peer-up")) == 2, 20, "the second peer-up")


@case("a link fails and comes back: path-suspect, path-return", timeout=90)
def failure(t):
    a, b = t.two_hosts(2)
    t.load(a, b)
    pairs = xfer.connect(a, b, b.addr[0])
    t.spread(a, b, pairs)
    listener = Listener(t, a)
    traffic = xfer.Traffic(pairs)
    t.carries(a)
    ends = ((a, a.dev[1]), (b, b.dev[1]))
    for host, dev in ends:
        host.tc([f"qdisc replace dev {dev} root netem loss 100%"])
    suspect = listener.hears(kind="path-suspect", local=a.addr[1])
    for host, dev in ends:
        host.tc([f"qdisc del dev {dev} root"])
    back = listener.hears(kind="path-return", local=a.addr[1])
    for key in ("peer", "path", "remote"):
        t.equal(back[key], suspect[key], f"{key} of both events")
    t.equal(suspect["reason"], "silent", "why it was suspect")
    t.check(suspect["time_us"] < back["time_us"], "the times")
    traffic.finish()

    def counted():
        stats = t.module.stats(a)
        told = [len(listener.having(kind=kind)) for kind in ("path-suspect", "path-return")]
        return told == [stats["path_suspect"], stats["path_returned"]]

    t.wait(counted, 20, "as many events as were counted")
    xfer.close(pairs)


@case("an address of a path goes and comes back: path-down at both ends, path-return", timeout=90)
def unplugged(t):
    a, b = t.two_hosts(2)
    t.load(a, b)
    pairs = xfer.connect(a, b, b.addr[0])
    t.spread(a, b, pairs)
    at_a, at_b = Listener(t, a), Listener(t, b)
    traffic = xfer.Traffic(pairs)
    t.carries(a)
    # The address only: without the carrier B would know by itself.
    a.ip([f"addr del {a.addr[1]}/24 dev {a.dev[1]}"])
    at_a.hears(kind="path-down", local=a.addr[1], reason="local-gone")
    at_b.hears(kind="path-down", remote=a.addr[1], reason="remote-gone")
    a.ip([f"addr add {a.addr[1]}/24 dev {a.dev[1]}"])
    at_a.hears(kind="path-return", local=a.addr[1])
    at_b.hears(kind="path-return", remote=a.addr[1])
    # It was news the first time and is so the second time.
    a.ip([f"addr del {a.addr[1]}/24 dev {a.dev[1]}"])
    for listener in (at_a, at_b):
        t.wait(lambda who=listener: len(who.having(kind="path-down")) == 2, 20, "path-down once more")
    traffic.finish()
    xfer.close(pairs)


@case("a router refuses a path: path-down with the reason, once", timeout=90)
def refused(t):
    a, b, router = t.routed(2, 1)
    for statement in (
        "add table ip f",
        "add chain ip f f { type filter hook forward priority 0 ; }",
        f"add rule ip f f ip saddr {a.addr[1]} reject with icmp type port-unreachable",
    ):
        router.run("nft", statement)
    t.load(a, b)
    listener = Listener(t, a)
    pairs = xfer.connect(a, b, b.addr[0], 7000, count=3)

    def told():
        xfer.exchange(pairs, 3000, 3000)
        return listener.having(kind="path-down")

    down = t.wait(told, 30, "path-down")[0]
    t.equal((down["local"], down["remote"]), (a.addr[1], b.addr[0]), "the path")
    t.equal(down["reason"], "unreachable", "why it is down")
    t.wait(lambda: xfer.exchange(pairs, 3000, 3000) and refusals(t, a) >= 9, 30, "each way of each session to be refused")
    t.equal(len(listener.having(kind="path-down")), 1, "told once")
    router.run("nft", "flush chain ip f f")
    t.spread(a, b, pairs)
    listener.hears(kind="path-up", local=a.addr[1])


def refusals(t, host):
    return t.module.stats(host)["lane_refused_icmp"]


@case("an address comes and goes: address-change with their number")
def addresses(t):
    a, b = t.two_hosts(2)
    t.load(a)
    listener = Listener(t, a)
    count = len(a.addr) + len(a.addr6)

    def told():
        return [e["addresses"] for e in listener.having(kind="address-change")]

    a.ip([f"addr add 192.0.2.77/24 dev {a.dev[0]}"])
    t.wait(lambda: told()[-1:] == [count + 1], 20, "the address to be told of")
    a.ip([f"addr del 192.0.2.77/24 dev {a.dev[0]}"])
    t.wait(lambda: told()[-2:] == [count + 1, count], 20, "its end to be told of")


@case("events stay in their namespace", timeout=90)
def namespaces(t):
    a, b = t.two_hosts(2)
    c, d = Host("hC"), Host("hD")
    t.hosts += [c, d]
    t.load(a, b, c)
    there, off = Listener(t, c), Listener(t, d)
    here = Listener(t, a)
    pairs = xfer.connect(a, b, b.addr[0])
    t.spread(a, b, pairs)
    here.hears(kind="peer-up")
    # What comes last shows that nothing else is still to come.
    cable(t, c, d)
    there.hears(kind="address-change", addresses=1)
    t.equal({e["kind"] for e in there.read()}, {"address-change"}, "told in a namespace without peers")
    t.equal(off.read(), [], "told in a namespace that is not enabled")
    t.equal([e for e in here.read() if e.get("addresses") == 1], [], "told of another's addresses")
    xfer.close(pairs)


@case("only certain events, and times, for people to read")
def text(t):
    a, b = t.two_hosts(2)
    t.load(a, b)
    paths = Listener(t, a, (*MONITOR, "path-up"))
    with tempfile.TemporaryFile() as file:
        people = a.spawn("mpipctl", "monitor", "--timestamps", stdout=file)
        t.defer(people.kill)
        t.wait(lambda: groups_of(a, people), 20, "the monitor to listen")
        pairs = xfer.connect(a, b, b.addr[0])
        t.spread(a, b, pairs)
        paths.hears(kind="path-up", local=a.addr[1])
        t.equal({e["kind"] for e in paths.read()}, {"path-up"}, "only what was asked for")
        people.send_signal(signal.SIGTERM)
        t.equal(people.wait(20), 0, "exit status")
        file.seek(0)
        lines = file.read().decode().splitlines()
    line = re.compile(r"\[\d+\.\d{6}\] (\S+) peer [0-9a-f]{16}( .*)?")
    told = [line.fullmatch(one) for one in lines]
    t.check(all(told), f"time, event and peer: {lines}")
    t.at_least([one[1] for one in told].count("peer-up"), 1, f"peer-up: {lines}")
    up = f" dev {a.dev[1]} local {a.addr[1]} remote {b.addr[1]}"
    t.check(any(one[1] == "path-up" and up in one[2] for one in told), f"path-up, and of which: {lines}")
    done = a.run(*MONITOR, "nonsense", check=False)
    t.equal(done.returncode, 1, f"exit status: {done.stderr}")
    t.check("nonsense" in done.stderr, f"the message quotes it: {done.stderr}")


@case("who has no rights in the namespace may not listen")
def rights(t):
    a = Host("hA")
    t.hosts.append(a)
    t.load(a)
    for who in (NOBODY, ("unshare", "--user", "--map-root-user")):
        done = a.run(*who, *MONITOR, check=False, timeout=20)
        t.equal(done.returncode, 2, f"exit status with {who[0]}: {done.stdout}{done.stderr}")
        t.check("CAP_NET_ADMIN" in done.stderr, f"message: {done.stderr}")
    done = a.run("unshare", "--user", "--net", "--map-root-user", "timeout", "1", *MONITOR, check=False)
    t.equal(done.returncode, 124, f"root of its own namespace listens: {done.stderr}")


@case("listening ends well: interrupted, reader gone, module gone")
def endings(t):
    a = Host("hA")
    t.hosts.append(a)
    t.load(a)
    for number in (signal.SIGINT, signal.SIGTERM):
        listener = Listener(t, a)
        listener.process.send_signal(number)
        listener.ends(0)
        t.equal(listener.said(), "", "nothing to complain about")
    listener = Listener(t, a)
    listener.process.stdout.close()
    listener.ends(0)
    t.equal(listener.said(), "", "nothing to complain about")
    listener = Listener(t, a)
    t.unload()
    listener.ends(3)
    t.check("was unloaded" in listener.said(), f"message: {listener.said()}")
    done = a.run(*MONITOR, check=False)
    t.equal(done.returncode, 3, f"without the module: {done.stderr}")
    # The group's number may be somebody else's by now; ours is told to those who ask anew.
    t.load(a)
    Listener(t, a)


@case("a listener that is too slow is told that it missed something, and goes on", timeout=120)
def slow(t):
    a, b = t.two_hosts(1)
    limit = "/proc/sys/net/core/rmem_max"
    with open(limit, encoding="ascii") as file:
        usual = file.read()

    def set_limit(value):
        with open(limit, "w", encoding="ascii") as file:
            file.write(str(value))

    t.load(a, b)
    quick = Listener(t, a)
    t.defer(set_limit, usual)
    set_limit(2304)
    late = Listener(t, a)
    late.process.send_signal(signal.SIGSTOP)
    pairs = xfer.connect(a, b, b.addr[0])
    seed = 1
    ups = 0
    while len(quick.read()) < 20:

        def up(ups=ups):
            nonlocal seed
            seed += 2
            xfer.exchange(pairs, 3000, 3000, seed)
            return len(quick.having(kind="peer-up")) > ups

        t.wait(up, 30, "peer-up")
        ups = len(quick.having(kind="peer-up"))
        t.module.disable(b)
        t.wait(lambda n=ups: len(quick.having(kind="peer-down")) == n, 20, "peer-down")
        t.module.enable(b)
    t.equal(quick.having(kind="lost"), [], "the quick one missed nothing")
    late.process.send_signal(signal.SIGCONT)
    late.hears(kind="lost")
    t.check("events were lost" in late.said(), f"message: {late.said()}")
    heard = len(late.read())
    t.wait(lambda: xfer.exchange(pairs, 3000, 3000) and len(late.read()) > heard, 30, "events after the gap")


@case("the kernel's ynl tool understands events", timeout=120)
def ynl(t):
    folder = os.environ.get("YNL_DIR", "")
    tool = next((f for f in (f"{folder}/pyynl/cli.py", f"{folder}/cli.py") if os.path.exists(f)), None)
    t.check(tool, f"YNL_DIR names the kernel's tools/net/ynl: {folder!r}")
    a, b = t.two_hosts(2)
    t.load(a, b)
    spec = f"{HERE}/mpip/uapi/mpip.yaml"
    argv = ("python3", "-u", tool, "--spec", spec, "--no-schema", "--output-json", "--subscribe", "events")
    listener = Listener(t, a, argv, groups=1)
    pairs = xfer.connect(a, b, b.addr[0])
    t.spread(a, b, pairs)

    def told(kind):
        return [e["msg"] for e in listener.having(name="event") if e["msg"]["kind"] == kind]

    ups = t.wait(lambda: len(told("path-up")) == 2 and told("path-up"), 20, "both paths")
    t.equal({(e["local"], e["remote"]) for e in ups}, set(zip(a.addr, b.addr)), "the paths' addresses")
    t.equal([int(e["peer"]) for e in told("peer-up")], [int(node(t, b), 16)], "the peer")
    t.module.disable(b)
    t.wait(lambda: [e for e in told("peer-down") if e["reason"] == "goodbye"], 20, "peer-down")
    xfer.close(pairs)
