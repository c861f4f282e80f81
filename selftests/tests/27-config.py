# SPDX-License-Identifier: GPL-2.0
"""Configuration files applied to running sessions, and what doctor knows of paths, ports and tunnels."""

import json
import os
import re
import shutil
import socket
import stat
import subprocess
import tempfile
import threading

from lib import case, nat
from lib.net import Host, command
from tools import flow, xfer

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
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
    commands = [row["command"] for row in json.loads(back)]
    t.check("param set weight_step 10" in commands, f"the way back: {commands}")

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


@case("the rules of a file take the place of others all at once")
def at_once(t):
    a, _ = t.two_hosts(1)
    t.load(a)
    modes = ("single", "never")
    files = ["".join(f'[[rule]]\nport = {n}\nmode = "{mode}"\n' for n in range(1, 301)) for mode in modes]
    config(t, a, "apply", stdin=files[0])
    seen, done = set(), threading.Event()

    def look():
        while not done.is_set():
            rules = t.module.show(a, "rule")
            seen.add((len(rules), *sorted({rule["mode"] for rule in rules})))

    looking = threading.Thread(target=look)
    looking.start()
    try:
        for n in range(1, 7):
            config(t, a, "apply", stdin=files[n % 2])
    finally:
        done.set()
        looking.join()
    t.equal(seen, {(300, mode) for mode in modes}, "what was in force at any time")


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
        ('[[rule]]\nproto = "tcp"\nmode = "single"\nordered = "on"', "6:11", '"on"'),
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


@case("a file of a pre-shared key: set, compared, exchanged, taken away; never without it by mistake")
def key_file(t):
    a, _ = t.two_hosts(1)
    t.load(a)
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/key"
        text = f'psk = "{path}"\n'

        def write(key):
            with open(path, "w", encoding="ascii") as file:
                file.write(key)

        def differs():
            return config(t, a, "diff", check=False, stdin=text).stdout

        first, second = (t.module.ctl(None, "psk", "generate").stdout for _ in range(2))
        write(first)
        t.equal(differs(), f"psk set {path}\n", "no key yet")
        config(t, a, "apply", stdin=text)
        t.equal((differs(), t.module.show(a, "psk")), ("", {"set": True}), "the file's key")
        node = t.module.show(a, "status")["id"]
        config(t, a, "apply", stdin=text)
        t.equal(t.module.show(a, "status")["id"], node, "node id: nothing was done")
        write(second)
        t.equal(differs(), f"psk set {path}\n", "another one")
        config(t, a, "apply", stdin=text)
        t.equal(differs(), "", "the other one")
        write(second[1:])
        done = config(t, a, "apply", "--lenient", check=False, stdin=text)
        t.equal(done.returncode, 1, f"a damaged file: {done.stderr}")
        t.check(second[1:20] not in done.stderr, "nothing of it is told")
        t.equal(t.module.show(a, "psk"), {"set": True}, "after a mistake")
        config(t, a, "apply", stdin="# nothing\n")
        t.equal(t.module.show(a, "psk"), {"set": False}, "without a file")


UNIT = """\
[Unit]
DefaultDependencies=no
Wants=mpip.service
After=mpip.service
"""


@case("the unit of systemd: switched on, reloaded, refusing a mistake, switched off", timeout=120)
def unit(t):
    release = os.uname().release
    for source, place in (
        (shutil.which("mpipctl"), "/usr/local/sbin/mpipctl"),
        (t.module.path(), f"/lib/modules/{release}/updates/mpip.ko"),
    ):
        os.makedirs(os.path.dirname(place), exist_ok=True)
        shutil.copy(source, place)
        t.defer(os.unlink, place)
    command("depmod")
    for folder in ("/etc/mpip", "/etc/systemd/system"):
        t.defer(shutil.rmtree, folder, True)
        os.makedirs(folder, exist_ok=True)
    with open(f"{ROOT}/packaging/mpip.service", encoding="utf-8") as file:
        text = file.read().replace("@PREFIX@", "/usr/local")
    files = {"mpip.service": text, "selftest.target": UNIT}
    # What it asks for by being an ordinary service takes long to start, and is there in name only.
    files |= {f"{name}.target": UNIT.split("Wants")[0] for name in ("sysinit", "basic", "shutdown")}
    for name, content in files.items():
        with open(f"/etc/systemd/system/{name}", "w", encoding="utf-8") as file:
            file.write(content)

    # As in a container that shares the network with its host.
    outer = subprocess.Popen(
        "exec unshare --fork --kill-child --pid --mount --mount-proc --cgroup env container=selftest "
        "SYSTEMD_UNIT_PATH=/etc/systemd/system SYSTEMD_GENERATOR_PATH=/nowhere "
        "/usr/lib/systemd/systemd --system --unit=selftest.target --show-status=no",
        shell=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    t.defer(outer.wait)
    t.defer(outer.kill)

    def inner():
        found = command("pgrep", "-P", outer.pid, "-x", "systemd", check=False).stdout.split()
        return found and found[0]

    pid = t.wait(inner, 20, "systemd to start")

    def systemctl(*words):
        return command("nsenter", "-t", pid, "-m", "-p", "-C", "systemctl", *words, check=False)

    t.wait(lambda: systemctl("is-active", "mpip").stdout == "active\n", 40, "the unit to be active")
    t.defer(t.module.unload)
    t.check(t.module.show(None, "status")["enabled"], "on once the machine is up")
    for lanes, status in ((3, 0), (333, 1)):
        with open(MAIN, "w", encoding="utf-8") as file:
            file.write(f"[param]\nmax_lanes = {lanes}\n")
        t.equal(systemctl("reload", "mpip").returncode, status, f"reload with max_lanes = {lanes}")
        t.equal(t.module.params(None)["max_lanes"]["value"], 3, "max_lanes")
    t.equal(systemctl("stop", "mpip").returncode, 0, "stop")
    t.check(not t.module.show(None, "status")["enabled"], "off")
    t.equal(systemctl("start", "mpip").returncode, 1, "start with a mistake")
    t.check(not t.module.show(None, "status")["enabled"], "still off")
    os.unlink(MAIN)
    t.equal(systemctl("start", "mpip").returncode, 0, "start without a file")
    t.check(t.module.show(None, "status")["enabled"], "on again")


# --- doctor ---------------------------------------------------------------------------


def doctor(t, host, check):
    """What doctor has to say of something."""
    done = t.module.ctl(host, "-j", "doctor", check=False)
    return [finding for finding in json.loads(done.stdout) if finding["check"] == check]


def mends(t, host, check, what):
    """There is one warning; its remedy, as it stands, mends it."""
    found = doctor(t, host, check)
    t.equal([f["result"] for f in found], ["warn"], f"{what}: {found}")
    t.note(f"{found[0]['text']}: {found[0]['fix']}")
    command("sh", "-c", found[0]["fix"])
    t.equal([f["result"] for f in doctor(t, host, check)], ["ok"], f"{what}: after its remedy")
    return found[0]


@case("doctor knows what peers see of an address behind a NAT, and what that does with ports")
def translated(t):
    made = nat.natted([[nat.RESTRICTED], [nat.SYMMETRIC]])
    t.hosts += made.hosts
    a, b = made.a, made.b
    t.load(a, b)
    pairs = xfer.connect(a, b, made.target(4), 7000)
    t.spread(a, b, pairs)
    t.soon(lambda: len(doctor(t, a, "nat")) == 2, 10, "both addresses are known to be translated")
    seen = {f["dev"]: f["text"] for f in doctor(t, a, "nat")}
    t.note(seen)
    observed = {path["local"]: path["observed"] for path in t.module.paths(a)}
    for dev, addr, ports in zip(a.dev, a.addr, (r"its ports kept", r"with (other ports|another port for .*)")):
        what = re.escape(f": {addr} is seen as {observed[addr]}, ") + ports + "; what gets through goes "
        t.check(re.search(what, seen[dev]), f"{what}: {seen[dev]}")
    details = t.module.ctl(a, "-d", "path").stdout
    t.check(len(re.findall(r"seen-at \S+ port \d+ for \d+", details)) >= 2, details)
    text = doctor(t, b, "nat")[0]["text"]
    t.check(text.startswith("none: ") and b.addr[0] in text, text)
    t.module.set(a, keepalive=0)
    found = [f for f in doctor(t, a, "nat") if f["result"] == "warn"]
    t.equal(len(found), 2, "keepalive is off")
    command("sh", "-c", found[0]["fix"])
    t.equal([f["result"] for f in doctor(t, a, "nat")], ["ok", "ok"], "after the remedy")
    xfer.exchange(pairs, 1000, 1000, 5)


@case("doctor knows offloads, a port that is taken, tunnels that take everything, and kill switches")
def surroundings(t):
    a, b = t.two_hosts(2)
    with a.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("", 29170))
        t.load(a, b)
        (found,) = doctor(t, a, "port")
        t.check(found["result"] == "warn" and "29170 is taken" in found["text"], found)
    t.module.disable(a)
    t.module.enable(a)
    t.equal(doctor(t, a, "port"), [], "the port is free again")

    for setting, value in (("rx-udp-gro-forwarding", "on"), ("gso", "off")):
        a.run("ethtool", "-K", "a2", setting, value)
        t.equal(mends(t, a, "offload", setting)["dev"], "a2", setting)

    t.equal(doctor(t, a, "vpn"), [], "there is no tunnel")
    a.ip(["link add wg0 type wireguard", "addr add 10.9.0.1/24 dev wg0", "link set wg0 up"])
    t.equal([f["result"] for f in doctor(t, a, "vpn")], ["ok"], "a tunnel")
    # As wg-quick does it for AllowedIPs = 0.0.0.0/0.
    a.ip(
        [
            "route add default dev wg0 table 51820",
            "rule add not fwmark 0xca6c table 51820",
            "rule add table main suppress_prefixlength 0",
        ]
    )
    found = doctor(t, a, "vpn")
    t.equal([(f["result"], f["dev"]) for f in found], [("warn", "wg0")], "it takes everything")
    t.check("0xca6c" in found[0]["text"], found)
    a.ip(["route add blackhole default metric 9 table 51820", "route del default dev wg0 table 51820"])
    mends(t, a, "vpn", "a route that leads nowhere")
    a.ip(["rule del not fwmark 0xca6c table 51820", "rule add priority 99 prohibit"])
    mends(t, a, "vpn", "a rule that leads nowhere")

    pairs = xfer.connect(a, b, b.addr[0], 7000)
    t.spread(a, b, pairs)
    rule = "oifname { lo, wg0 } accept"
    a.run(
        "nft",
        "add table inet k; add chain inet k c { type filter hook output priority 0; policy drop; }; "
        f"add rule inet k c {rule}",
    )
    found = mends(t, a, "vpn", rule)
    t.check("kill switch" in found["text"], found)
    a.run("nft", "delete table inet k")
    xfer.exchange(pairs, 1000, 1000, 5)
