# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The action plugin of the module for tests of jobs."""

from __future__ import annotations

from ansible_collections.ew_ai.worker.plugins.plugin_utils.job import JobAction


class ActionModule(JobAction):
    """All that an action plugin needs."""
