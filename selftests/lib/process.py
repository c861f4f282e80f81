# SPDX-License-Identifier: GPL-2.0
"""Commands that must not fail, and conditions that are waited for."""

import os
import subprocess
import time


class NetemError(Exception):
    """A command of the test's own set-up failed."""


class Busy(NetemError):
    """The machine was too busy for the test's own set-up."""


def wait_for(condition, timeout, what="condition", step=0.05):
    """Call `condition` until it returns something true; return that.

    Raises TimeoutError naming `what` otherwise.
    """
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= end:
            raise TimeoutError(f"waited {timeout} s in vain for: {what}")
        time.sleep(step)


def written(file, most=1 << 20):
    """What another process has written to a file that it has from us.

    Not by seeking: the place in the file is that process's as well, and it writes in pieces.
    """
    return os.pread(file.fileno(), most, 0)


def command(*argv, stdin=None, check=True, timeout=60, **kwargs):
    """Run a command; return its CompletedProcess with text output."""
    done = subprocess.run(
        [str(a) for a in argv], input=stdin, text=True, capture_output=True, timeout=timeout, **kwargs
    )
    if check and done.returncode:
        raise NetemError(f"{' '.join(map(str, argv))}: {done.stderr.strip() or done.stdout.strip()}")
    return done
