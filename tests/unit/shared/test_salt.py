# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The random bytes that key a worker's digests."""

from __future__ import annotations

import pathlib

from ansible_collections.ew_ai.worker.plugins.module_utils.salt import make_salt, read_salt


def test_the_salt_is_made_once(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "salt"
    assert read_salt(str(path)) == b""
    salt = make_salt(str(path))
    assert len(salt) == 32
    assert make_salt(str(path)) == read_salt(str(path)) == salt
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_text("broken")
    assert read_salt(str(path)) == b""
