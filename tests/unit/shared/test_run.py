# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Programs that do not end as they should."""

from __future__ import annotations

import os
import pathlib
import signal

import pytest

from ansible_collections.ew_ai.worker.plugins.module_utils import run as running
from ansible_collections.ew_ai.worker.plugins.module_utils.errors import WorkerError
from ansible_collections.ew_ai.worker.plugins.module_utils.processes import is_alive


def test_one_that_left_its_group_with_the_pipes_is_not_waited_for(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "GRACE", 0.2)
    program = f"echo words; setsid sh -c 'echo $$ >{tmp_path}/pid; exec sleep 300' & sleep 300"
    try:
        with pytest.raises(WorkerError) as caught:
            running.run(["/bin/sh", "-c", program], timeout=5)
    finally:
        held_on = is_alive(pid := int((tmp_path / "pid").read_text()))
        os.kill(pid, signal.SIGKILL)
    assert (caught.value.code, caught.value.details["stdout"]) == ("timeout", "words")
    assert held_on, "it was there to be waited for"
