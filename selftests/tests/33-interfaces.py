# SPDX-License-Identifier: GPL-2.0
"""What is wanted of interfaces: backups, lists, budgets, energy. It acts on live sessions, at both ends.

All settings are A's, whose second link is meant unless a case says otherwise. B, to which nothing was
said, has to keep to them in its direction.
"""

import json
import os
import tempfile
import time

from lib import Link, case
from lib.events import MONITOR, Listener
from lib.net import command
from tools import xfer
from tools.traffic import QUIET, Traffic

EQUAL = Link(rate="30mbit", delay="5ms")
GAP = 1.0  # seconds in which the other link has to bring something when one falls silent


def interface(t, host, *words):
    """What is wanted of an interface."""
    t.module.ctl(host, "interface", "set", *map(str, words))


def roles(t, host):
    """What the interfaces of a host are used for."""
    return {one["name"]: one["role"] for one in t.module.show(host, "interface")}


@case("a backup carries nothing while another path works, both ways; it takes over at once, and gives back")
def backup(t):
    a, b, wires = t.switched([EQUAL, EQUAL])
    t.load(a, b)
    interface(t, a, a.dev[1], "backup", "on")
    traffic = Traffic(t, a, b)
    traffic.spread()
    traffic.keeps_off(1, "a backup")
    traffic.unused(a, 1, "backup")
    traffic.unused(b, 1, "peer")
    states = {path["state"] for path in t.module.paths(a) if path["local"] == a.addr[1]}
    t.equal(states, {"standby"}, "state of the path")
    t.equal(roles(t, a), {a.dev[0]: "used", a.dev[1]: "backup"}, "what the interfaces are used for")
    start = wires[0].silence()
    traffic.goes_on("everything over the backup")
    time.sleep(0.5)
    gaps = [stream.gap(start, time.monotonic())[0] for stream in traffic.streams]
    t.note(f"longest gaps, s: {[round(gap, 2) for gap in gaps]}")
    t.within(round(max(gaps), 2), GAP, "longest gap when the other path falls silent, s")
    wires[0].heal()
    traffic.keeps_off(1, "a backup again")
    # A change acts on live sessions, and on the other end.
    interface(t, a, a.dev[1], "backup", "off")
    interface(t, a, a.dev[0], "backup", "on")
    traffic.keeps_off(0, "a backup that is the sessions' own path")
    traffic.unused(b, 0, "peer")
    traffic.stop()


@case("excluded, or not enrolled: an interface is left at once by both ends, and comes back")
def lists(t):
    a, b, _ = t.switched([EQUAL, EQUAL])
    t.load(a, b)
    traffic = Traffic(t, a, b)
    traffic.spread()
    interface(t, a, a.dev[1], "exclude", "on")
    traffic.keeps_off(1, "excluded")
    traffic.unused(a, 1, "excluded")
    t.soon(lambda: all(lane["state"] == "gone" for lane in traffic.lanes(b, 1)), 10, "B's lanes there to go")
    reasons = {path.get("reason") for path in t.module.paths(a) if path["local"] == a.addr[1]}
    t.equal(reasons, {"excluded"}, "why the path is gone")
    interface(t, a, a.dev[1], "exclude", "off")
    traffic.takes_both("both again")
    # One that has lanes already may leave its own interface; a new one is left alone.
    interface(t, a, a.dev[0], "enrol", "off", "cost", 3)
    interface(t, a, a.dev[1], "enrol", "on")
    t.module.set(a, interfaces="enrolled")
    traffic.keeps_off(0, "not enrolled")
    t.equal(roles(t, a), {a.dev[0]: "excluded", a.dev[1]: "used"}, "what the interfaces are used for")
    port = traffic.another()
    t.at_least(t.module.stats(a)["lane_refused_interface"], 1, "lanes that B asked for in vain")
    t.equal(len(t.module.sessions(a, port)[0]["lane"]), 1, "lanes of a session that routing sends elsewhere")
    interface(t, a, a.dev[0], "enrol", "on")
    traffic.takes_both("both when both are enrolled")
    traffic.stop()


@case("a budget that is used up makes a backup of an interface, is told of, and comes back with the next period")
def budget(t):
    a, b, _ = t.switched([EQUAL, EQUAL])
    t.load(a, b)
    events = Listener(t, a, (*MONITOR, "interface"))
    traffic = Traffic(t, a, b)
    traffic.spread()
    interface(t, a, a.dev[1], "budget", "400k", "period", "6s")
    demoted = t.soon(lambda: events.having(kind="interface-demoted"), 15, "the budget to be used up")[0]
    t.equal([demoted[k] for k in ("interface", "reason", "budget")], [a.dev[1], "budget", 400 << 10], "what was told")
    t.at_least(demoted["used"], 400 << 10, "bytes used")
    t.within(demoted["used"], 800 << 10, "bytes used before that was noticed")
    traffic.unused(a, 1, "budget")
    traffic.unused(b, 1, "peer")
    used = traffic.used(0.8)
    t.note(f"bytes on the links when it is used up: {used}")
    row = next(one for one in t.module.show(a, "interface") if one["name"] == a.dev[1])
    t.at_most(row["left_ms"], 6000, "time left")
    if not events.having(kind="interface-promoted"):
        t.equal(row["role"], "budget", "what the interface is used for")
        t.within(used[1], QUIET, "bytes on a link whose budget is used up")
    promoted = t.soon(lambda: events.having(kind="interface-promoted"), 15, "the next period")[0]
    t.equal((promoted["interface"], promoted["used"]), (a.dev[1], 0), "what was told")
    period = (promoted["time_us"] - demoted["time_us"]) / 1e6
    t.within(period, 6.5, "time without a budget, s")
    # One that somebody takes away makes no difference any more.
    interface(t, a, a.dev[1], "used", "1M")
    t.soon(lambda: len(events.having(kind="interface-demoted")) > 1, 5, "the budget to be used up again")
    t.module.ctl(a, "interface", "reset", a.dev[1])
    t.wait(lambda: len(events.having(kind="interface-promoted")) > 1, 10, "the end of the budget")
    traffic.takes_both("both at the end")
    t.equal(roles(t, a), {a.dev[0]: "used", a.dev[1]: "used"}, "what the interfaces are used for")
    traffic.stop()


@case("saving energy: both interfaces for a while, then the thriftier one, and again")
def energy(t):
    a, b, _ = t.switched([EQUAL, EQUAL])
    t.load(a, b)
    events = Listener(t, a, (*MONITOR, "interface"))
    traffic = Traffic(t, a, b)
    traffic.spread()
    interface(t, a, a.dev[0], "power", "5000mW", "energy", "100nJ")
    interface(t, a, a.dev[1], "power", 500)
    t.module.set(a, energy_probe="1s", energy_hold="4s", energy="on")
    demoted = t.soon(lambda: events.having(kind="interface-demoted"), 15, "a choice")[0]
    t.equal((demoted["interface"], demoted["reason"]), (a.dev[0], "energy"), "what was told")
    traffic.unused(a, 0, "energy")
    traffic.unused(b, 0, "peer")
    used = traffic.used(1)
    t.note(f"bytes on the links while one is used: {used}")
    if not events.having(kind="interface-promoted"):
        t.within(used[0], QUIET, "bytes on the link that takes more energy")
    promoted = t.soon(lambda: events.having(kind="interface-promoted"), 15, "both to be tried again")[0]
    t.reaches(promoted["time_us"] - demoted["time_us"], 3_900_000, "microseconds for which it was held")
    t.module.set(a, energy="off")
    traffic.takes_both("both at the end")
    traffic.stop()


@case("a rule names an interface: whichever has the name, as soon as it has, or none")
def by_name(t):
    a, b, _ = t.switched([EQUAL, EQUAL])
    t.load(a, b)
    traffic = Traffic(t, a, b)
    traffic.spread()

    def rename(name):
        a.ip([f"link set {a.dev[1]} name {name}"])
        a.dev[1] = name

    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        file.write('[[rule]]\nmode = "all"\ndev = "later0"\n')
        file.flush()
        done = t.module.ctl(a, "config", "apply", "--lenient", "-f", file.name)
        t.check('no such interface: "later0"; it counts when there is' in done.stderr, f"warning: {done.stderr}")
        rule = t.module.show(a, "rule")[0]
        t.equal((rule["dev"], rule.get("interfaces")), (["later0"], None), "a rule for what is not there")
        t.soon(lambda: min(traffic.sent()) > 2 * QUIET, 15, "A to use both links")
        rename("later0")
        index = json.loads(a.run("ip", "-j", "link", "show", "later0").stdout)[0]["ifindex"]
        t.soon(lambda: t.module.show(a, "rule")[0].get("interfaces") == [index], 10, "it to be known by its name")
        t.soon(lambda: (one := traffic.sent())[0] * 5 < one[1], 15, "A to keep to the second link")
        rename("other0")
        t.soon(lambda: min(traffic.sent()) > 2 * QUIET, 15, "A to use both links again")
        # Nothing differs, and what is saved has the name.
        t.equal(t.module.ctl(a, "config", "diff", "--lenient", "-f", file.name).stdout, "", "differences")
        t.module.ctl(a, "config", "save", "-f", file.name)
        with open(file.name, encoding="utf-8") as saved:
            t.check("later0" in saved.read(), "the name is saved")
    traffic.stop()


@case("settings are kept by name, in files, and what makes no sense is refused")
def settings(t):
    a, _ = t.two_hosts(2)
    t.load(a)

    def shown():
        rows = t.module.show(a, "interface")
        return {row["name"]: (row.get("ifindex"), row["role"], row["cost"]) for row in rows}

    # One that comes later, by another name first, and goes.
    interface(t, a, "later0", "backup", "on", "cost", 7)
    t.equal(shown()["later0"], (None, "backup", 7), "an interface that is not there")
    a.ip(["link add other0 type dummy", "link set other0 up", "link set other0 name later0"])
    index = json.loads(a.run("ip", "-j", "link", "show", "later0").stdout)[0]["ifindex"]
    t.wait(lambda: shown()["later0"] == (index, "backup", 7), 10, "it to be known by its name")
    a.ip(["link del later0"])
    t.wait(lambda: shown()["later0"][0] is None, 10, "it to be gone")
    interface(t, a, a.dev[1], "budget", "2G", "period", "30d", "power", 1076, "energy", "60nJ", "exclude", "on")
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "mpip.toml")
        t.module.ctl(a, "config", "save", "-f", file)
        with open(file, encoding="utf-8") as saved:
            t.note(saved.read())
        before = t.module.show(a, "interface")
        settings = [{k: v for k, v in row.items() if k not in ("left_ms", "used")} for row in before]
        for name in ("later0", a.dev[1]):
            t.module.ctl(a, "interface", "reset", name)
        t.equal({row["role"] for row in t.module.show(a, "interface")}, {"used"}, "roles when nothing is set")
        diff = t.module.ctl(a, "config", "diff", "-f", file, check=False)
        t.equal((diff.returncode, diff.stdout.count("interface set")), (1, 2), f"differences: {diff.stdout}")
        t.module.ctl(a, "config", "apply", "-f", file)
        after = t.module.show(a, "interface")
        key = lambda row: row["name"]  # noqa: E731
        kept = [{k: v for k, v in row.items() if k not in ("left_ms", "used")} for row in after]
        t.equal(sorted(kept, key=key), sorted(settings, key=key), "what was applied")
        t.equal(t.module.ctl(a, "config", "diff", "-f", file).stdout, "", "differences")
        # What is used is not touched by a change of something else.
        interface(t, a, a.dev[1], "used", "1M")
        interface(t, a, a.dev[1], "cost", 4, "budget", "3G")
        row = next(row for row in t.module.show(a, "interface") if row["name"] == a.dev[1])
        t.at_least(row["used"], 1 << 20, "bytes used")
    for words, status, message in (
        (("set", a.dev[1], "enrol", "on"), 2, "interface.enrolled: an interface is either enrolled or excluded"),
        (("reset", "nothing0"), 2, "interface.name: nothing is set for an interface of this name"),
        (("set", a.dev[1], "budget", "2X"), 1, '"2X"'),
    ):
        done = t.module.ctl(a, "interface", *words, check=False)
        t.equal(done.returncode, status, f"exit status of {words}: {done.stderr}")
        t.check(message in done.stderr, f"{words}: {done.stderr}")
    # Far more than there is room for.
    lines = "".join(f"interface set full{n} cost 1\n" for n in range(64))
    done = command("mpipctl", "-n", str(a), "-b", "-", stdin=lines, check=False)
    t.equal(done.returncode, 2, f"exit status: {done.stderr}")
    t.check("64 interfaces" in done.stderr, f"message: {done.stderr}")
    t.equal(len([row for row in t.module.show(a, "interface") if row["name"] != a.dev[0]]), 64, "interfaces")
