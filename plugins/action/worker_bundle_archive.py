# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Shows the progress of ``worker_bundle_archive`` while a bundle is made."""

from __future__ import annotations

from ansible_collections.ew_ai.worker.plugins.plugin_utils.job import JobAction


class ActionModule(JobAction):
    """All of it is the job's."""
