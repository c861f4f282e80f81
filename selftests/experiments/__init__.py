# SPDX-License-Identifier: GPL-2.0
"""Experiments of the papers, repeated: what the parts are called, in their order."""

NAMES = ("audio", "shared", "ordered", "modes", "energy")
