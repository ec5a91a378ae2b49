# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Variables of the role that no other test over a playbook sets: what each is for arrives where it should."""

from __future__ import annotations

import json
import pathlib
import typing as t

import pytest

from ansible_collections.ew_ai.worker.plugins.module_utils.processes import command
from tests.integration.certificates import Authority
from tests.integration.deploy_driver import Data, Place, Worker
from tests.integration.local_packages import local_channel, served, write_index, write_source_package, write_wheel
from tests.integration.test_worker_toolchain import make_wheel

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("deploy-variables")]

DEAD = "http://127.0.0.1:9"  # nobody listens there


def test_what_a_worker_is_made_of(place: Place, tmp_path: pathlib.Path) -> None:
    source = place.copy("settings")
    (source / "requirements.txt").rename(source / "other-requirements.txt")
    (source / "notes.private").write_text("not for hosts\n")
    (source / "worker" / "other.py").write_text("from worker.main import main\n\nmain()\n")
    wheels = [write_wheel(tmp_path / "wheels", "ew_one", version) for version in ("1.0", "2.0")]
    with served(write_index(tmp_path / "index", wheels)) as index:
        worker = place.worker(
            source,
            worker_env={"EW_TEST_NO_HEALTH": "1"},
            worker_extra_index_urls=[f"http://{index}"],
            worker_health_protocol="tcp",
            worker_ignore=["*.private"],
            worker_lease_timeout=600,
            worker_module="worker.other",
            worker_pip=["ew-one<2"],
            worker_report_dir=str(tmp_path / "reports"),
            worker_requirements_file="other-requirements.txt",
        )
        run = worker.deploy()
    (row,) = worker.rows().values()
    assert "-m worker.other --port" in command(row["pid"])
    assert not (pathlib.Path(row["release"]) / "notes.private").exists()
    packages = {path.name.split("-")[0]: path for path in pathlib.Path(row["environment"]).glob("lib/python*/site-packages/*.dist-info")}
    assert packages["ew_one"].name == "ew_one-1.0.dist-info"
    assert "numpy" in packages, "the other requirements file was read"
    assert "has no health service" not in run.output, "a port was all that was asked for"
    assert worker.ask()["pid"] == row["pid"]
    assert json.loads((tmp_path / "reports" / "deploy.json").read_text())["success"] is True


def packages_only(place: Place, **variables: t.Any) -> Worker:
    """A worker that is installed and not started, which needs one package of a channel and no index."""
    source = place.copy(f"packages-{len(list((place.home / 'sources').glob('*')))}", "flat-worker")
    (source / "requirements.txt").write_text("")
    return place.worker(source, **{"worker_auto_start": False, "worker_packages": ["ew-lib"], **variables})


def test_a_proxy_and_the_companys_authority_are_those_of_the_host(place: Place, tmp_path: pathlib.Path) -> None:
    authority = Authority(tmp_path)
    with served(local_channel()) as plain, served(local_channel(), certificate=authority.issue("server")) as secure:
        unreached = packages_only(place, worker_channels=[f"http://{plain}"], worker_http_proxy=DEAD).run("deploy")
        assert unreached.failure["code"] == "channel_unreachable"
        past_the_proxy: Data = {"worker_http_proxy": DEAD, "worker_https_proxy": DEAD, "worker_no_proxy": "127.0.0.1"}
        unknown = packages_only(place, worker_channels=[f"https://{secure}"], **past_the_proxy).run("deploy")
        assert unknown.failure["code"] == "channel_unreachable"
        assert "certificate" in unknown.failure["message"].lower()
        packages_only(place, worker_channels=[f"https://{secure}"], worker_ca_bundle=str(authority.certificate), **past_the_proxy).deploy()


def test_a_build_that_takes_too_long_is_ended(place: Place, tmp_path: pathlib.Path) -> None:
    slow = write_source_package(tmp_path / "slow", "ew_slow")
    (slow / "gate.txt").write_text(str(tmp_path / "a gate that never opens"))
    run = packages_only(place, worker_pip=[str(slow)], worker_environment_timeout=10).run("deploy")
    assert (run.failure["code"], run.failure["stage"]) == ("timeout", "environment")


def test_what_check_mode_foretells_or_refuses(place: Place, tmp_path: pathlib.Path) -> None:
    pinned = make_wheel(tmp_path / "wheels", "1.0")
    # Offline, or whether the channel answers here would matter.
    defaults: Data = {"worker_channels": ["defaults"], "worker_offline": True, "worker_toolchain_requirements": pinned}
    allowed = packages_only(place).run("deploy", check=True, worker_allow_anaconda_defaults=True, **defaults).ok()
    (toolchain,) = [action for action in allowed.actions if action[0] == "toolchain"]
    assert toolchain[2] == "created", "another toolchain than the running interpreter provides"
    refused = packages_only(place).run("deploy", check=True, **defaults).failure
    assert (refused["code"], "allow_anaconda_defaults" in refused["remedy"]) == ("channel_refused", True)
    # These workers are under supervisord.
    refused = packages_only(place).run("deploy", check=True, worker_scope="user").failure
    assert (refused["code"], "worker_scope" in refused["message"]) == ("invalid_option", True)


def test_files_of_the_worker_directory_that_the_environment_is_made_from(place: Place, tmp_path: pathlib.Path) -> None:
    for version in ("1.0", "2.0"):
        write_wheel(tmp_path / "wheels", "ew_one", version)
    worker = packages_only(
        place,
        worker_constraints=["limits.txt"],
        worker_environment_file="environment.yml",
        worker_find_links=[str(tmp_path / "wheels")],
        worker_packages=[],
        worker_pip=["ew-one"],
    )
    source = pathlib.Path(worker.variables["worker_dir"])
    (source / "limits.txt").write_text("ew-one<2\n")
    (source / "environment.yml").write_text("dependencies: [ew-lib]\n")
    run = worker.deploy()
    environment = pathlib.Path(run.host["environment"])
    assert [path.name for path in environment.glob("lib/python*/site-packages/ew_one-*.dist-info")] == ["ew_one-1.0.dist-info"]
    assert len(list(environment.glob("conda-meta/ew-lib-*.json"))) == 1
    assert worker.deploy().changed == 0
    (source / "limits.txt").unlink()
    assert "limits.txt" in worker.run("deploy").failure["message"]
