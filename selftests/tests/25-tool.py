# SPDX-License-Identifier: GPL-2.0
"""mpipctl as a tool: doctor against the real system, batches, colours, completion."""

import json
import re

from lib import case
from lib.net import Host, command
from tools import xfer

NOBODY = (
    "setpriv",
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
    "--bounding-set=-all",
    "--inh-caps=-all",
)
QUOTED = r'"(?:[^"\\\n]|\\[\\"n])*"'
LABEL = re.compile(rf"([a-z_]+)=({QUOTED})")
LABELS = rf"(?:[a-z_]+={QUOTED},?)*"
SAMPLE = re.compile(rf"(?P<name>[a-z_][a-z0-9_]*)\{{(?P<labels>{LABELS})\}} (?P<value>[0-9.e+-]+)")


def doctor(t, host, *options, status=0):
    """Findings of doctor in a namespace, by check; each is a list."""
    done = t.module.ctl(host, "-j", "doctor", *options, check=False)
    t.equal(done.returncode, status, f"exit status of doctor: {done.stdout} {done.stderr}")
    found = {}
    for finding in json.loads(done.stdout):
        found.setdefault(finding["check"], []).append(finding)
    return found


def results(findings, dev=None):
    """The results of findings, of one device only if it is given."""
    return [f["result"] for f in findings if dev is None or f.get("dev") == dev]


def remedy(t, findings, what):
    """Run the command that is said to mend it, as it stands."""
    fix = next(f["fix"] for f in findings if f["result"] == what)
    t.note(fix)
    command("sh", "-c", fix)


@case("doctor: nothing to find on two healthy hosts, and what the module is")
def healthy(t):
    a, b = t.two_hosts(2)
    t.load(a, b)
    for host in (a, b):
        found = doctor(t, host)
        for check in ("module", "enabled", "interfaces", "rp_filter", "mtu", "address", "firewall"):
            t.equal(results(found[check]), ["ok"], f"{host}: {check}")
        # They are on the same links and have no way beyond.
        t.equal(results(found["route"]), ["warn"], f"{host}: route")
        t.equal(results(found["signature"]), ["ok"], f"{host}: signature")
    text = t.module.ctl(a, "doctor").stdout
    t.note(text)
    t.check(text.startswith("RESULT CHECK"), "a table")
    t.check("a1, a2 can carry paths" in text, "names of interfaces")


@case("doctor: what is wrong is found, and its remedy mends it")
def sick(t):
    a, _ = t.two_hosts(2)
    t.load()
    found = doctor(t, a, status=4)
    t.equal(results(found["enabled"]), ["fail"], "off")
    remedy(t, found["enabled"], "fail")
    doctor(t, a)

    a.sysctl("net/ipv4/conf/a2/rp_filter", 1)
    found = doctor(t, a, status=4)
    t.equal(results(found["rp_filter"]), ["fail"], "strict")
    t.equal(found["rp_filter"][0]["dev"], "a2", "its interface")
    remedy(t, found["rp_filter"], "fail")
    t.equal(a.sysctl("net/ipv4/conf/a2/rp_filter"), "2", "loose by the remedy")
    doctor(t, a)

    a.ip(["route add default via 10.0.1.2 dev a1"])
    found = doctor(t, a, status=4)
    t.equal(results(found["route"], "a2"), ["fail"], "no default route through a2")
    fix = found["route"][0]["fix"].replace("GATEWAY", "10.0.2.2")
    command("sh", "-c", fix)
    t.equal(results(doctor(t, a)["route"]), ["ok"], "a default route by the remedy")
    # A table of its own does as well, once a rule leads to it.
    a.ip(["route del default dev a2", "route add default via 10.0.2.2 dev a2 table 100"])
    doctor(t, a, status=4)
    a.ip(["rule add from 10.0.2.1 lookup 100"])
    t.equal(results(doctor(t, a)["route"]), ["ok"], "a default route by a rule")
    # With that a strict filter lets through what arrives there.
    a.sysctl("net/ipv4/conf/a2/rp_filter", 1)
    t.equal(results(doctor(t, a)["rp_filter"]), ["ok"], "strict, with a table of its own")
    a.sysctl("net/ipv4/conf/a2/rp_filter", 0)

    a.ip(["link set a2 mtu 1400"])
    found = doctor(t, a)
    t.equal(results(found["mtu"]), ["warn"], "different MTUs")
    remedy(t, found["mtu"], "warn")
    t.equal(results(doctor(t, a)["mtu"]), ["ok"], "the same MTU by the remedy")

    a.ip(["addr add 10.0.1.1/24 dev a2"])
    found = doctor(t, a, status=4)
    t.equal(results(found["address"])[:1], ["fail"], "an address twice")
    remedy(t, found["address"], "fail")
    a.ip(["addr add 10.0.1.77/24 dev a2"])
    found = doctor(t, a)
    t.equal(results(found["address"]), ["warn"], "the same network twice")
    remedy(t, found["address"], "warn")
    t.equal(results(doctor(t, a)["address"]), ["ok"], "arp_ignore by the remedy")

    def role():
        return next(one["role"] for one in t.module.show(a, "interface") if one["name"] == "a2")

    t.module.ctl(a, "interface", "set", "a2", "budget", "1k", "used", "2k")
    t.soon(lambda: role() == "budget", 10, "the budget to be used up")
    found = doctor(t, a)
    t.equal(results(found["use"], "a2"), ["warn"], "over its budget")
    t.check("its budget of 1k is used up" in found["use"][0]["text"], f"why: {found['use']}")
    t.module.ctl(a, "interface", "reset", "a2")
    # An interface that is not to be used lacks nothing.
    a.ip(["rule del from 10.0.2.1 lookup 100"])
    a.sysctl("net/ipv4/conf/a2/rp_filter", 1)
    t.module.ctl(a, "interface", "set", "a2", "exclude", "on")
    found = doctor(t, a)
    for check, result in (("use", "warn"), ("interfaces", "warn"), ("rp_filter", "ok"), ("route", "ok")):
        t.equal(results(found[check]), [result], f"excluded: {check}")
    remedy(t, found["use"], "warn")
    found = doctor(t, a, status=4)
    t.equal(results(found["rp_filter"], "a2"), ["fail"], "not excluded any more")
    t.check("use" not in found, f"nothing more to be said: {found.get('use')}")

    a.ip(["link set a2 down"])
    t.equal(results(doctor(t, a)["interfaces"])[:1], ["warn"], "one interface only")
    a.ip(["link set a1 down"])
    t.equal(results(doctor(t, a, status=4)["interfaces"])[:1], ["fail"], "no interface")


@case("doctor --fix makes strict filters loose, and touches nothing else")
def fix(t):
    a, _ = t.two_hosts(2)
    t.load(a)
    for dev in a.dev:
        a.sysctl(f"net/ipv4/conf/{dev}/rp_filter", 1)
    a.ip(["route add default via 10.0.1.2 dev a1"])
    doctor(t, a, status=4)
    done = t.module.ctl(a, "doctor", "--fix", check=False)
    t.note(done.stdout)
    t.equal(done.returncode, 4, f"the route is still lacking: {done.stderr}")
    t.check(done.stdout.startswith("Doing: "), "it says what it does before")
    t.equal([a.sysctl(f"net/ipv4/conf/{dev}/rp_filter") for dev in a.dev], ["2", "2"], "loose")
    a.sysctl("net/ipv4/conf/a1/rp_filter", 1)
    done = a.run(*NOBODY, "mpipctl", "doctor", "--fix", check=False)
    t.equal(done.returncode, 4, f"without rights: {done.stderr}")
    t.check("could not be mended" in done.stdout, done.stdout)
    t.equal(a.sysctl("net/ipv4/conf/a1/rp_filter"), "1", "nothing changed without rights")


@case("doctor --fix switches MPIP on")
def fix_own(t):
    a, b = t.two_hosts(2)
    t.load(a, b)
    t.module.ctl(a, "disable")
    t.equal(results(doctor(t, a, status=4)["enabled"]), ["fail"], "off")
    found = doctor(t, a, "--fix")
    t.equal(results(found["enabled"]), ["fixed", "ok"], "switched on")
    pairs = xfer.connect(a, b, b.addr[0], 7000)
    t.spread(a, b, pairs)


@case("doctor without the module: it says how to get it")
def no_module(t):
    a = Host("hA")
    t.hosts.append(a)
    found = doctor(t, a, status=4)
    t.equal(results(found["module"]), ["fail"], "not loaded")
    t.check("modprobe mpip" in found["module"][0]["fix"], found["module"][0]["fix"])
    t.check("enabled" not in found, "nothing is said of an instance")
    for words in (["status"], ["stats"], ["enable"]):
        t.equal(t.module.ctl(a, *words, check=False).returncode, 3, f"exit status of {words}")


@case("doctor reads nftables: late chains do no harm, and are not blamed; early ones are", timeout=120)
def firewall(t):
    a, b = t.two_hosts(2)
    t.load(a, b)
    for host in (a, b):
        t.module.set(host, encap="udp")
    other = {a: b, b: a}
    for host, ports in ((b, "dport"), (a, "sport")):
        # Nothing is said of the port of wrapped packets.
        host.run(
            "nft",
            "add table inet t; add chain inet t c { type filter hook input priority 0; policy drop; }; "
            f"add rule inet t c ip saddr {other[host].addr[0]} tcp {ports} 7000 accept; "
            "add rule inet t c icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept",
        )
        t.equal(results(doctor(t, host)["firewall"]), ["ok"], f"{host}: a closed input chain")
    pairs = xfer.connect(a, b, b.addr[0], 7000)
    t.spread(a, b, pairs)
    ways = {p["id"]: p.get("way") for p in t.module.paths(a)}
    t.check("udp" in ways.values(), f"a path inside UDP: {ways}")
    before = a.counters()
    xfer.exchange(pairs, 4 << 20, 4 << 20)
    t.reaches(min(t.shares(a, before)), 0.05, "share of the lesser path")

    port = t.module.show(b, "status")["udp_port"]
    for policy, rule in (
        ("accept", f"udp dport {port} drop"),
        ("accept", f"udp dport {{ 53, {port - 5}-{port + 5} }} drop"),
        ("accept", "meta l4proto udp drop"),
        ("drop", "ip protocol tcp accept"),
    ):
        b.run(
            "nft",
            "add table netdev t; add chain netdev t c "
            f"{{ type filter hook ingress device b2 priority 0; policy {policy}; }}; "
            f"add rule netdev t c {rule}",
        )
        found = doctor(t, b, status=4)["firewall"]
        t.equal(results(found), ["fail"], f"{policy}, {rule}")
        t.check(str(port) in found[0]["text"], found[0]["text"])
        remedy(t, found, "fail")
        t.equal(results(doctor(t, b)["firewall"]), ["ok"], "open by the remedy")
        b.run("nft", "delete table netdev t")

    # The raw table comes before MPIP as well.
    b.run(
        "nft",
        "add table inet w; add chain inet w c { type filter hook prerouting priority raw; }; "
        f"add rule inet w c udp dport {port} drop",
    )
    found = doctor(t, b, status=4)["firewall"]
    t.equal(results(found), ["fail"], "the raw table")
    remedy(t, found, "fail")
    t.equal(results(doctor(t, b)["firewall"]), ["ok"], "open by the remedy")
    b.run("nft", "delete table inet w")

    for rule in ("ct state invalid drop", "ct state vmap { established : accept, invalid : drop }"):
        b.run(
            "nft",
            "add table ip u; add chain ip u c { type filter hook input priority 10; }; "
            f"add rule ip u c {rule}",
        )
        found = doctor(t, b)["firewall"]
        t.equal(results(found), ["warn"], rule)
        remedy(t, found, "warn")
        t.equal(results(doctor(t, b)["firewall"]), ["ok"], "liberal by the remedy")
        b.sysctl("net/netfilter/nf_conntrack_tcp_be_liberal", 0)
        b.run("nft", "delete table ip u")
    # A strict reverse-path filter made of rules: in the raw table it sees what was on the wire, later
    # the session's sender on the wrong interface.
    for priority, status, result in (("raw", 0, "ok"), ("raw + 10", 0, "ok"), ("0", 4, "fail")):
        b.run(
            "nft",
            "add table inet r; delete table inet r; add table inet r; "
            f"add chain inet r c {{ type filter hook prerouting priority {priority}; }}; "
            "add rule inet r c fib saddr . iif oif missing counter drop",
        )
        found = doctor(t, b, status=status)["firewall"]
        t.equal(results(found), [result], f"a filter for the way back at priority {priority}")
    remedy(t, found, "fail")
    t.equal(results(doctor(t, b)["firewall"]), ["ok"], "no filter by the remedy")
    xfer.Traffic(pairs, 1000, 1000, seed=7).wait()


@case("doctor counts no tunnel among the interfaces")
def tunnel(t):
    a, _ = t.two_hosts(2)
    t.load(a)
    a.ip(["link add wg0 type wireguard", "link set wg0 up", "addr add 10.9.0.1/24 dev wg0"])
    found = doctor(t, a)
    t.equal(found["interfaces"][0]["text"], "a1, a2 can carry paths", "interfaces")
    t.equal(results(found["mtu"]), ["ok"], "the tunnel's MTU does not matter")
    a.ip(["link set a2 down"])
    t.equal(results(doctor(t, a)["interfaces"])[:1], ["warn"], "one interface and a tunnel")


@case("batches: all lines or, after a mistake, none; the first failure ends it")
def batch(t):
    a = Host("hA")
    t.hosts.append(a)
    t.load(a)

    def run(*options, lines, check=True):
        return command("mpipctl", "-n", a.name, *options, "-b", "-", stdin="\n".join(lines), check=check)

    value = lambda: t.module.params(a)["weight_step"]["value"]  # noqa: E731
    done = run(lines=["# a remark", "param set weight_step 33", "", "  status -j  # how it is"])
    t.equal((value(), json.loads(done.stdout)["enabled"]), (33, True), "both lines")
    done = run("-j", lines=["status", "stats", "path list"])
    t.equal(len([json.loads(line) for line in done.stdout.splitlines()]), 3, "JSON of each line")
    done = run(lines=["param set weight_step 44", "frobnicate"], check=False)
    t.equal((done.returncode, value()), (1, 33), f"a mistake changes nothing: {done.stderr}")
    t.check("standard input:2: " in done.stderr, done.stderr)
    lines = ["param set weight_step 44", "param set weight_step 0", "param set weight_step 55"]
    done = run(lines=lines, check=False)
    t.equal((done.returncode, value()), (1, 44), f"the first failure ends it: {done.stderr}")
    t.check('standard input:2: weight_step: out of range: "0"' in done.stderr, done.stderr)


@case("stats --prometheus: every sample has a name, a type and a value; they are those of JSON")
def prometheus(t):
    a, b = t.two_hosts(2)
    t.load(a, b)
    pairs = xfer.connect(a, b, b.addr[0], 7000)
    t.spread(a, b, pairs)
    text = t.module.ctl(a, "-d", "stats", "--prometheus").stdout
    t.note(text)
    types, samples = {}, {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            t.check(name not in types, f"{name} comes once")
            types[name] = kind
        elif not line.startswith("# HELP "):
            found = SAMPLE.fullmatch(line)
            t.check(found, f"a sample: {line}")
            t.check(found["name"] in types, f"{found['name']} has a type before")
            labels = {name: value.strip('"') for name, value in LABEL.findall(found["labels"])}
            samples.setdefault(found["name"], []).append((labels, found["value"]))
    for name, kind in types.items():
        t.equal(kind, "counter" if name.endswith("_total") else "gauge", name)
        t.check(all(labels["netns"] == "hA" for labels, _ in samples[name]), f"the namespace of {name}")
        t.check(all(float(value) >= 0 for _, value in samples[name]), f"numbers of {name}")
    t.equal({f"mpip_{name}_total" for name in t.module.stats(a)} - set(types), set(), "counters left out")
    t.equal(samples["mpip_sessions"][0][1], str(t.module.show(a, "status")["sessions"]), "sessions")
    paths = {(labels["dev"], labels["local"]) for labels, _ in samples["mpip_path_sent_bytes_total"]}
    t.equal(paths, set(zip(a.dev, a.addr)), "paths")
    known = {labels["dev"] for labels, _ in samples["mpip_interface_present"]}
    t.equal(known, {one["name"] for one in t.module.show(a, "interface")}, "interfaces")
    # Words choose among what is shown.
    near = pairs[0][0].getsockname()[1]
    chosen = [session["local"]["port"] for session in t.module.show(a, f"session show tcp :{near}")]
    t.equal(chosen, [near], "the session with a port")
    chosen = [(path["dev"], path["local"]) for path in t.module.show(a, f"path show {a.dev[1]}")]
    t.equal(chosen, [(a.dev[1], a.addr[1])], "the path of an interface")
    # Without rights there are no paths, and everything else.
    done = a.run(*NOBODY, "mpipctl", "stats", "--prometheus", check=False)
    t.equal(done.returncode, 0, f"without rights: {done.stderr}")
    t.equal(a.run(*NOBODY, "mpipctl", "-d", "stats", "--prometheus", check=False).returncode, 2, "paths")


@case("colours on demand, completion, manual page")
def looks(t):
    a = Host("hA")
    t.hosts.append(a)
    t.load(a)
    for option, colored in (("--color=always", True), ("--color=auto", False), ("--color=never", False)):
        text = t.module.ctl(a, option, "path").stdout
        t.equal("\x1b[1mID" in text, colored, f"{option}: {text!r}")
    # `script` gives it a terminal.
    ask = ("script", "-qec", f"mpipctl -n {a} path", "/dev/null")
    t.check("\x1b[1m" in command(*ask).stdout, "colours on a terminal")
    t.check("\x1b[" not in command("env", "NO_COLOR=1", *ask).stdout, "none with NO_COLOR")

    a.ip(["link add dummy7 type dummy"])

    def offered(words):
        line = words.split()
        done = command(
            "bash",
            "-c",
            f"source <(mpipctl completion bash); COMP_WORDS=({words} '') COMP_CWORD={len(line)}; "
            f"_clap_complete_mpipctl mpipctl '' {line[-1]}; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        )
        return {word.strip() for word in done.stdout.split("\n")}

    for words, expected in (
        ("mpipctl", {"doctor", "session"}),
        ("mpipctl param set", {p["name"] for p in t.module.params(a).values()}),
        ("mpipctl param set scheduler", {"earliest", "weighted"}),
        ("mpipctl interface show", {"dummy7"}),
        ("mpipctl -n", {str(a)}),
    ):
        words = words if words == "mpipctl -n" else words.replace("mpipctl", f"mpipctl -n {a}", 1)
        t.check(expected <= offered(words), f"what bash offers after {words!r}: {offered(words)}")
    page = command("mpipctl", "man").stdout
    for word in (".TH mpipctl 8", "EXIT STATUS", "EXAMPLES", "doctor"):
        t.check(word in page, f"{word} in the manual page")
