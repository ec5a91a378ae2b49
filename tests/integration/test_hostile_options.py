# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What nobody should get through the options of the modules: one clear error each, before anything is changed."""

from __future__ import annotations

import importlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import typing as t

import pytest
import yaml

from ansible_collections.ew_ai.worker.plugins.doc_fragments.network import ModuleDocFragment
from tests.figures import tell
from tests.integration.hostile_options import BASES, NO_MODULE, Case, odd_but_fine, of_types, written
from tests.integration.module_driver import collections_path
from tests.shared import digest
from tools.checkout import CHECKOUT

CHILD = pathlib.Path(__file__).with_name("hostile_child.py")
LONGEST_MESSAGE = 1200  # characters; what somebody reads in a terminal
OTHER_ACCOUNT = 65534  # nobody's number, whether there is such an account or not
FEWEST = 150  # cases that somebody wrote down
SHOWN = 12  # characters of a bad value by which it is known again

ON_CONTROLLER = "its action plugin looks at it on the controller, and takes it away: test_hostile_variables.py has it"
BY_ACTION = "its action plugin makes it, and nobody else"
# Options without a case, and why.
ANY_VALUE = {
    "grpc_health": {"tls_server_name": "compared with the names in a certificate and nothing else"},
    "worker_bundle": {"source": ON_CONTROLLER, "package": BY_ACTION},
    "worker_generation": {"reason": "told and nothing else", "lease_run": "compared with the name of the run that has the lease"},
    "worker_preflight": {
        **dict.fromkeys(("source", "requirements_file", "asker", "bundle"), ON_CONTROLLER),
        **dict.fromkeys(("lease", "over_from"), BY_ACTION),
        "bind": "compared with the addresses of other listeners; as an option of the instances it is in settings",
        "verb": "told and nothing else",
    },
    "worker_release": {"source": ON_CONTROLLER, "requirements_file": ON_CONTROLLER, "package": BY_ACTION, "content": BY_ACTION},
}

Answer = dict[str, t.Any]


@pytest.fixture(scope="module")
def place() -> t.Iterator[pathlib.Path]:
    """What ``@`` stands for in the table."""
    with tempfile.TemporaryDirectory(prefix="hostile-") as name:
        path = pathlib.Path(name)
        (path / "root").mkdir()
        (path / "link").symlink_to("/etc")
        (path / "plain").write_text("just text, no key and no JSON\n")
        os.mkfifo(path / "pipe")
        (path / "loop").symlink_to("loop")
        (path / "theirs").mkdir(mode=0o755)
        (path / "theirs" / "conda").write_text("#!/bin/sh\nexit 1\n")
        (path / "theirs" / "conda").chmod(0o755)
        if os.geteuid() == 0:
            os.chown(path / "theirs", OTHER_ACCOUNT, OTHER_ACCOUNT)
        yield path


def documented() -> dict[str, dict[str, dict[str, t.Any]]]:
    """The options of the modules, which tests/quality holds equal to their argument specs; that of the fragment too."""
    modules = {name: importlib.import_module(f"ansible_collections.ew_ai.worker.plugins.modules.{name}") for name in BASES}
    documents = {name: yaml.safe_load(module.DOCUMENTATION) for name, module in modules.items()}
    shared = yaml.safe_load(ModuleDocFragment.DOCUMENTATION)["options"]
    return {
        name: {**each["options"], **(shared if "ew_ai.worker.network" in each["extends_documentation_fragment"] else {})} for name, each in documents.items()
    }


def answers(cases: t.Sequence[Case], place: pathlib.Path, check: bool) -> list[Answer]:
    """What the modules say, all in one process."""

    def line(case: Case) -> str:
        given = {name: value for name, value in case.args.items() if value is not None}
        settings = {"_ansible_check_mode": check, "_ansible_remote_tmp": tempfile.gettempdir()}
        # A NaN and a huge number are what they are in YAML, too.
        return json.dumps([case.module, {**given, **settings}]).replace("@/", f"{place}/")

    done = subprocess.run(
        [sys.executable, str(CHILD)],
        input="".join(f"{line(case)}\n" for case in cases),
        env={**os.environ, "PYTHONPATH": str(collections_path())},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(each) for each in done.stdout.splitlines()]


def shown(value: t.Any, place: pathlib.Path) -> set[str]:
    """How a message may tell the value: as text, or as Python writes it, cut where it is long."""
    text = str(value).replace("@/", f"{place}/") if isinstance(value, str) else str(value)
    return {text[:SHOWN], text.strip()[:SHOWN], repr(text)[1:-1][:SHOWN], repr(value)[:SHOWN], json.dumps(value)[:SHOWN]}


def faults(case: Case, answer: Answer, place: pathlib.Path) -> list[str]:
    """What is wrong with an answer."""
    result = answer["result"]
    text = json.dumps(result, ensure_ascii=False)
    message = str(result.get("msg", ""))
    found = []
    if answer["raised"] or "Traceback" in text or "MODULE FAILURE" in text:
        found.append(f"raised {answer['raised'].strip().splitlines()[-1:] or text[:300]}")
    if not result.get("failed"):
        found.append("was taken")
    if answer["did"]:
        found.append(f"did {answer['did'][:3]}")
    if result.get("changed"):
        found.append("changed something")
    option = case.option.rpartition(".")[2]
    if option not in message:
        found.append(f"names no {option}")
    # Of a list or a dictionary in the place of something else Ansible tells the type.
    typed = case.code is None and "unable to convert" in message
    if not typed and case.secret == any(each in message for each in shown(case.value, place)):
        found.append("tells the secret" if case.secret else "does not tell the value")
    if case.secret and case.value in text:
        found.append("has the secret in its result")
    if len(message) > LONGEST_MESSAGE:
        found.append(f"has {len(message)} characters")
    if case.code is not None and (result.get("code") != case.code or not result.get("remedy")):
        found.append(f"code {result.get('code')!r}, remedy {str(result.get('remedy'))[:40]!r}")
    return [f"{each}: {message[:200]!r}" for each in found]


@pytest.mark.parametrize("check", [False, True], ids=["for real", "in check mode"])
def test_each_is_refused_by_name_before_anything_is_changed(place: pathlib.Path, check: bool) -> None:
    mine, typed = written(), of_types(documented())
    before = digest(place, of_directories=True)
    # What the types say is the same in either mode.
    cases = [case for case in mine if not case.real_only] if check else [*mine, *typed]
    found = {case.name: faults(case, answer, place) for case, answer in zip(cases, answers(cases, place, check), strict=True)}
    wrong = [f"{name}: {'; '.join(each)}" for name, each in found.items() if each]
    assert not wrong, f"{len(wrong)} of {len(cases)}:\n" + "\n".join(wrong)
    assert digest(place, of_directories=True) == before
    assert len(mine) >= FEWEST
    tell(f"hostile options: {len(cases)} refused ({len(mine)} written, the rest from the options' types), {'in check mode' if check else 'for real'}")


def test_what_only_looks_bad_is_taken(place: pathlib.Path) -> None:
    cases = odd_but_fine()
    told = zip(cases, answers(cases, place, check=True), strict=True)
    refused = {
        case.name: (answer["result"].get("msg"), answer["did"], answer["raised"])
        for case, answer in told
        if "elapsed" not in answer["result"] or answer["result"].get("failed") or answer["did"]
    }
    assert refused == {}
    tell(f"odd but fine: {len(cases)} taken")


def test_every_option_is_in_the_table() -> None:
    specs = documented()
    named = {(case.module, option) for case in [*written(), *of_types(specs)] for option in case.options}
    left = {(module, option) for module, spec in specs.items() for option in spec} - named
    assert left == {(module, option) for module, options in ANY_VALUE.items() for option in options}


def test_every_module_is_in_the_table() -> None:
    modules = {path.stem for path in (CHECKOUT / "plugins" / "modules").glob("*.py")}
    assert set(BASES) == modules - set(NO_MODULE)
    assert set(NO_MODULE) <= modules
