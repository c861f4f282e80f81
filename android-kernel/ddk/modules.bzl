# SPDX-License-Identifier: GPL-2.0
"""Lists of MPIP's modules and sources, for BUILD.bazel."""

# What the kernel's own tree makes in addition with CONFIG_MPIP=m, unless it is built in already.
MPIP_MODULES = [
    "lib/crypto/libcurve25519.ko",
    "net/ipv4/netfilter/nf_socket_ipv4.ko",
    "net/ipv6/netfilter/nf_socket_ipv6.ko",
    "net/mpip/mpip.ko",
]

# What this repository makes by itself.
MPIP_OUTS = ["mpip/mpip.ko"]

# Patterns of what it is made from; glob() belongs into BUILD.bazel.
MPIP_SOURCES = [
    "Kbuild",
    "mpip/Kbuild",
    "mpip/mpip_main.rs",
    "mpip/kunit/*.rs",
    "mpip/net/*.rs",
    "mpip/proto/**/*.rs",
    "mpip/sys/*.c",
    "mpip/sys/*.h",
    "mpip/sys/*.rs",
    "mpip/sys/bindgen_parameters",
    "mpip/uapi/include/**/*.h",
    "mpip/uapi/netlink_gen.*",
]
