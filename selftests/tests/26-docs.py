# SPDX-License-Identifier: GPL-2.0
"""The quickstart and the cookbook, typed to the letter."""

import contextlib
import os
import re
import shutil
import socket
import tempfile

from lib import case
from lib.net import Host, cable, command

DOCS = f"{os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))}/docs"
BLOCK = re.compile(r"^```sh ?(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(file, section=""):
    """The commands of a document, or of one section: (host, lines) each."""
    with open(f"{DOCS}/{file}", encoding="utf-8") as text:
        parts = re.split(r"^## ", text.read(), flags=re.MULTILINE)
    return BLOCK.findall("\n".join(part for part in parts if part.startswith(section)))


def rates(output):
    """What the receivers of iperf3 have measured, Mbit/s."""
    return [float(rate) for rate in re.findall(r"([0-9.]+) Mbits/sec .*receiver", output)]


@case("the quickstart: two paths are faster than one, and survive one", timeout=120)
def quickstart(t):
    script = "set -eu\n" + "".join(lines for _, lines in blocks("quickstart.md"))
    done = command("bash", "-c", script, check=False, timeout=110)
    t.note(done.stdout)
    t.equal(done.returncode, 0, f"exit status: {done.stderr}")
    one, two, failing = rates(done.stdout)
    t.reaches(two, 1.5 * one, "Mbit/s with two paths")
    t.reaches(failing, 0.5 * one, "Mbit/s after a cable was taken out")
    t.check(" active" in done.stdout and "10.0.2.2" in done.stdout, "the second path is shown")
    t.check(not t.module.loaded() and not os.listdir("/run/netns"), "nothing is left")


class Home:
    """The hosts of the cookbook: a laptop behind two NATs, a server with two uplinks."""

    CABLES = (
        ("laptop", "wlan0", "192.168.1.10/24", "home", "lan", "192.168.1.1/24"),
        ("laptop", "usb0", "192.168.42.10/24", "phone", "lan", "192.168.42.1/24"),
        ("home", "wan", "192.0.2.2/30", "net", "home0", "192.0.2.1/30"),
        ("phone", "wan", "192.0.2.6/30", "net", "phone0", "192.0.2.5/30"),
        ("net", "up1", "203.0.113.1/24", "server", "eth0", "203.0.113.10/24"),
        ("net", "up2", "198.51.100.1/24", "server", "eth1", "198.51.100.10/24"),
    )

    def __init__(self, t):
        self.t = t
        self.host = {name: Host(name) for name in ("laptop", "home", "phone", "net", "server")}
        t.hosts += self.host.values()
        for near, dev, addr, far, other, theirs in self.CABLES:
            self.host[near].ip([cable(dev, near, other, far, 1500)])
            for name, end, own in ((near, dev, addr), (far, other, theirs)):
                self.host[name].ip([f"address add {own} dev {end}", f"link set {end} up"])
                rate = "20mbit limit 100" if far in ("home", "phone") else "200mbit limit 1000"
                self.host[name].tc([f"qdisc add dev {end} root netem delay 2ms rate {rate}"])
        for name in ("home", "phone", "net"):
            self.host[name].sysctl("net/ipv4/ip_forward", 1)
        for name, gateway in (("home", "192.0.2.1"), ("phone", "192.0.2.5")):
            self.host[name].ip([f"route add default via {gateway}"])
            self.host[name].run(
                "nft",
                "add table ip n; add chain ip n c { type nat hook postrouting priority srcnat; }; "
                "add rule ip n c oifname wan masquerade",
            )
        self.host["server"].ip(["route add default via 203.0.113.1 dev eth0"])
        t.load()
        # The other end of each recipe, and what it needs to be of use.
        server = self.host["server"]
        server.spawn("iperf3", "--server")
        # Where recipes leave their files.
        self.folder = tempfile.TemporaryDirectory()
        t.defer(self.folder.cleanup)

    def follow(self, section):
        """Type the commands of a recipe; returns what each block wrote."""
        written = []
        for name, lines in blocks("cookbook.md", section):
            with self.host[name].inside():
                done = command(
                    "bash", "-c", "set -eu\n" + lines, check=False, timeout=60, cwd=self.folder.name
                )
            self.t.note(f"{name}:\n{done.stdout}{done.stderr}")
            self.t.equal(done.returncode, 0, f"exit status at {name}: {lines}{done.stderr}")
            written.append(done.stdout)
        self.t.check(written, f"a recipe {section!r}")
        return written

    def paths(self, **wanted):
        """Paths of the laptop with these attributes."""
        paths = self.t.module.paths(self.host["laptop"])
        return [p for p in paths if all(p.get(k) == v for k, v in wanted.items())]


@case("cookbook: a laptop uses Wi-Fi and a phone, and loses the Wi-Fi", timeout=120)
def laptop(t):
    home = Home(t)
    written = home.follow("A laptop")
    both, alone = rates(written[2])[0], rates(written[3])[0]
    t.reaches(both, 25, "Mbit/s over both")
    t.reaches(alone, 10, "Mbit/s with the phone alone at the end")
    t.check(home.paths(dev="usb0", state="active"), "the phone's path")
    t.check(not home.paths(dev="wlan0", state="active"), "none of the Wi-Fi")


@case("cookbook: a backup link carries nothing until the other fails, and has a data cap", timeout=120)
def cap(t):
    home = Home(t)
    laptop = home.host["laptop"]
    before = laptop.counters()
    written = home.follow("A backup link")
    down, up = rates(written[2])
    t.reaches(min(down, up), 10, f"Mbit/s over the Wi-Fi alone: {down}, {up}")
    t.within(max(down, up), 20, f"Mbit/s over the Wi-Fi alone: {down}, {up}")
    t.check(" standby" in written[2] and "unused backup" in written[2], "the phone is kept in reserve")
    t.reaches(rates(written[3])[0], 10, "Mbit/s when the Wi-Fi goes")
    t.at_least(laptop.counters()["usb0"][2] - before["usb0"][2], 1 << 20, "bytes over the phone then")
    t.check(" 2G " in written[4], "the budget is shown")
    phone = next(one for one in t.module.show(laptop, "interface") if one["name"] == "usb0")
    t.equal((phone["budget"], phone["role"]), (2 << 30, "used"), "what is wanted of the phone")
    t.at_least(phone["used"], 800 << 20, "what is used")
    t.check("budget 2G" in written[5] and "power 1069mW" not in written[5], "what is set")


@case("cookbook: only one application uses both links", timeout=120)
def application(t):
    home = Home(t)
    root = "/sys/fs/cgroup"
    if not os.path.exists(f"{root}/cgroup.procs"):
        command("mount", "-t", "cgroup2", "none", root)
        t.defer(command, "umount", root)
    written = home.follow("Only for one")
    of_nobody, of_others = rates(written[2])
    t.reaches(of_nobody, 25, "Mbit/s of the user's program")
    t.within(of_others, 20, "Mbit/s of what others do")
    t.reaches(rates(written[3])[0], 25, "Mbit/s of the group's program")
    t.equal(t.module.show(home.host["laptop"], "rule")[-1]["mode"], "never", "mode for the rest")


@case("cookbook: a call goes over both links", timeout=120)
def call(t):
    home = Home(t)
    home.follow("A call")
    hosts = [home.host[name] for name in ("laptop", "server")]
    near, far = (host.socket(socket.AF_INET, socket.SOCK_DGRAM) for host in hosts)
    far.bind(("203.0.113.10", 5004))
    near.connect(("203.0.113.10", 5004))

    def copies():
        for _ in range(20):
            near.send(bytes(200))
            for sock in (far, near):
                sock.settimeout(0.2)
                with contextlib.suppress(TimeoutError):
                    data, sender = sock.recvfrom(1000)
                    if sock is far:
                        far.sendto(data, sender)
        return min(t.module.stats(host)["rx_copy"] for host in hosts) >= 50

    t.soon(copies, 30, "copies that both have not delivered")
    t.at_least(t.module.show(hosts[0], "rule")[0]["hits"], 50, "packets that fell under the rule")


@case("cookbook: a server with two uplinks, of which its clients learn", timeout=120)
def uplinks(t):
    home = Home(t)
    home.host["laptop"].ip(["link set usb0 down"])
    t.defer(lambda: shutil.rmtree("/etc/mpip", ignore_errors=True))
    written = home.follow("A server with two uplinks")
    t.check("OK     route" in written[0] and "FAIL" not in written[0], "doctor is content")
    t.check(home.paths(remote="198.51.100.10", state="active"), "a path to the second uplink")
    t.check("no mistake" in written[2] and "192.0.2.0/24" in written[2], "whom to ask")
    t.equal(t.module.params(home.host["server"])["ask"]["value"], 1, "only these are asked")


@case("cookbook: behind NAT, with another port and one way only", timeout=120)
def nat(t):
    home = Home(t)
    written = home.follow("Behind NAT")
    t.check("udp-port 4500" in written[1], "the port of the server")
    t.reaches(rates(written[2])[0], 25, "Mbit/s over both")
    t.check(home.paths(dev="usb0", way="udp", state="active"), "a path inside UDP")
    t.check("10" in written[3], "keepalive")


@case("cookbook: only hosts that have the key use both links", timeout=120)
def key(t):
    home = Home(t)
    written = home.follow("Only among hosts")
    t.reaches(rates(written[1])[0], 25, "Mbit/s over both")
    t.check("pre-shared key: set" in written[1], "the key is set")


@case("cookbook: WireGuard is carried by both links, and nothing leaves it", timeout=120)
def wireguard(t):
    home = Home(t)
    before = home.host["laptop"].counters()
    written = home.follow("WireGuard")
    t.reaches(rates(written[-1])[0], 19.5, "Mbit/s inside the tunnel, more than one link carries")
    now = home.host["laptop"].counters()
    sent = {dev: now[dev][2] - before[dev][2] for dev in ("wlan0", "usb0")}
    t.reaches(min(sent.values()), 0.2 * max(sent.values()), f"bytes on both links: {sent}")
    sessions = t.module.sessions(home.host["laptop"])
    inside = [s for s in sessions if s["remote"]["addr"] == "10.9.0.1"]
    outer = [s for s in sessions if s["remote"]["port"] == 51820]
    t.equal(len(inside) + len(outer), len(sessions), "sessions inside, and that of the tunnel")
    t.equal([len(s["lane"]) for s in inside], [1] * len(inside), "lanes of what is inside")
    t.check(outer and all(len(s["lane"]) > 1 for s in outer), f"lanes of the tunnel: {outer}")
    ends = {lane["local"]["addr"] for s in outer for lane in s["lane"]}
    t.check("10.9.0.2" not in ends, f"the tunnel is no path of its own packets: {ends}")
    t.check("wlan0, usb0 can carry paths" in written[-1], "doctor does not count the tunnel")
