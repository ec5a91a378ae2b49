# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The controller's side of a job: offer to wait, show its progress, and come back for its result.

An action plugin of a module that uses ``module_utils/job.py`` is ``class ActionModule(JobAction)`` and nothing else.
"""

from __future__ import annotations

import shlex
import sys
import time
import typing as t

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase

from ansible_collections.ew_ai.worker.plugins.module_utils.job import KEY, OFFER, VARIABLE
from ansible_collections.ew_ai.worker.plugins.plugin_utils.printing import show

# Connections over which a process that left its session is known to live on. A class of another module has its own ways.
DETACHING = ("ansible.plugins.connection.local", "ansible.plugins.connection.ssh")
LINES_SHOWN = 8
ATTEMPTS = 6
ROUNDS = 5
POLL = """\
job={job} offset={offset} pid={pid} start={start} count=0
alive() {{ read -r line 2>/dev/null <"/proc/$pid/stat" || return 1; set -- ${{line##*)}}; [ "$1" != Z ] && [ "${{20}}" = "$start" ]; }}
ended() {{ [ -e "$job/result" ] || [ -e "$job/died" ]; }}
while :; do
  state=running
  if [ ! -d "$job" ]; then state=gone
  elif ended; then state=ended
  elif ! alive; then if ended; then state=ended; else state=dead; fi
  fi
  size=$offset
  [ -f "$job/progress" ] && size=$(($(wc -c <"$job/progress")))
  [ $state = running ] && [ "$size" -le "$offset" ] && [ $count -lt 75 ] || break
  count=$((count + 1))
  sleep 0.2 || sleep 1
done
echo "$state $size"
if [ "$size" -gt "$offset" ]; then tail -c "+$((offset + 1))" "$job/progress" | head -c "$((size - offset))"; fi
exit 0
"""


def poll_script(handle: t.Mapping[str, t.Any], offset: int) -> str:
    """The shell script that waits up to 15 s for more progress, and prints ``<state> <size>`` and the lines from ``offset`` on."""
    return POLL.format(job=shlex.quote(str(handle["path"])), offset=int(offset), pid=int(handle["pid"]), start=int(handle["start"]))


def parse_poll(output: str) -> t.Optional[tuple[str, int, list[str]]]:
    """(state, size, lines) of what the script printed, or None where it is something else."""
    head, _mark, text = output.replace("\r\n", "\n").partition("\n")
    words = head.split()
    if len(words) != 2 or words[0] not in ("running", "ended", "dead", "gone") or not words[1].isdigit():
        return None
    return words[0], int(words[1]), text.splitlines()


def shortened(lines: t.Sequence[str]) -> list[str]:
    """The lines worth showing of those that came at once."""
    return list(lines) if len(lines) <= LINES_SHOWN else [f"({len(lines) - LINES_SHOWN + 1} lines more)", *lines[1 - LINES_SHOWN :]]


def lost(host: str, job: str, problem: str) -> dict[str, t.Any]:
    """The result where the host is gone while its job works. Failed, not unreachable: whoever deploys can still tell what became of it."""
    text = f"{host} cannot be reached any more, and does not tell how the job {job} is, which goes on: {' '.join(problem.split())}"
    remedy = f"See whether it answers: ansible {host} -m ping. Then run the same command again, which goes on with that job."
    return {"failed": True, "changed": False, "code": "unreachable", "msg": f"{text.rstrip('.')}. {remedy}", "remedy": remedy}


class JobAction(ActionBase):
    """Runs the module; where that becomes a job, shows its progress until it ends. With nothing to do there is one round trip."""

    _supports_async = True

    def run(self, tmp: t.Any = None, task_vars: t.Optional[dict[str, t.Any]] = None) -> dict[str, t.Any]:
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        if self._task.check_mode or self._task.async_val or not self._may_detach():
            wrap_async = self._task.async_val and not self._connection.has_native_async
            return {**result, **self._execute_module(task_vars=task_vars, wrap_async=wrap_async)}
        return {**result, **self._follow(task_vars or {})}

    def _may_detach(self) -> bool:
        return type(self._connection).__module__ in DETACHING and "ansible_mitogen" not in sys.modules

    def _follow(self, task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        wish = OFFER
        for _round in range(ROUNDS):
            found = self._execute_with(wish, task_vars)
            handle = found.get(KEY)
            if not isinstance(handle, dict):
                return found
            host, wish = str(task_vars.get("inventory_hostname", "")), str(handle["path"])
            try:
                self._watch(handle, host)
            except AnsibleConnectionFailure as error:
                return lost(host, wish, str(error))
        remedy = f"Look at it on the host: ls -l {wish}; then run the same command again."
        return {"failed": True, "changed": False, "code": "job_lost", "msg": f"The job {wish} gave no result. {remedy}", "remedy": remedy}

    def _execute_with(self, wish: str, task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        """Through the environment: it is no option of the module's."""
        before = self._task.environment
        self._task.environment = [*(before or []), {VARIABLE: wish}]
        try:
            return dict(self._execute_module(task_vars=task_vars))
        finally:
            self._task.environment = before

    def _watch(self, handle: dict[str, t.Any], host: str) -> None:
        """Show the job's lines until it is at work no more."""
        if handle.get("attached"):
            self._show(host, [f"goes on with the work that an earlier run began (pid {handle['pid']})"])
        state, offset = "running", 0
        while state == "running":
            state, offset, lines = self._poll(handle, offset)
            self._show(host, shortened(lines))

    def _poll(self, handle: dict[str, t.Any], offset: int) -> tuple[str, int, list[str]]:
        """A connection that fails for a while is not the job's end."""
        script, problem = poll_script(handle, offset), ""
        for attempt in range(ATTEMPTS):
            try:
                # as standard input: a plain command may get a terminal, which rewrites line ends
                done = t.cast("t.Any", self)._low_level_execute_command("/bin/sh", in_data=script.encode())
                found = parse_poll(done["stdout"])
                problem = f"status {done['rc']}: {done['stdout']}{done['stderr']}"
            except AnsibleConnectionFailure as error:
                if attempt == ATTEMPTS - 1:
                    raise
                found, problem = None, str(error)
            if found is not None:
                return found
            self._display.vv(f"asking about {handle['path']} failed: {problem}")
            time.sleep(2**attempt / 4)
        raise AnsibleConnectionFailure(problem)

    def _show(self, host: str, lines: t.Sequence[str]) -> None:
        if not self._task.no_log:
            show(host, lines)
