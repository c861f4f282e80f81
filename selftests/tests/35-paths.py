# SPDX-License-Identifier: GPL-2.0
"""What is wanted of a path itself: standby, disabled, a weight. It acts on live sessions, at both ends.

All is set at A. B, to which nothing was said, has to keep to it in its direction.
"""

from lib import Link, case
from tools import xfer
from tools.traffic import Traffic

EQUAL = Link(rate="30mbit", delay="5ms")


def on(t, host, addr):
    """The path of a host with this local address."""
    return next(path for path in t.module.paths(host) if path["local"] == addr)


def path_set(t, host, addr, *words):
    """What is wanted of the path with this local address; what the tool says."""
    done = t.module.ctl(host, "path", "set", str(on(t, host, addr)["id"]), *map(str, words))
    t.equal(done.stdout, "", "output")
    return done.stderr


@case("standby and disabled: both ends leave a path at once, and take it again; the last one carries on")
def states(t):
    a, b, _ = t.switched([EQUAL, EQUAL])
    t.load(a, b)
    traffic = Traffic(t, a, b)
    traffic.spread()
    t.equal(path_set(t, a, a.addr[1], "state", "standby"), "", "remarks")
    path = on(t, a, a.addr[1])
    t.equal((path["set_state"], path.get("unused")), ("standby", "standby"), "what is shown")
    traffic.keeps_off(1, "standby")
    traffic.unused(a, 1, "standby")
    traffic.unused(b, 1, "peer")
    t.equal(on(t, a, a.addr[1])["state"], "standby", "state of the path")
    # Not used at all. What an interface's settings say stays, and counts again afterwards.
    t.equal(path_set(t, a, a.addr[1], "state", "disabled"), "", "remarks")
    path = on(t, a, a.addr[1])
    t.equal([path[k] for k in ("state", "set_state", "reason")], ["disabled"] * 3, "what is shown")
    traffic.keeps_off(1, "disabled")
    traffic.unused(a, 1, "disabled")
    t.soon(lambda: all(lane["state"] == "gone" for lane in traffic.lanes(b, 1)), 10, "B's lanes there to go")
    t.equal(on(t, b, b.addr[1]).get("reason"), "remote-gone", "what B says of it")
    # New sessions get no lane there, whichever end looks for one.
    port = traffic.another()
    t.equal(len(t.module.sessions(a, port)[0]["lane"]), 1, "its lanes")
    t.equal(path_set(t, a, a.addr[1], "state", "active"), "", "remarks")
    t.check("set_state" not in on(t, a, a.addr[1]), "nothing is set")
    traffic.takes_both("both again")
    # The sessions' own path, then the other one as well: what has no other way goes on there.
    path_set(t, a, a.addr[0], "state", "disabled")
    traffic.keeps_off(0, "the sessions' own path, disabled")
    remark = path_set(t, a, a.addr[1], "state", "disabled")
    t.check("no other path to the peer works now" in remark, f"remark: {remark}")
    traffic.keeps_off(1, "all disabled")
    traffic.goes_on("all on the sessions' own path")
    for addr in a.addr:
        path_set(t, a, addr, "state", "active")
    traffic.takes_both("both at the end")
    traffic.stop()


@case("a weight that was set is that of all sessions with the scheduler weighted, until it is taken away")
def weights(t):
    a, b, _ = t.switched([EQUAL, EQUAL])
    t.load(a, b)
    traffic = Traffic(t, a, b)
    traffic.spread()
    remark = path_set(t, a, a.addr[1], "weight", 900)
    t.check("the scheduler is earliest now" in remark, f"remark: {remark}")
    t.module.set(a, scheduler="weighted")
    t.equal(path_set(t, a, a.addr[0], "weight", 100), "", "remarks")

    t.soon(lambda: (sent := traffic.sent())[1] > 4 * sent[0], 15, "A to send most by the second link")
    t.equal([on(t, a, addr)["set_weight"] for addr in a.addr], [100, 900], "weights that were set")
    lanes = [lane for s in t.module.sessions(a) for lane in s["lane"] if lane["state"] == "active"]
    t.equal({(lane["local"]["addr"], lane["weight"]) for lane in lanes}, set(zip(a.addr, (100, 900))), "weights of lanes")
    path_set(t, a, a.addr[0], "weight", 900)
    path_set(t, a, a.addr[1], "weight", 100)
    t.soon(lambda: (sent := traffic.sent())[0] > 4 * sent[1], 15, "A to send most by the first link")
    for addr in a.addr:
        path_set(t, a, addr, "weight", "auto")
    t.equal([on(t, a, addr).get("set_weight") for addr in a.addr], [None, None], "weights that were set")
    traffic.stop()


@case("what there is not, and what makes no sense, is refused and changes nothing")
def refusals(t):
    a, b = t.two_hosts(2)
    t.load(a, b)
    t.spread(a, b, xfer.connect(a, b, b.addr[0]))
    known = on(t, a, a.addr[1])["id"]
    peer = on(t, a, a.addr[1])["peer"]
    for words, status, message in (
        ((63, "state", "standby"), 2, 'path "63": the kernel refused: path.id: no such path'),
        ((known, "state", "standby", "peer", "1"), 2, "no such path"),
        ((known, "weight", 1001), 1, 'out of range: "1001"; allowed: 1 to 1000, or auto'),
        ((known, "state", "off"), 1, '"off"'),
        ((known,), 1, "give weight or state"),
    ):
        done = t.module.ctl(a, "path", "set", *map(str, words), check=False)
        t.equal(done.returncode, status, f"exit status of {words}: {done.stderr}")
        t.check(message in done.stderr, f"{words}: {done.stderr}")
    t.check("set_state" not in on(t, a, a.addr[1]), "nothing is set")
    t.module.ctl(a, "path", "set", str(known), "state", "standby", "peer", peer)
    t.equal(on(t, a, a.addr[1])["set_state"], "standby", "what is set with the peer's id")
    # A peer that is known anew has new paths.
    t.module.ctl(a, "disable")
    done = t.module.ctl(a, "path", "set", str(known), "state", "standby", check=False)
    t.check(done.returncode == 2 and "MPIP is off here" in done.stderr, f"without an instance: {done.stderr}")
