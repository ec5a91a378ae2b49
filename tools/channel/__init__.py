# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A conda channel packed on the spot from CPython interpreters of this machine.

``conda-forge`` may be out of reach: behind a firewall, in an air gap, in a test. The real package of the same name
cannot be had then, but the interpreter that runs this tool can be moved into a prefix as it is, and that is what the
tool does: it makes a ``python`` package that runs in any prefix of any Linux with at least the same glibc, the noarch
packages ``pip``, ``setuptools`` and ``wheel``, and the index that py-rattler, conda and mamba read.

Run it from a checkout as ``python -m tools.channel --help``.
"""
