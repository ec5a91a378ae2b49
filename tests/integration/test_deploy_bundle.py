# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The bundle playbook makes an archive; a deploy takes everything from it, with channels and indexes that nobody could reach."""

from __future__ import annotations

import ipaddress
import os
import pathlib
import re
import typing as t

import pytest

from ansible_collections.ew_ai.worker.plugins.module_utils.bundle import archive
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.content import this_platform
from ansible_collections.ew_ai.worker.plugins.module_utils.host.bundle_fit import glibc_here
from tests.figures import tell
from tests.integration.deploy_driver import Place, Run, Worker
from tests.integration.local_packages import python_version
from tools.checkout import CHECKOUT

pytestmark = pytest.mark.slow

# Addresses for documentation, which no network routes: a deploy that asks one of them fails.
NOWHERE = "http://192.0.2.1:9"
UNREACHABLE: dict[str, t.Any] = {
    "worker_channels": [f"{NOWHERE}/channel"],
    "worker_index_url": f"{NOWHERE}/simple",
    "worker_http_proxy": NOWHERE,
    "worker_https_proxy": NOWHERE,
}
# Nor has this machine's own configuration a say.
NO_INDEXES = {"PIP_CONFIG_FILE": "/dev/null", "PIP_FIND_LINKS": "", "PIP_INDEX_URL": f"{NOWHERE}/simple"}


class Bundled(t.NamedTuple):
    path: pathlib.Path
    worker: Worker

    def make(self, **variables: t.Any) -> Run:
        """Run the bundle playbook, with a relative name, as it is written by hand."""
        given = {
            "worker_bundle": os.path.relpath(self.path, CHECKOUT),
            "worker_bundle_platform": this_platform(),
            "worker_bundle_glibc": ".".join(glibc_here().split(".")[:2]),
            "worker_bundle_host_pythons": [python_version()],
        }
        return self.worker.run("bundle", **{**given, **variables})

    def deploy(self, verb: str = "deploy", path: t.Optional[pathlib.Path] = None) -> Run:
        """Run a playbook with the bundle; the run knows whom it connected to."""
        trace = str(self.worker.place.home / f"trace-{self.path.stem}-{verb}")
        pathlib.Path(trace).unlink(missing_ok=True)
        variables = {**UNREACHABLE, "worker_bundle": os.path.relpath(path or self.path, CHECKOUT)}
        return self.worker.begin(verb, trace=trace, environ=NO_INDEXES, **variables).end()


def outside(run: Run) -> list[t.Any]:
    """The connections to anywhere but this machine."""
    assert run.connected, "the trace has those to the worker"
    return [address for address in run.connected if not ipaddress.ip_address(address[0]).is_loopback]


@pytest.fixture(scope="module")
def bundled() -> t.Iterator[Bundled]:
    place = Place()
    try:
        yield Bundled(place.home / "worker.tar", place.worker(place.copy("bundled")))
    finally:
        place.end()


def test_a_bundle_is_made_and_deployed_from_without_a_connection(bundled: Bundled) -> None:
    root = bundled.worker.place.root
    made = bundled.make()
    assert (made.status, made.changed > 0) == (0, True), made.output[-6000:]
    found = archive.examine(str(bundled.path))
    tell(f"the bundle of the example: {made.seconds:.0f} s, {len(found.files)} files, {found.size / 1e6:.0f} MB")
    assert not root.exists(), "nothing is done on hosts"
    assert bundled.make().ok().changed == 0

    damaged = bundled.path.with_name("damaged.tar")
    content = bytearray(bundled.path.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    refused = bundled.deploy(path=damaged)
    assert (refused.failure["code"], refused.changed, root.exists()) == ("bad_bundle", 0, False)
    assert str(damaged) in refused.failure["message"]

    run = bundled.deploy().ok()
    tell(f"first deploy from it: {run.seconds:.0f} s, {len(run.connected)} connections to this machine, none to another")
    assert outside(run) == []
    assert ("bundle", f"bundles/{found.id}", "created") in run.actions
    assert bundled.worker.ask()["generation"] == "1"
    again = bundled.deploy().ok()
    assert (again.changed, again.actions, outside(again)) == (0, [], [])
    pid = bundled.worker.rows()["0"]["pid"]
    refused = bundled.deploy(path=damaged)
    assert (refused.failure["code"], bundled.worker.rows()["0"]["pid"]) == ("bad_bundle", pid)


def test_a_bundle_without_a_name_is_refused(bundled: Bundled) -> None:
    refused = bundled.make(worker_bundle="")
    assert refused.status != 0
    assert "worker_bundle is empty" in re.sub(r"\s+", " ", refused.output)
