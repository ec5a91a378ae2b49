# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of the modules: what they may not be called."""

from __future__ import annotations

import pathlib
import re

import pytest
import yaml
from ansible.playbook.task import Task

from tools.checkout import CHECKOUT

MODULES = sorted((CHECKOUT / "plugins" / "modules").glob("*.py"))
# Modules everywhere have these two, and nobody takes them for the task's own.
USUAL = {"name", "timeout"}


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_no_option_is_named_like_a_keyword_of_tasks(module: pathlib.Path) -> None:
    """An option that was indented too little would silently be the task's, or the other way round."""
    found = re.search(r'^DOCUMENTATION = r"""\n(.*?)^"""', module.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert found
    assert set(yaml.safe_load(found[1])["options"]) & set(Task.fattributes) <= USUAL
