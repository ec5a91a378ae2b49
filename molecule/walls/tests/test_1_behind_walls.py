# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A deploy to a host with walls: sudo by password, umask 077, no programs in /tmp, /opt elsewhere, and no way out but a proxy."""

from __future__ import annotations

import json
import pathlib
import re
import typing as t

import pytest

from tests.figures import tell
from tests.molecule.company import Company
from tests.molecule.fleet import Fleet, Run
from tests.molecule.plugin import Expect
from tests.molecule.secrets import holders, told, watched_arguments

HOST = "w1"
ROOT = "/opt/ew_ai_worker"
PLACES = ("/opt", "/tmp", "/var", "/etc", "/run", "/root", "/home", "/dev/shm", "/srv")
# Where people have put them themselves, and what a secret of a worker is kept in.
OWN = ["600 /etc/pip.conf", "600 /root/.netrc"]
WORKERS_SECRET = "worker-4717-lock"
# None of these belongs into anything that a run prints, writes or starts.
OTHERS = {WORKERS_SECRET: "worker", "walls-sudo@1": "sudo"}


# Type, mode, owner and name of all that a second run might touch.
TREE = f"find {ROOT} -not -path '*/data/*' -not -path '*/cache*' -printf '%y %m %u %p\\n' | sort | sha256sum"
Deploy = t.Callable[..., Run]


@pytest.fixture(scope="module")
def deploy(fleet: Fleet, company: Company, source: pathlib.Path) -> Deploy:
    """Deploy to the host with walls; fleet.play's options and variables."""
    fleet.route(on=False)

    def act(*options: str, status: int = 0, keep: str = "", extra: t.Optional[dict[str, t.Any]] = None, **variables: t.Any) -> Run:
        given = company.options(worker_dir=str(source), worker_secrets={"TOKEN": WORKERS_SECRET}, **(extra or {}))
        return fleet.play("deploy", *given, *options, limit=HOST, status=status, keep=keep, **variables)

    return act


def test_the_walls_stand(fleet: Fleet, expect: Expect, company: Company) -> None:
    company.settle(HOST)
    for place in ("/tmp", "/var/tmp", "/dev/shm"):
        expect(f"programs in {place}", "126", fleet.on(HOST, f"cp /bin/true {place}/program && {place}/program; echo $?; rm {place}/program"))
    # So that seeing none later means something.
    with watched_arguments({"control-4718": "control"}) as seen:
        fleet.on(HOST, "sh -c 'sleep 0.5; : control-4718'")
    expect("a secret in a command line is seen", ["control"], list(seen))
    devices = fleet.on(HOST, "stat -c %d /opt /tmp /var /home").split()
    expect("file systems of /opt, /tmp and /var", 3, len(set(devices[:3])))
    expect("umask of root by sudo", "0077", fleet.on(HOST, "su -s /bin/sh deployer -c 'echo walls-sudo@1 | sudo -S -p \"\" sh -c umask'"))


def test_sudo_without_its_password_is_ansibles_own_error(deploy: Deploy, fleet: Fleet, expect: Expect) -> None:
    before = fleet.on(HOST, "ls -A /opt")
    wrong = deploy(status=2, ansible_become_password="not-this-one", ansible_pipelining=True)
    expect("wrong password: words", True, bool(re.search("incorrect sudo password", wrong.output, re.IGNORECASE)))
    expect("wrong password: message", True, "sudo password" in wrong.host(HOST)["failure"]["message"])
    expect("wrong password: nothing made", before, fleet.on(HOST, "ls -A /opt"))


def test_unknown_authority_and_refusing_proxy_are_named(deploy: Deploy, fleet: Fleet, company: Company, expect: Expect) -> None:
    unknown = deploy(status=2, extra={"worker_ca_bundle": ""}).host(HOST)["failure"]
    expect("unknown authority: code", "tls_error", unknown["code"])
    expect("unknown authority: remedy names worker_ca_bundle", True, "worker_ca_bundle" in unknown["remedy"])
    absent = deploy(status=2, extra={"worker_ca_bundle": "/etc/ssl/no-such.pem"}).host(HOST)["failure"]
    expect("no such certificates: code", "invalid_option", absent["code"])
    expect("no such certificates: message names worker_ca_bundle", True, "worker_ca_bundle" in absent["message"])
    wrong = company.url("proxy").replace("proxy-4711", "wrong-4711")
    refused = deploy(status=2, extra={"worker_https_proxy": wrong})
    failure = refused.host(HOST)["failure"]
    expect("refusing proxy: it did", True, {status for _target, status in company.proxy.refused} == {407})
    expect("refusing proxy: names worker_https_proxy", True, "worker_https_proxy" in failure["message"])
    expect("refusing proxy: its password is told", False, "wrong-4711" in refused.output)
    expect("refused deploys: environments and toolchains", "", fleet.on(HOST, f"find {ROOT}/envs {ROOT}/toolchain -mindepth 1", check=False))


def test_first_deploy_comes_through_the_proxy_with_every_login(deploy: Deploy, fleet: Fleet, company: Company, expect: Expect) -> None:
    check = deploy("--check", "--diff", "-vvv")
    company.proxy.passed.clear()
    with watched_arguments({**company.forms, **OTHERS}) as seen:
        run = deploy("--diff", "-vvv", keep="first")
    tell(f"first deploy through walls and proxy: {run.seconds:.0f} s, {len(company.proxy.passed)} connections through the proxy")
    expect("first deploy: successful", True, run.report["success"])
    expect("first deploy: code that answers", "1", fleet.infer(HOST)["code_version"])
    expect("secrets in command lines while it ran", {}, seen)
    expect("hosts that the proxy let through", {f"{name}.company.test" for name in ("channel", "token", "index", "mirror")}, set(company.proxy.passed))
    wheels = {name: any(".whl" in path or ".tar.gz" in path for path in company.asked[name]) for name in ("index", "mirror", "direct")}
    expect("packages came from the indexes of options, pip.conf and netrc", {"index": True, "mirror": True, "direct": True}, wheels)
    expect("a package came from the channel with a token", True, any("ew-more" in path for path in company.asked["token"]))
    expect("secrets in what was printed", [], told(check.output + run.output, {**company.forms, **OTHERS}))
    expect("secrets in reports", [], told(json.dumps([check.report, run.report]), {**company.forms, **OTHERS}))


def test_no_file_of_the_host_has_a_login(fleet: Fleet, company: Company, expect: Expect) -> None:
    expect("files with a login of the network", OWN, holders(fleet, HOST, company.forms, *PLACES))
    kept = holders(fleet, HOST, {WORKERS_SECRET: "worker"}, *PLACES)
    expect("files with the worker's secret are closed", {"600"}, {line.split()[0] for line in kept})
    described = fleet.on(HOST, "systemctl show ew-worker@0; systemctl cat ew-worker@0")
    expect("secrets in the unit", [], told(described, {**company.forms, **OTHERS}))


def test_what_the_worker_needs_is_open_to_it_whatever_the_umask(fleet: Fleet, expect: Expect) -> None:
    environment = fleet.on(HOST, f"readlink -f {ROOT}/envs/ew_ai_worker")
    for what, places in (("release and environment", f"{ROOT}/releases {environment}"), ("toolchain", f"{ROOT}/toolchain")):
        closed = fleet.on(HOST, f"find {places} -not -type l '(' -type d -not -perm -005 -o -type f -not -perm -004 ')' | head -3")
        expect(f"{what}: what others cannot read", "", closed)
        expect(f"{what}: what others can write", "", fleet.on(HOST, f"find {places} -not -type l -perm /022 | head -3"))
    found = fleet.on(HOST, f"su -s /bin/sh nobody -c 'cat {ROOT}/workers/ew-worker/state.json {ROOT}/workers/ew-worker/endpoints.json' | wc -l")
    expect("state and endpoints can be read", True, int(found) > 0)
    built_by = fleet.on(HOST, f"{environment}/bin/python -c 'import ew_mirror; print(ew_mirror.BUILT_BY)'")
    expect("built without programs in /tmp, by the build user", fleet.on(HOST, "id -u ew-worker-build"), built_by)


def test_second_run_of_another_umask_changes_nothing(deploy: Deploy, fleet: Fleet, company: Company, expect: Expect) -> None:
    before, files = fleet.processes(HOST, instances=("0",)), fleet.on(HOST, TREE)
    for asked in company.asked.values():
        asked.clear()
    company.proxy.passed.clear()
    own = deploy()
    expect("second run: changed", {HOST: 0}, own.changed)
    direct = deploy(ansible_user="root", ansible_become=False, ansible_pipelining=True, ansible_remote_tmp="~/.ansible/tmp")
    expect("run of umask 022: changed", {HOST: 0}, direct.changed)
    expect("modes and owners", files, fleet.on(HOST, TREE))
    expect("processes", before, fleet.processes(HOST, instances=("0",)))
    expect("asked over the network", ([], {name: [] for name in company.asked}), (company.proxy.passed, company.asked))


def test_uninstall_leaves_nothing_behind(fleet: Fleet, company: Company, expect: Expect) -> None:
    fleet.play("uninstall", *company.options(), limit=HOST, worker_purge=True)
    expect("what is left in /opt", "", fleet.on(HOST, "ls -A /opt"))
    left = fleet.on(HOST, "find /tmp /var/tmp /dev/shm /home/deployer/.ansible-walls -type f -newer /root/.netrc | head -3", check=False)
    expect("temporary files left", "", left)
