# SPDX-License-Identifier: GPL-2.0
"""What a host's interfaces receive, over time."""

import threading
import time

SAMPLE = 0.05  # seconds


class Sampler(threading.Thread):
    """Reads what a host's devices have received at regular times, until it is stopped."""

    def __init__(self, host):
        super().__init__(daemon=True)
        self.host = host
        self.stopping = threading.Event()
        self.samples = []
        self.start()

    def run(self):
        start = time.monotonic()
        while True:
            counters = self.host.counters()
            self.samples.append((time.monotonic(), [counters[dev][0] for dev in self.host.dev]))
            if self.stopping.wait(SAMPLE - (time.monotonic() - start) % SAMPLE):
                return

    def stop(self):
        """End it."""
        self.stopping.set()
        self.join()

    def at(self, when):
        """Bytes received per device by then, between two samples by interpolation."""
        for (t0, old), (t1, new) in zip(self.samples, self.samples[1:]):
            if t0 <= when <= t1:
                part = (when - t0) / (t1 - t0)
                return [x + (y - x) * part for x, y in zip(old, new)]
        return self.samples[0 if when < self.samples[0][0] else -1][1]

    def rates(self, start, end):
        """Mbit/s per device between two times."""
        return [(y - x) * 8e-6 / (end - start) for x, y in zip(self.at(start), self.at(end))]
