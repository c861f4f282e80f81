# SPDX-License-Identifier: GPL-2.0
"""A kernel that watches itself (`make test-debug`): what it has found, and how it is made to fail."""

import contextlib
import ctypes
import os
import re
import socket
import struct
import time

from .process import NetemError

DEBUGFS = "/sys/kernel/debug"
SO_ATTACH_FILTER = 26
FAULTS = ("failslab", "fail_page_alloc", "fail_skb_realloc")
LEAKS = f"{DEBUGFS}/kmemleak"
OLD = 5.5  # seconds: what is younger may have its only reference in a register, and is not told
MANY = 1 << 30


def _read(path):
    with open(path, encoding="ascii", errors="replace") as file:
        return file.read()


def _write(path, text):
    with open(path, "w", encoding="ascii") as file:
        file.write(str(text))


def _messages():
    """What the kernel has said since it was started, as far as it is still there."""
    fd, said = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK), []
    try:
        with contextlib.suppress(BlockingIOError):
            while True:
                said.append(os.read(fd, 8192).decode(errors="replace"))
    finally:
        os.close(fd)
    return said


class Watch:
    """What is watched: memory by KASAN and kmemleak, locks and contexts by lockdep."""

    def __init__(self):
        missing = []
        if not any("KernelAddressSanitizer initialized" in line for line in _messages()):
            missing.append("KASAN")
        if not self.locks():
            missing.append("lockdep")
        if not os.path.exists(LEAKS):
            missing.append("kmemleak")
        missing += [name for name in FAULTS if not os.path.isdir(f"{DEBUGFS}/{name}")]
        if missing:
            raise NetemError(f"not in this kernel, or off: {' '.join(missing)}")

    @staticmethod
    def locks():
        """Whether lockdep is at work: it stops with the first thing that it finds, or when it is full."""
        path = "/proc/lockdep_stats"
        return os.path.exists(path) and bool(re.search(r"debug_locks: +1\n", _read(path)))

    def verdicts(self):
        """Names and reasons (None: good) of the results after all tests."""
        yield "lockdep was at work to the end", None if self.locks() else "it has switched itself off"


def leaks():
    """What has been allocated and nobody refers to any more: a text for each, with who allocated it."""
    time.sleep(OLD)
    # User-Mode Linux maps new pages of vmalloc() when they are first touched. The scan must not be the one to
    # touch them, with interrupts off: one who does brings in all there are, and a filter is such a page.
    accept = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0xFFFF))
    program = struct.pack("HL", 1, ctypes.addressof(accept))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)
    # What has changed since the last scan is no leak yet, and what is new has.
    for _ in range(2):
        _write(LEAKS, "scan")
    return re.split(r"^(?=unreferenced object)", _read(LEAKS), flags=re.MULTILINE)[1:]


def module_text():
    """Where the module's code is: the first address, and the one behind the last."""
    symbols = [line.split() for line in _read("/proc/kallsyms").splitlines() if line.endswith("[mpip]")]
    code = [int(address, 16) for address, kind, *_ in symbols if kind in "tT"]
    if not code:
        raise NetemError("no code of mpip in /proc/kallsyms")
    return min(code), max(code) + 1


@contextlib.contextmanager
def faults(kind, percent, **settings):
    """Meanwhile so many calls of this kind fail, of those that the module makes.

    kind  "failslab", "fail_page_alloc"; or "fail_skb_realloc", which fails nothing: wherever the data
          of a packet may move, anybody's, it does

    Gives a function that says how often it has happened.
    """
    folder = f"{DEBUGFS}/{kind}"
    start, end = module_text()
    wanted = {
        "verbose": 0,
        "interval": 1,
        "times": MANY,  # the kernel counts down
        "space": 0,
        "task-filter": "N",
        "stacktrace-depth": 24,
        "require-start": start if kind != "fail_skb_realloc" else 0,
        "require-end": end if kind != "fail_skb_realloc" else (1 << 64) - 1,
        "ignore-gfp-wait": "N",
        "ignore-gfp-highmem": "N",
        "min-order": 0,
    } | settings
    for name, value in wanted.items():
        if os.path.exists(f"{folder}/{name}"):
            _write(f"{folder}/{name}", value)
    _write(f"{folder}/probability", percent)
    try:
        yield lambda: MANY - int(_read(f"{folder}/times"))
    finally:
        _write(f"{folder}/probability", 0)
