# SPDX-License-Identifier: GPL-2.0
"""Nothing but the processor is the limit: links without a rate.

cpu      in User-Mode Linux, at the machine's own speed
counted  in the VM whose clock counts instructions, with segmentation and receive offloads off: each packet alone
offload  the same in a VM of several processors
"""

from lib import contest
from lib.rows import arena_row, iperf3, link

STACKS = [
    contest.TCP[0],
    *contest.MPTCP,
    contest.MPIP_ONE,
    *contest.MPIP,
    *contest.MPIP_IN_UDP,
    contest.WIREGUARD,
]


def row(name, seconds, cable, contenders=STACKS):
    """iperf3 over two such cables."""
    return arena_row(name, contenders, [cable] * 2, iperf3(seconds, (0, 0)), seconds + 3)


def cpu(args):
    """TCP over unshaped links, and the same without offloads.

    What this machine does in a second differs by a sixth from one moment to the next. The figure that is
    compared with goals must not: short turns, and more of them.
    """
    seconds = min(args.seconds, 5)
    whole = row("offloads on", min(args.seconds, 3), link())
    whole.turns = whole.about["turns"] = 1 if args.quick else 4
    return [whole, row("offloads off", seconds, link(offload=False))]


def offload(args):
    """TCP over unshaped links without offloads."""
    return [row("offloads off", min(args.seconds, 5), link(offload=False))]


def counted(_args):
    """The same; the more a second of it is work the longer it takes."""
    return [row("offloads off", 2, link(offload=False))]
