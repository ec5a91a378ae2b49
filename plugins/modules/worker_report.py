#!/usr/bin/python
# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documents the action plugin of the same name, which runs on the controller alone."""

from __future__ import annotations

DOCUMENTATION = r"""
module: worker_report
short_description: Prints and writes the report of a run
version_added: 0.1.0
author:
  - EW AI (@ew-ai)
description:
  - Makes one report of what the role P(ew_ai.worker.worker#role) gathered on every host of the play, prints it, and writes it as JSON where asked.
  - Runs on the controller alone; the role calls it once for all hosts.
extends_documentation_fragment:
  - ew_ai.worker.attributes.info
options:
  phase:
    description:
      - V(begin) says what is about to be done, and writes a report that says that it is not finished, so that none of an earlier run is taken for it.
      - V(end) reports.
    type: str
    choices: [begin, end]
    default: end
  verb:
    description: What is done, such as V(deploy). What hosts have gathered for another verb is not reported.
    type: str
    required: true
  name:
    description: Name of the worker.
    type: str
    required: true
  report_dir:
    description: Directory on the controller that the JSON is written into, under the name of the verb.
    type: path
"""

EXAMPLES = r"""
- name: Report
  ew_ai.worker.worker_report:
    verb: deploy
    name: ew-worker
    report_dir: ./reports
  run_once: true
"""

RETURN = r"""
report:
  description: The report, with C(success), C(message), C(steps), C(durationMs), C(stages) and C(hosts); for the verbs status and logs their own data.
  type: dict
  returned: always
hosts:
  description: Success and message of each host.
  type: dict
  returned: always
written:
  description: The file that was written.
  type: str
  returned: when O(report_dir) is set
"""
