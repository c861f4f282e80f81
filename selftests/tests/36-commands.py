# SPDX-License-Identifier: GPL-2.0
"""Every command of mpipctl against the module: what it writes, for people and for programs, and its errors."""

import json
import os
import re
import tempfile

from lib import case
from lib.net import command
from tools import xfer

# What is shown, and the headings of its table; None: no table.
SHOWN = {
    "status": None,
    "peer show": "ID SESSIONS PATHS IDLE ADDRESSES",
    "session show": "ID PROTO LOCAL REMOTE STATE PATHS IDLE",
    "path show": "ID DEV LOCAL REMOTE WEIGHT RTT QUEUE STATE",
    "stats show": "NAME VALUE",
    "param show": "NAME VALUE UNIT DEFAULT ALLOWED",
    "rule show": "NUMBER RULE",
    "interface show": "NAME STATE COST BUDGET USED LEFT",
    "avail show": "ADDR PORT PROTO AVAILABILITY QUERIES AGE",
    "ask show": None,
    "psk show": None,
    "config show": None,
}
# What changes something: a command, the object in which that shows, what is there then, what takes it back.
CHANGES = {
    "path set": ("path set 1 state disabled", "path", {"id": 1, "state": "disabled"}, "path set 1 state active"),
    "param set": ("param set heartbeat 2s", "param", {"name": "heartbeat", "value": 2000}, "param set heartbeat 1s"),
    "rule add": ("rule add port 5000 priority latency number 1", "rule", {"dst_port_min": 5000}, "rule delete 1"),
    "rule change": ("rule change 1 port 81", "rule", {"dst_port_min": 81}, "rule change 1 port 80"),
    "interface set": ("interface set a2 cost 7", "interface", {"name": "a2", "cost": 7}, "interface reset a2"),
    "ask add": ("ask add 192.0.2.0/24", "ask", {"addr": "192.0.2.0", "len": 24}, "ask del 192.0.2.0/24"),
}
# Seen in the cases below, or in files of their own.
ELSEWHERE = {
    "enable",
    "disable",
    "rule load",
    "rule delete",
    "rule flush",
    "interface reset",
    "ask del",
    "psk set",
    "psk clear",
    "psk generate",
    "config check",
    "config diff",
    "config apply",
    "config save",
    "monitor",  # 16-events
    "top",  # 29-top
    "doctor",  # 25-tool
    "completion",  # 25-tool
}
# Commands that fail, their exit status, and what the message has to say.
MISTAKES = (
    ("path set 0", 1, "give weight or state"),
    ("path set one state active", 1, '"one"'),
    ("path set 0 colour red", 1, '"colour"; names are weight, state'),
    ("path set 77 state disabled", 2, 'path "77".*no such path.*try: mpipctl path'),
    ("param show nonsense", 1, '"nonsense"; there are: cm'),
    ("param set heartbeat soon", 1, '"soon"; allowed'),
    ("param set query_threshold 300", 1, '"300"; allowed: 1 to 16'),
    ("rule add port 0-70000 mode all", 1, '"0-70000"'),
    ("rule add port 80", 1, "give priority, mode, dev or ordered"),
    ("rule add mode selected", 2, 'rule "mode selected".*rule.mode.*limit of delay'),
    ("rule change 9 port 80", 2, 'rule "9".*no rule with this number.*try: mpipctl rule'),
    ("rule delete 9", 2, 'rule "9".*no rule with this number.*try: mpipctl rule'),
    ("rule delete x", 1, '"x"'),
    ("rule load /nowhere", 1, '"/nowhere": No such file'),
    ("interface show nonsense", 1, '"nonsense".*try: mpipctl interface'),
    ("interface set a1 backup yes", 1, 'off, on: "yes"'),
    ("interface reset a9", 2, 'interface "a9".*try: mpipctl interface'),
    ("ask add 10.0.0.0/99", 1, '0 to 32: "10.0.0.0/99"'),
    ("ask add 10.0.0.0/8", 2, 'prefix "10.0.0.0/8".*there already'),
    ("ask del 10.9.0.0/16", 2, 'prefix "10.9.0.0/16".*no such prefix.*try: mpipctl ask'),
    ("psk set /nowhere", 1, '"/nowhere": No such file'),
    ("config check -f /nowhere", 1, '"/nowhere"'),
    ("config diff -f /nowhere", 1, '"/nowhere"'),
    ("config apply -f /nowhere", 1, '"/nowhere"'),
    ("config save -f /proc/mpip.toml", 1, "/proc"),
    ("monitor nonsense", 1, '"nonsense"; there are peer, path'),
    ("completion tcsh", 1, "tcsh"),
    ("enable it", 1, "it"),
    ("top -i never", 1, "never"),
)


def two(t):
    """Two hosts, and the sockets of a session over two paths; a rule and a prefix at A."""
    a, b = t.two_hosts(2)
    t.load(a, b)
    # A session lasts as long as its sockets.
    pairs = xfer.connect(a, b, b.addr[0], 7000)
    t.spread(a, b, pairs)
    t.module.batch(a, "rule add port 80 mode single", "ask add 10.0.0.0/8")
    return a, pairs


def run(t, host, options, words, status=0):
    """A command's standard output; its errors must be as many as its status says."""
    done = t.module.ctl(host, *options.split(), *words.split(), check=False)
    t.equal(done.returncode, status, f"exit status of {options} {words}: {done.stdout}{done.stderr}")
    t.equal(done.stderr, "", f"nothing to complain about in {options} {words}")
    return done.stdout


def keys(value):
    """The names of all members of a JSON value, nested as they are."""
    if isinstance(value, dict):
        return {name: keys(one) for name, one in value.items()}
    return [keys(one) for one in value] if isinstance(value, list) else None


def leaves(*words):
    """The commands below one, from its help."""
    text = command("mpipctl", *words, "--help").stdout
    verbs = re.search(r"^(?:Objects|Verbs):\n((?:  .*\n)*)", text, re.MULTILINE)
    names = [line.split()[0] for line in verbs[1].splitlines() if line[2] != " "] if verbs else []
    below = [leaf for name in names if name != "help" for leaf in leaves(*words, name)]
    return below or [" ".join(words)]


@case("each command that help tells of is tried")
def complete(t):
    t.equal(sorted(leaves()), sorted({*SHOWN, *CHANGES, *ELSEWHERE}), "commands")


@case("what is shown: as a table, a line each, in JSON and in JSON for people", timeout=120)
def shows(t):
    a, _sockets = two(t)
    for words, header in SHOWN.items():
        noun = words.split()[0]
        whole = json.loads(run(t, a, "-j", words))
        pretty = run(t, a, "-p", words)
        t.equal(keys(json.loads(pretty)), keys(whole), f"the same for people: {words}")
        t.check(len(pretty.splitlines()) > 1 or not whole, f"lines for people: {pretty}")
        text, lines = run(t, a, "", words), run(t, a, "-o", words).splitlines()
        # Without the spaces: a column is as wide as what has changed meanwhile.
        alone = run(t, a, "", noun).split("\n")[0]
        t.equal(alone.split(), text.split("\n")[0].split(), f"{noun} alone shows it, too")
        # In words: an age of 990ms is 1s at the next look.
        t.check(len(run(t, a, "-d", words).split()) >= len(text.split()), f"details of {words}")
        t.check("{" not in text, f"text of {words} is for people: {text}")
        if header is None:
            continue
        first, *rest = text.splitlines()
        t.equal(first.split(), header.split(), f"headings of {words}")
        # Times go on between two looks.
        shapes = [[(line.split()[0], len(line.split())) for line in one] for one in (rest, lines)]
        t.equal(*shapes, f"one line each: {words}")
        rows = list(whole.items()) if isinstance(whole, dict) else whole
        t.check(rows, f"rows of {words}")
        t.equal(len(lines), len(rows), f"a line for each of {words}")
    peer, session = t.module.show(a, "peer")[0], t.module.show(a, "session")[0]
    for noun, word in (("peer", "10.0.1.2"), ("session", ":7000"), ("path", "a2"), ("avail", "tcp")):
        t.equal(len(json.loads(run(t, a, "-j", f"{noun} show {word}"))), 1, f"{noun} with {word}")
        t.equal(json.loads(run(t, a, "-j", f"{noun} show {word} nonsense")), [], f"{noun}: all words count")
    t.check(peer["id"] in run(t, a, "", "peer"), "the peer's id")
    t.check(f"{session['local']['addr']}:{session['local']['port']}" in run(t, a, "", "session"), "an end")
    t.check("port 80 mode single" in run(t, a, "", "rule"), "a rule as it was given")
    t.equal(run(t, a, "", "ask"), "10.0.0.0/8\n", "prefixes")
    t.equal(run(t, a, "", "psk"), "pre-shared key: none\n", "key")
    status = run(t, a, "", "status")
    t.check("enabled" in status and "peers 1" in status and "paths 2 (2 active)" in status, status)
    t.equal(run(t, a, "-s", "rule").split()[:3], ["NUMBER", "HITS", "RULE"], "hits")
    t.equal(run(t, a, "-s", "path").split("\n")[0].split()[-4:], ["RATE", "TX", "RX", "LOST"], "statistics of paths")
    t.equal(run(t, a, "-o -j", "peer show").count("\n"), 1, "JSON is one line")
    # As short as it is clear.
    t.equal(keys(json.loads(run(t, a, "-j", "sess s"))), keys(t.module.show(a, "session")), "abbreviations")
    done = t.module.ctl(a, "p", check=False)
    t.equal(done.returncode, 1, "too short")
    t.check("peer" in done.stderr and "path" in done.stderr, f"it says between what: {done.stderr}")


@case("what changes something says nothing, shows in JSON, and can be taken back")
def changes(t):
    a, _sockets = two(t)
    for do, noun, wanted, undo in CHANGES.values():
        has = lambda: any(wanted.items() <= row.items() for row in t.module.show(a, noun))  # noqa: E731, B023
        t.check(not has(), f"not before {do}")
        t.equal(run(t, a, "", do), "", do)
        t.wait(has, 5, f"{do}: {t.module.show(a, noun)}")
        t.equal(run(t, a, "-j", undo), "", undo)
        t.wait(lambda: not has(), 5, f"{undo}: {t.module.show(a, noun)}")  # noqa: B023
    with tempfile.TemporaryDirectory() as folder:
        rules = os.path.join(folder, "rules")
        with open(rules, "w", encoding="ascii") as file:
            file.write("port 22 priority latency # a shell\n\ndst 192.0.2.0/24 mode single\n")
        run(t, a, "", f"rule load {rules}")
        t.equal(len(t.module.show(a, "rule")), 3, "rules after load")
        run(t, a, "", "rule flush")
        t.equal(t.module.show(a, "rule"), [], "rules after flush")
        key = os.path.join(folder, "key")
        with open(os.open(key, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="ascii") as file:
            file.write(run(t, a, "", "psk generate"))
        run(t, a, "", f"psk set {key}")
        t.equal(t.module.show(a, "psk"), {"set": True}, "a key")
        run(t, a, "", "psk clear")
        t.equal(t.module.show(a, "psk"), {"set": False}, "no key")
        config = os.path.join(folder, "mpip.toml")
        run(t, a, "", f"config save -f {config}")
        t.equal(run(t, a, "-j", f"config check -f {config}"), "[]\n", "no mistakes")
        t.equal(run(t, a, "-j", f"config diff -f {config}"), "[]\n", "nothing differs")
        run(t, a, "", "param set weight_step 33")
        differs = json.loads(run(t, a, "-j", f"config diff -f {config}", status=1))
        t.equal([row["command"] for row in differs], ["param set weight_step 10"], "what differs")
        t.equal(json.loads(run(t, a, "-j", f"config apply -f {config}")), differs, "what apply does")
        with open(config, "a", encoding="ascii") as file:
            file.write("enabled = 3\n")
        done = t.module.ctl(a, "-j", "config", "check", "-f", config, check=False)
        t.equal(done.returncode, 1, "a mistake")
        (mistake,) = json.loads(done.stdout)
        t.equal((mistake["file"], {"line", "column", "text"} <= mistake.keys()), (config, True), f"{mistake}")
    run(t, a, "", "disable")
    t.equal(t.module.show(a, "status")["enabled"], False, "off")
    for words in SHOWN:
        json.loads(run(t, a, "-j", words))
    run(t, a, "", "enable")
    t.equal(t.module.show(a, "status")["enabled"], True, "on")


@case("mistakes: each with its exit status, the value and what would do; nothing is changed")
def mistakes(t):
    a, _sockets = two(t)
    seen = lambda: [t.module.show(a, noun) for noun in ("rule", "ask", "interface", "psk", "config")]  # noqa: E731
    before = seen()
    for words, status, message in MISTAKES:
        for options in ([], ["-j"]):
            done = t.module.ctl(a, *options, *words.split(), check=False)
            t.equal(done.returncode, status, f"exit status of {words}: {done.stderr}")
            t.equal(done.stdout, "", f"output of {words}")
            t.check(done.stderr.startswith("Error: "), f"{words}: {done.stderr}")
            t.check(re.search(message, done.stderr), f"{words} says {message}: {done.stderr}")
    done = t.module.ctl(a, "top", check=False)
    t.equal((done.returncode, done.stdout), (1, ""), "top without a terminal")
    t.check("no terminal; try: mpipctl top --count" in done.stderr, done.stderr)
    t.equal(seen(), before, "what is set")
    t.module.unload()
    for words in (*SHOWN, "enable", "disable", "rule flush", "psk clear"):
        done = t.module.ctl(a, *words.split(), check=False)
        t.equal(done.returncode, 3, f"exit status of {words} without the module: {done.stdout}{done.stderr}")
        t.check("try: modprobe mpip" in done.stderr, f"the remedy: {done.stderr}")
