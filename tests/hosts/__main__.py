# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Entry point: ``python -m tests.hosts VERB`` from the checkout."""

from __future__ import annotations

import sys

from .cli import main

sys.exit(main())
