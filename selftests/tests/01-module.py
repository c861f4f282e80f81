# SPDX-License-Identifier: GPL-2.0
"""The module loads, unloads, and works per network namespace."""

from lib import case
from lib.net import Host, command
from tools import xfer


@case("loads, is on in the initial namespace by default, unloads")
def loads(t):
    t.module.load()
    status = t.module.show(None, "status")
    t.check(status["enabled"], f"enabled by default: {status}")
    t.check(status["version"], "a version")
    t.check(int(status["id"], 16), "a node id")
    for name in ("peers", "sessions", "paths", "active_paths"):
        t.equal(status[name], 0, name)
    t.check("mpip" in command("genl", "ctrl", "get", "name", "mpip").stdout, "the netlink family")
    t.unload()
    t.check(not t.module.loaded(), "unloaded")
    t.check("mpip" not in command("genl", "ctrl", "list").stdout, "the netlink family is gone")


@case("enabled=0 leaves the initial namespace off")
def off(t):
    t.module.load(enabled=0)
    t.check(not t.module.show(None, "status")["enabled"], "off")


@case("each namespace is switched on and off for itself")
def namespaces(t):
    a, b = Host("hA"), Host("hB")
    t.hosts += [a, b]
    t.load()

    def on():
        return [t.module.show(host, "status")["enabled"] for host in (None, a, b)]

    t.equal(on(), [False, False, False], "at first")
    t.module.enable(a)
    t.equal(on(), [False, True, False], "A enabled")
    first = t.module.show(a, "status")["id"]
    t.module.enable(b)
    t.equal(on(), [False, True, True], "B enabled")
    t.check(t.module.show(b, "status")["id"] != first, "node ids differ")
    t.module.disable(a)
    t.equal(on(), [False, False, True], "A disabled")
    t.module.enable(a)
    t.check(t.module.show(a, "status")["id"] != first, "a fresh node id each time")
    t.module.set(a, weight_step=33)
    t.equal(t.module.params(b)["weight_step"]["value"], 10, "parameters are per namespace")


@case("20 times loaded and unloaded, a namespace coming and going meanwhile")
def repeatedly(t):
    for n in range(20):
        t.load()
        host = Host("hA")
        t.module.enable(host)
        if n % 2:
            t.unload()
            host.delete()
        else:
            host.delete()
            t.unload()
    t.check(True, "no reference kept")


@case("a namespace is removed with the module on in it, sessions and all")
def removed(t):
    for _ in range(3):
        a, b = t.two_hosts(2)
        t.hosts.clear()
        t.load(a, b)
        pairs = xfer.connect(a, b, b.addr[0], count=5)
        t.spread(a, b, pairs)
        xfer.close(pairs)
        a.delete()
        b.delete()
        t.unload()


@case("without the module mpipctl says so, with status 3")
def absent(t):
    for words in (["status"], ["session"], ["param", "set", "cm", "every"]):
        done = t.module.ctl(None, *words, check=False)
        t.equal(done.returncode, 3, f"exit status of {words}")
        t.check("mpip" in done.stderr, f"message: {done.stderr}")
