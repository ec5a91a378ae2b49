# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Throw-away certificates, made with the openssl program."""

from __future__ import annotations

import pathlib
import subprocess


class Authority:
    """A certificate authority of its own in ``directory``."""

    def __init__(self, directory: pathlib.Path, name: str = "authority") -> None:
        self.directory = directory
        self.certificate = directory / f"{name}.pem"
        self._key = directory / f"{name}.key"
        _openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", self._key, "-out", self.certificate, "-subj", f"/CN={name}", "-days", "2")

    def issue(self, name: str, alternative: str = "IP:127.0.0.1", days: int = 1) -> tuple[pathlib.Path, pathlib.Path]:
        """(certificate, key) for the alternative name; with negative ``days`` it has ended already."""
        key, request, certificate = (self.directory / f"{name}.{ending}" for ending in ("key", "csr", "pem"))
        extension = self.directory / f"{name}.ext"
        extension.write_text(f"subjectAltName={alternative}\n", encoding="utf-8")
        _openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", request, "-subj", f"/CN={name}")
        _openssl(
            *("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self._key, "-CAcreateserial"),
            *("-out", certificate, "-days", str(days), "-extfile", extension),
        )
        return certificate, key


def _openssl(*words: str | pathlib.Path) -> None:
    done = subprocess.run(["openssl", *map(str, words)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
