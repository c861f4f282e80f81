# SPDX-License-Identifier: GPL-2.0
"""Configuration files: applied to running sessions, saved, wrong, and where they are."""

import json
import os
import shutil
import stat
import tempfile

from lib import case
from lib.net import Host, command
from tools import flow, xfer

MAIN = "/etc/mpip/mpip.toml"
NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all")
FILE = """\
[param]
heartbeat = "2s"      # a phone that sleeps
weight_step = 33

[ask]
prefixes = ["10.0.0.0/8", "fd00::/8"]

[[rule]]
port = 22
mode = "single"

# Everything else by both
[[rule]]
proto = "tcp"
mode = "selected"
delay = "900ms"
rate = "8kbit"
dev = ["a1", "a2"]
"""


def config(t, host, *words, check=True, stdin=None):
    """Run `mpipctl config` for a host; with a file's text if it is given, as standard input."""
    place = ["-f", "-"] if stdin is not None else []
    name = [] if host is None else ["-n", str(host)]
    return command("mpipctl", *name, "config", *words, *place, check=check, stdin=stdin)


def shown(t, host):
    """What the kernel has, as a file's structure."""
    return json.loads(t.module.ctl(host, "-j", "config", "show").stdout)


@case("apply changes what differs and disturbs no session; diff is what apply does; save is its reverse")
def live(t):
    a, b = t.two_hosts(2)
    t.load(a, b)
    pairs = xfer.connect(a, b, b.addr[0], 7000)
    before = t.spread(a, b, pairs)
    stream = flow.Tcp(pairs[0], 200_000)
    t.defer(stream.close)
    t.equal(shown(t, a), {"enabled": True}, "a fresh instance")

    done = config(t, a, "diff", check=False, stdin=FILE)
    t.note(done.stdout)
    t.equal((done.returncode, len(done.stdout.splitlines())), (1, 6), f"six changes: {done.stderr}")
    config(t, a, "apply", stdin=FILE)
    t.equal(config(t, a, "diff", stdin=FILE).stdout, "", "nothing differs then")
    params = t.module.params(a)
    t.equal((params["heartbeat"]["value"], params["weight_step"]["value"]), (2000, 33), "parameters")
    rules = t.module.show(a, "rule")
    t.equal([rule["mode"] for rule in rules], ["single", "selected"], "rules")
    t.equal(sorted(rules[1]["dev"]), ["a1", "a2"], "interfaces of a rule")
    t.equal(len(t.module.show(a, "ask")), 2, "prefixes")
    back = t.module.ctl(a, "config", "-j", "diff", "-f", "/dev/null", check=False).stdout
    t.equal(json.loads(back)[0]["command"], "param set weight_step 10", "the way back")

    # By the commands of diff as well: the first rule goes, another comes before the last.
    other = FILE.replace("port = 22", "port = 23").replace("33", "44").replace('"fd00::/8"', "")
    done = config(t, a, "diff", check=False, stdin=other)
    command("mpipctl", "-n", a.name, "-b", "-", stdin=done.stdout)
    t.equal(config(t, a, "diff", stdin=other).stdout, "", "a batch of what diff wrote does the same")
    hits = t.module.show(a, "rule")[1]["hits"]
    t.check(hits > 0, "the rule that stayed is the one that was there")

    with tempfile.TemporaryDirectory() as folder:
        file = f"{folder}/saved.toml"
        with open(file, "w", encoding="utf-8") as out:
            out.write(FILE)
        os.chmod(file, 0o600)
        t.module.ctl(a, "config", "save", "-f", file)
        with open(file, encoding="utf-8") as saved:
            text = saved.read()
        t.note(text)
        for kept in ("# a phone that sleeps", "# Everything else by both", "weight_step = 44", "port = 23"):
            t.check(kept in text, f"{kept} is in what was saved")
        t.equal(stat.S_IMODE(os.stat(file).st_mode), 0o600, "mode of the file")
        t.equal(os.listdir(folder), ["saved.toml"], "nothing is left beside it")
        t.module.ctl(a, "rule", "flush")
        t.module.ctl(a, "config", "apply", "-f", file)
        t.equal(config(t, a, "diff", stdin=text).stdout, "", "it is all there again")
    now = t.by_port(a, "local")
    ids = [{port: s["id"] for port, s in sessions.items()} for sessions in (before, now)]
    t.equal(ids[1], ids[0], "sessions")
    stream.stop()


@case("a mistake changes nothing, and is told with file, line, column and value")
def mistakes(t):
    a, _ = t.two_hosts(1)
    t.load(a)
    t.module.set(a, weight_step=77)
    before = shown(t, a)
    for line, place, value in (
        ("heartbeat = 5", "3:13", '"5"'),
        ('scheduler = "best"', "3:13", '"best"'),
        ("colour = 1", "3:1", '"colour"'),
        ('[[rule]]\nport = 80\nmode = "single"\ndev = "a9"', "6:7", '"a9"'),
        ('[[rule]]\nproto = "udp"\nmode = "protected"', "5:8", '"protected"'),
        ("[ask]\nprefixes = ['10.0.0.1/8']", "4:13", '"10.0.0.1/8"'),
        ("heartbeat = 2s", "3:", '"heartbeat = 2s"'),
    ):
        text = f"[param]\nmax_peers = 2000\n{line}\n"
        for verb in ("apply", "check", "diff") if value == '"5"' else ("apply",):
            done = config(t, a, verb, check=False, stdin=text)
            t.equal(done.returncode, 1, f"{verb}: {line}")
            t.check(done.stderr.startswith(f"Error: standard input:{place}"), done.stderr)
            t.check(value in done.stderr, done.stderr)
    t.equal(shown(t, a), before, "after all mistakes")
    done = a.run(*NOBODY, "mpipctl", "config", "apply", "-f", "/dev/null", check=False)
    t.equal(done.returncode, 2, f"without rights: {done.stderr}")
    t.equal(shown(t, a), before, "after an attempt without rights")


@case("files below /etc: drop-ins, those of a namespace, the start of the machine without a file")
def places(t):
    t.defer(lambda: shutil.rmtree("/etc/mpip", ignore_errors=True))
    t.defer(lambda: shutil.rmtree("/etc/netns", ignore_errors=True))
    a = Host("hA")
    t.hosts.append(a)
    t.equal(config(t, a, "check", check=False).returncode, 1, "there is no file")
    t.load()
    # As the systemd unit does it.
    config(t, None, "apply", "--lenient")
    t.check(t.module.show(None, "status")["enabled"], "on without a file")
    t.module.set(None, weight_step=55)
    config(t, None, "save")
    os.makedirs("/etc/mpip/mpip.d")
    with open("/etc/mpip/mpip.d/10-more.toml", "w", encoding="utf-8") as more:
        more.write('[param]\nmax_lanes = 4\n[[rule]]\nport = 80\nmode = "single"\ndev = "usb9"\n')
    t.equal(config(t, None, "apply", check=False).returncode, 1, "an interface is not there")
    done = config(t, None, "apply", "--lenient")
    t.check('10-more.toml:6:7: dev: no such interface: "usb9"' in done.stderr, done.stderr)
    params = t.module.params(None)
    t.equal((params["weight_step"]["value"], params["max_lanes"]["value"]), (55, 4), "both files")
    # The namespace has the same until it has its own.
    config(t, a, "apply", "--lenient")
    t.equal(t.module.params(a)["max_lanes"]["value"], 4, "the files of all")
    t.module.set(a, max_lanes=3)
    t.module.ctl(a, "rule", "flush")
    config(t, a, "save")
    config(t, None, "apply", "--lenient")
    config(t, a, "apply")
    t.equal([t.module.params(host)["max_lanes"]["value"] for host in (None, a)], [4, 3], "each its own")
    t.equal(config(t, None, "check", check=False).returncode, 1, "the interface is a mistake still")
    done = config(t, None, "check", "--lenient")
    t.check(done.stdout.startswith(MAIN) and "no mistake" in done.stdout, done.stdout)

