# SPDX-License-Identifier: GPL-2.0
"""mpipctl and netlink: parameters, bad values, missing rights, the kernel's own ynl tool."""

import importlib
import json
import os
import shutil
import sys
import tempfile

from lib import case
from lib.net import Host, command
from tools import xfer

HERE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def one_host(t):
    host = Host("hA")
    t.hosts.append(host)
    t.load(host)
    return host


@case("parameters: shown, set, limited, kept per namespace")
def params(t):
    a = one_host(t)
    all_of_them = t.module.params(a)
    for name in (
        "cm",
        "weight_step",
        "weight_interval",
        "query_threshold",
        "heartbeat",
        "reorder_packets",
        "max_sessions",
    ):
        t.check(name in all_of_them, f"parameter {name}")
    t.equal(
        (all_of_them["weight_step"]["value"], all_of_them["weight_interval"]["value"]),
        (10, 100),
        "the paper's S and T",
    )
    for name, p in all_of_them.items():
        t.equal(p["value"], p["default"], f"{name} at its default")
    for words, name, value in (
        ("every", "cm", 1),
        ("adaptive", "cm", 0),
        ("2s", "heartbeat", 2000),
        ("77", "weight_step", 77),
    ):
        t.module.set(a, **{name: words})
        t.equal(t.module.params(a)[name]["value"], value, f"{name} set to {words}")
    for name, bad in (
        ("cm", "sometimes"),
        ("weight_step", "0"),
        ("weight_step", "501"),
        ("weight_step", "-1"),
        ("weight_step", "99999999999999999999"),
        ("heartbeat", "soon"),
        ("heartbeat", "1.5"),
        ("nonsense", "1"),
        ("", "1"),
    ):
        before = t.module.params(a)
        done = t.module.ctl(a, "param", "set", name, bad, check=False)
        t.equal(done.returncode, 1, f"exit status of {name}={bad}")
        t.check(
            (bad if name in before else name) in done.stderr, f"the message quotes the value: {done.stderr}"
        )
        t.equal(t.module.params(a), before, f"nothing changed by {name}={bad}")


@case("words that mean nothing: status 1 and a message, no state changed")
def bad_words(t):
    a = one_host(t)
    for words in (
        ["frobnicate"],
        ["param", "frob"],
        ["param", "set", "cm"],
        ["ask", "add", "10.0.0.0/33"],
        ["ask", "add", "10.0.0.999"],
    ):
        done = t.module.ctl(a, *words, check=False)
        t.equal(done.returncode, 1, f"exit status of {words}: {done.stderr}")
        t.check(done.stderr.strip(), "a message")
    done = t.module.ctl("no-such-namespace", "status", check=False)
    t.check(
        done.returncode in (1, 2) and "no-such-namespace" in done.stderr, f"unknown namespace: {done.stderr}"
    )


@case("without CAP_NET_ADMIN: status, counters and parameters may be read, no more")
def rights(t):
    a = one_host(t)
    nobody = (
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "--bounding-set=-all",
        "--inh-caps=-all",
        "mpipctl",
    )
    for words in (["status"], ["stats"], ["param"]):
        done = a.run(*nobody, *words, check=False)
        t.equal(done.returncode, 0, f"{words}: {done.stderr}")
    before = t.module.params(a), t.module.show(a, "status")["enabled"]
    for words in (
        ["disable"],
        ["enable"],
        ["session"],
        ["path"],
        ["path", "set", "0", "state", "standby"],
        ["peer"],
        ["avail"],
        ["param", "set", "cm", "every"],
        ["ask", "add", "10.0.0.0/8"],
        ["ask", "del", "10.0.0.0/8"],
        ["rule"],
        ["rule", "add", "mode", "single"],
        ["rule", "change", "1", "mode", "all"],
        ["rule", "load", "/dev/null"],
        ["rule", "delete", "1"],
        ["rule", "flush"],
        ["interface", "set", "eth0", "backup", "on"],
        ["interface", "reset", "eth0"],
        ["psk", "clear"],
        ["config", "show"],
        ["top", "--count", "1"],
    ):
        done = a.run(*nobody, *words, check=False)
        t.equal(done.returncode, 2, f"exit status of {words}: {done.stdout}{done.stderr}")
        t.check(
            "CAP_NET_ADMIN" in done.stderr or "ermitted" in done.stderr, f"message of {words}: {done.stderr}"
        )
    t.equal((t.module.params(a), t.module.show(a, "status")["enabled"]), before, "nothing changed")


@case("root of a user namespace rules its own network namespace, not the others")
def user_namespace(t):
    a = one_host(t)
    # The tool may lie in a home that nobody else may look into.
    place = tempfile.TemporaryDirectory()
    t.defer(place.cleanup)
    os.chmod(place.name, 0o755)
    tool = shutil.copy(shutil.which("mpipctl"), place.name)
    script = f"{tool} enable && {tool} param set weight_step 44 && {tool} -j status && {tool} -j param"
    done = command(
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "unshare",
        "--user",
        "--net",
        "--map-root-user",
        "sh",
        "-c",
        script,
    )
    status, params_there = [json.loads(line) for line in done.stdout.splitlines()]
    t.check(status["enabled"], "enabled in its own namespace")
    t.equal(
        {p["name"]: p["value"] for p in params_there}["weight_step"], 44, "parameter in its own namespace"
    )
    t.equal(t.module.params(a)["weight_step"]["value"], 10, "parameter elsewhere")
    t.check(not t.module.show(None, "status")["enabled"], "the initial namespace is as it was")


@case("the kernel's ynl tool reads the same objects from mpip.yaml", timeout=120)
def ynl(t):
    folder = os.environ.get("YNL_DIR", "")
    tool = next((f for f in (f"{folder}/pyynl/cli.py", f"{folder}/cli.py") if os.path.exists(f)), None)
    t.check(tool, f"YNL_DIR names the kernel's tools/net/ynl: {folder!r}")
    spec = f"{HERE}/mpip/uapi/mpip.yaml"

    a, b = t.two_hosts(2)
    t.load(a, b)
    # The tool as it is typed, once; then what it is made of, which has read the specification already.
    done = a.run("python3", tool, "--spec", spec, "--no-schema", "--output-json", "--do", "get")
    typed = json.loads(done.stdout)
    sys.path.append(folder)
    library = importlib.import_module("pyynl.lib")
    with a.inside():
        family = library.YnlFamily(spec, schema="")
    t.equal(typed["id"], family.do("get", {})["id"], "node id, by the tool and by its library")
    pairs = xfer.connect(a, b, b.addr[0], 7000)
    t.spread(a, b, pairs)

    status, mine = family.do("get", {}), t.module.show(a, "status")
    t.equal(int(status["id"]), int(mine["id"], 16), "node id")
    t.equal((status["enabled"], status["sessions"]), (1, mine["sessions"]), "enabled, sessions")
    sessions, shown = family.dump("session-get", {}), t.module.sessions(a)
    t.equal({s["id"] for s in sessions}, {s["id"] for s in shown}, "session ids")
    one = next(s for s in sessions if s["remote"]["port"] == 7000)
    t.equal((one["state"], one["remote"]["addr"]), ("open", b.addr[0]), "the session")
    t.at_least(len({lane["path"] for lane in one["lane"]}), 2, "paths that it takes")

    def lanes(sessions):
        one = next(s for s in sessions if s["remote"]["port"] == 7000)
        return [(lane["path"], lane["local"], lane["remote"], lane["state"]) for lane in one["lane"]]

    # They are asked one after the other, and lanes come and go.
    same = lambda: lanes(family.dump("session-get", {})) == lanes(t.module.sessions(a))  # noqa: E731
    t.soon(same, 5, "the same lanes by both")
    paths, shown = family.dump("path-get", {}), t.module.paths(a)
    t.equal(
        {(p["id"], p["local"], p["remote"]) for p in paths},
        {(p["id"], p["local"], p["remote"]) for p in shown},
        "paths",
    )
    t.equal(
        [int(p["id"]) for p in family.dump("peer-get", {})],
        [int(p["id"], 16) for p in t.module.show(a, "peer")],
        "peers",
    )
    t.equal(
        {c["name"].replace("-", "_") for c in family.dump("counter-get", {})},
        set(t.module.stats(a)),
        "counters",
    )
    t.module.ctl(a, "interface", "set", a.dev[1], "backup", "on", "budget", "2G")
    rows = {one["name"]: one for one in family.dump("interface-get", {})}
    t.equal(set(rows), {one["name"] for one in t.module.show(a, "interface")}, "interfaces")
    one = rows[a.dev[1]]
    t.equal((one["role"], one["backup"], one["budget"]), ("backup", 1, 2 << 30), "what is wanted of one")
    t.equal(
        {p["name"]: p["default"] for p in family.dump("param-get", {})},
        {n: p["default"] for n, p in t.module.params(a).items()},
        "parameters",
    )
    t.equal(len(family.dump("avail-get", {})), len(t.module.show(a, "avail")), "availability rows")
    for prefix in ("203.0.113.0/24", "2001:db8::/32"):
        t.module.ctl(a, "ask", "add", prefix)
    t.equal(
        {f"{p['addr']}/{p['len']}" for p in family.dump("prefix-get", {})},
        {"203.0.113.0/24", "2001:db8::/32"},
        "prefixes",
    )
    family.do("param-set", {"name": "weight_step", "value": 55})
    t.equal(t.module.params(a)["weight_step"]["value"], 55, "parameter set by ynl")
    path = paths[1]["id"]
    family.do("path-set", {"id": path, "set-state": "standby", "set-weight": 7})
    one = next(p for p in family.dump("path-get", {}) if p["id"] == path)
    t.equal((one["set-state"], one["set-weight"], one["weight"]), ("standby", 7, 7), "what is wanted of a path")
    names = f"nosuch9 {a.dev[1]}"
    family.do("rule-add", {"mode": "single", "interface-names": names})
    t.equal(family.dump("rule-get", {})[0]["interface-names"], names, "a rule's interfaces by name")
    index = json.loads(a.run("ip", "-j", "link", "show", a.dev[1]).stdout)[0]["ifindex"]
    rule = t.module.show(a, "rule")[0]
    t.equal((rule["dev"], rule["interfaces"]), (names.split(), [index]), "the same as mpipctl has it")
    for request, values in (
        ("param-set", {"name": "weight_step", "value": 100000}),
        ("rule-add", {"mode": "single", "interface-names": "a/b"}),
        ("rule-add", {"mode": "single", "interface-names": "1 2 3 4 5 6 7 8 9"}),
        ("rule-add", {"mode": "single", "interface-names": ""}),
        ("rule-add", {"mode": "never", "interface-names": "nosuch9"}),
        ("path-set", {"id": path, "set-weight": 1001}),
        ("path-set", {"id": path, "set-state": 3}),
        ("path-set", {"id": 200, "set-weight": 5}),
        ("path-set", {"id": path, "peer": 1, "set-weight": 5}),
        ("path-set", {"set-weight": 5}),
        ("path-set", {"id": path}),
    ):
        try:
            family.do(request, values)
        except library.NlError as error:
            t.note(error)
        else:
            t.check(False, f"{request} {values} is refused by the kernel itself")
    t.equal(next(p for p in t.module.paths(a) if p["id"] == path)["set_weight"], 7, "weight")
    family.do("set", {"enabled": 0})
    t.check(not t.module.show(a, "status")["enabled"], "disabled by ynl")
    xfer.Traffic(pairs, 1000, 1000).wait()


@case("dumps larger than one message: 300 sessions are listed once each", timeout=120)
def large_dump(t):
    a, b = t.two_hosts(2)
    t.load(a, b)
    pairs = xfer.connect(a, b, b.addr[0], count=300)
    t.spread(a, b, pairs, timeout=60)
    ids = [s["id"] for s in t.module.sessions(a, protocol=6)]
    t.at_least(len(ids), 300, "sessions")
    t.equal(len(ids), len(set(ids)), "each once")
