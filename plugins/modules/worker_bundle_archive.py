#!/usr/bin/python
# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes one archive of everything that a deploy would download."""

from __future__ import annotations

DOCUMENTATION = r"""
module: worker_bundle_archive
short_description: Makes a bundle, one archive of everything that a deploy downloads
version_added: 0.2.0
author:
  - EW AI (@ew-ai)
description:
  - Solves the environment for a platform that need not be this machine's, and packs its conda packages with an index of their own, the
    wheels of its pip requirements, and those of the toolchain, with the sha256 of each file.
  - The archive is complete under its name, or not there. The same contents give the same bytes; then nothing is changed.
  - It runs on a machine that reaches channels and indexes, on an interpreter that has py-rattler and uv, such as
    M(ew_ai.worker.worker_toolchain) makes.
  - Nothing is built. A requirement without a wheel is an error that names it.
extends_documentation_fragment:
  - ew_ai.worker.attributes
  - ew_ai.worker.network
attributes:
  async:
    description: Supports being run with the C(async) keyword.
    support: full
options:
  dest:
    description: The archive, an absolute path.
    type: path
    required: true
  root:
    description: Absolute path below which the cache lies, and the release that O(requirements) is in.
    type: path
    required: true
  platform:
    description: The platform that it is for; this machine's unless given.
    type: str
    choices: [linux-64, linux-aarch64]
  glibc:
    description: The oldest C library of the hosts.
    type: str
    default: "2.28"
  host_pythons:
    description: The Pythons of the hosts, for each of which the toolchain is packed.
    type: list
    elements: str
    default: ["3.9", "3.10", "3.11", "3.12", "3.13"]
  toolchain_requirements:
    description: Text of the pinned and hashed requirements of the toolchain.
    type: str
    required: true
  python_version:
    description: As in M(ew_ai.worker.conda_env).
    type: str
  packages:
    description: As in M(ew_ai.worker.conda_env).
    type: list
    elements: str
    default: []
  channels:
    description: As in M(ew_ai.worker.conda_env).
    type: list
    elements: str
  allow_anaconda_defaults:
    description: As in M(ew_ai.worker.conda_env).
    type: bool
    default: false
  file:
    description: As in M(ew_ai.worker.conda_env).
    type: path
  requirements:
    description: As in M(ew_ai.worker.conda_env).
    type: list
    elements: path
    default: []
  planned_files:
    description: As in M(ew_ai.worker.conda_env).
    type: dict
    default: {}
  pip:
    description: As in M(ew_ai.worker.conda_env).
    type: list
    elements: str
    default: []
  constraints:
    description: As in M(ew_ai.worker.conda_env).
    type: list
    elements: path
    default: []
  installer:
    description: As in M(ew_ai.worker.conda_env).
    type: str
    choices: [auto, uv, pip]
    default: auto
  index_url:
    description: As in M(ew_ai.worker.conda_env).
    type: str
  extra_index_urls:
    description: As in M(ew_ai.worker.conda_env).
    type: list
    elements: str
    default: []
  find_links:
    description: As in M(ew_ai.worker.conda_env), for the toolchain too.
    type: list
    elements: str
    default: []
  offline:
    description: As in M(ew_ai.worker.conda_env).
    type: bool
    default: false
  timeout:
    description: Longest time of each step, in seconds.
    type: int
    default: 3600
seealso:
  - module: ew_ai.worker.worker_bundle
"""

EXAMPLES = r"""
- name: Pack what the worker needs on arm64 hosts
  ew_ai.worker.worker_bundle_archive:
    dest: /srv/bundles/worker.tar
    root: /var/cache/bundles
    platform: linux-aarch64
    python_version: "3.11"
    pip: [grpcio]
    toolchain_requirements: "{{ lookup('ansible.builtin.file', 'toolchain.txt') }}"
"""

RETURN = r"""
actions:
  description: What was done, or would be done in check mode, each with C(what), C(id) and C(status).
  type: list
  elements: dict
  returned: always
  sample: [{what: bundle, id: /srv/bundles/worker.tar, status: created}]
bundle:
  description:
    - The bundle, with C(id), C(platform), C(glibc), C(python_version), C(host_pythons), C(files) (how many) and C(bytes). In check mode C(id)
      is null where it would be made anew.
  type: dict
  returned: always
dest:
  description: The archive.
  type: str
  returned: always
elapsed:
  description: How long it took, in seconds.
  type: float
  returned: always
code:
  description: A word for what failed, such as V(no_wheel), V(unsatisfiable), V(channel_unreachable), V(index_unreachable).
  type: str
  returned: failure
remedy:
  description: What to do next.
  type: str
  returned: failure
"""

import contextlib
import dataclasses
import hashlib
import os
import pathlib
import re
import shutil
import tempfile
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ew_ai.worker.plugins.module_utils import network
from ansible_collections.ew_ai.worker.plugins.module_utils.actions import Actions
from ansible_collections.ew_ai.worker.plugins.module_utils.bounds import at_least
from ansible_collections.ew_ai.worker.plugins.module_utils.bundle import archive, manifest
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.content import Content, fingerprint, this_platform
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.gather import (
    Means,
    Target,
    Wheels,
    check_glibc,
    gather_packages,
    needs_unknown,
    refuse_repositories,
)
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.indexes import Indexes, combine, pip_settings, secrets_in, without_missing
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.logins import indexes_with_logins, netrc_logins, with_login
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.masking import hide_credentials, secrets_of
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.specs import check_addresses, strip_credentials
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.wanted import wanted_content
from ansible_collections.ew_ai.worker.plugins.module_utils.errors import OptionError, WorkerError
from ansible_collections.ew_ai.worker.plugins.module_utils.files import locked, remove_tree
from ansible_collections.ew_ai.worker.plugins.module_utils.host.toolchain_pins import parse_pins
from ansible_collections.ew_ai.worker.plugins.module_utils.job import Job
from ansible_collections.ew_ai.worker.plugins.module_utils.layout import Layout
from ansible_collections.ew_ai.worker.plugins.module_utils.module import run_module
from ansible_collections.ew_ai.worker.plugins.module_utils.names import check_file, check_root
from ansible_collections.ew_ai.worker.plugins.module_utils.progress import Progress
from ansible_collections.ew_ai.worker.plugins.module_utils.redact import MASKED_LENGTH

# On the cache's disk, with logins in it while a bundle is made.
SCRATCH = ".bundle-"
ADDRESS_OPTIONS = ("channels", "index_url", "extra_index_urls", "find_links", "pip")
EMPTY: dict[str, t.Any] = {
    "bundle": {"id": None, "platform": None, "glibc": None, "python_version": None, "host_pythons": [], "files": None, "bytes": None},
    "dest": None,
}
ARGUMENTS: dict[str, dict[str, t.Any]] = {
    "dest": {"type": "path", "required": True},
    "root": {"type": "path", "required": True},
    "platform": {"type": "str", "choices": ["linux-64", "linux-aarch64"]},
    "glibc": {"type": "str", "default": "2.28"},
    "host_pythons": {"type": "list", "elements": "str", "default": ["3.9", "3.10", "3.11", "3.12", "3.13"]},
    "toolchain_requirements": {"type": "str", "required": True},
    "python_version": {"type": "str"},
    "packages": {"type": "list", "elements": "str", "default": []},
    "channels": {"type": "list", "elements": "str"},
    "allow_anaconda_defaults": {"type": "bool", "default": False},
    "file": {"type": "path"},
    "requirements": {"type": "list", "elements": "path", "default": []},
    "planned_files": {"type": "dict", "default": {}},
    "pip": {"type": "list", "elements": "str", "default": []},
    "constraints": {"type": "list", "elements": "path", "default": []},
    "installer": {"type": "str", "choices": ["auto", "uv", "pip"], "default": "auto"},
    "index_url": {"type": "str"},
    "extra_index_urls": {"type": "list", "elements": "str", "default": []},
    "find_links": {"type": "list", "elements": "str", "default": []},
    "offline": {"type": "bool", "default": False},
    "network": network.ARGUMENT,
    "timeout": {"type": "int", "default": 3600},
}


def check_options(options: t.Mapping[str, t.Any]) -> None:
    """Raises OptionError."""
    check_root("root", options["root"])
    dest = options["dest"]
    if not dest.startswith("/"):
        raise OptionError("dest", dest, "it is not an absolute path", "Start it with /.")
    if os.path.isdir(dest) or not os.path.isdir(os.path.dirname(dest)):
        problem = "it is a directory" if os.path.isdir(dest) else f"there is no directory {os.path.dirname(dest)}"
        raise OptionError("dest", dest, problem, f"Name a file in a directory that is there: mkdir -p {os.path.dirname(dest)}")
    check_file("dest", dest)
    check_glibc(options["glibc"])
    at_least("timeout", options["timeout"], 1)
    for version in options["host_pythons"]:
        if not re.fullmatch(r"3\.(?:9|[1-9]\d)", version):
            raise OptionError("host_pythons", version, "this is no version such as 3.11", 'Write ["3.9", "3.11"], each in quotes.')
    for option in ("index_url", "extra_index_urls", "find_links"):
        value = options[option] or []
        check_addresses(option, [value] if isinstance(value, str) else value)
    parse_pins(options["toolchain_requirements"], "toolchain_requirements")


def made_from(content: Content, options: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """What decides the contents, but for what channels and indexes have; no credential."""
    return {
        "fingerprint": fingerprint(content),
        "channels": [strip_credentials(channel) for channel in content.channels],
        "toolchain": hashlib.sha256(options["toolchain_requirements"].encode()).hexdigest(),
    }


def warn(say: t.Callable[[str], None], content: Content) -> None:
    """Of what a host will lack, or nobody can check, that is known before anything is fetched."""
    unknown = needs_unknown(content)
    if unknown:
        say(
            f"The hosts build {', '.join(unknown)}, and these do not say in a pyproject.toml what they need to run. "
            "The bundle gets setuptools and wheel for that, and what they need to be built as far as they say it: name the rest in the requirements file."
        )
    if content.unverified:
        say(f"The lock has no hash for {', '.join(content.unverified)}: whatever its channel serves is packed.")


def found_at(dest: str) -> t.Optional[manifest.Bundle]:
    """The whole bundle that is there, or None."""
    try:
        return archive.examine(dest) if os.path.isfile(dest) else None
    except WorkerError:
        return None


def described(bundle: manifest.Bundle) -> dict[str, t.Any]:
    kept = {key: getattr(bundle, key) for key in ("id", "platform", "glibc", "python_version")}
    return {**kept, "host_pythons": list(bundle.host_pythons), "files": len(bundle.files), "bytes": bundle.size}


def gather(content: Content, options: t.Mapping[str, t.Any], target: Target, means: Means, directory: str, progress: Progress) -> None:
    """Everything into the directory, as it will be in the archive."""
    python = gather_packages(content, target, means, os.path.join(directory, manifest.CHANNEL), progress)
    wheels = Wheels(target, means, progress)
    if content.wants_pip:
        wheels.of_content(content, python, os.path.join(directory, manifest.WHEELS))
    for version in options["host_pythons"]:
        wheels.of_text(options["toolchain_requirements"], version, os.path.join(directory, manifest.TOOLCHAIN))


def with_logins(content: Content, options: t.Mapping[str, t.Any]) -> tuple[Content, Indexes, set[str]]:
    """What is wanted, and the indexes, both with the logins of netrc; and all that must not be shown."""
    logins = netrc_logins(os.environ, str(pathlib.Path.home()))
    indexes = combine(pip_settings(os.environ, str(pathlib.Path.home())), options["index_url"], options["extra_index_urls"], options["find_links"])
    indexes = indexes_with_logins(indexes, logins)
    content = dataclasses.replace(content, channels=tuple(with_login(each, logins) for each in content.channels))
    secrets = {*secrets_in(indexes), *(password for _user, password in logins.values()), *secrets_of(package.url for package in content.locked)}
    return content, indexes, secrets


def work(module: AnsibleModule, options: dict[str, t.Any]) -> dict[str, t.Any]:
    check_options(options)
    actions, dest = Actions(), os.path.normpath(options["dest"])
    job = Job(module, Layout(options["root"]).jobs)
    platform = options["platform"] or this_platform()
    network.apply(options["network"], needs_files=not module.check_mode)
    content, indexes, secrets = with_logins(wanted_content(options, module.check_mode, platform), options)
    module.no_log_values.update(secret for secret in secrets if len(secret) >= MASKED_LENGTH)
    refuse_repositories(content)
    warn(module.warn, content)
    before, origin = found_at(dest), made_from(content, options)
    facts = (platform, options["glibc"], options["python_version"] or "", options["host_pythons"])
    status = "changed" if os.path.lexists(dest) else "created"
    if module.check_mode:
        # What channels and indexes have by now is not asked.
        if before is not None and before.made_from == origin and (before.platform, before.glibc) == facts[:2] and list(before.host_pythons) == facts[3]:
            return {"dest": dest, "bundle": described(before), **actions.as_result()}
        tell(actions, dest, status, before, None)
        planned = dict(zip(("platform", "glibc", "python_version", "host_pythons"), facts))
        return {"dest": dest, "bundle": {**EMPTY["bundle"], **planned}, **actions.as_result()}
    layout = Layout(options["root"])
    progress = job.detach(dest=dest, fingerprint=origin["fingerprint"])
    os.makedirs(layout.cache, exist_ok=True)
    with locked(os.path.join(layout.locks, "bundle-archive.lock"), float(options["timeout"]), "a bundle is being made"), scratch(layout.cache) as place:
        directory, work_place = os.path.join(place, "bundle"), os.path.join(place, "work")
        for each in (directory, work_place):
            os.mkdir(each)
        means = Means(without_missing(indexes), options["offline"], os.path.join(layout.cache, "bundle"), work_place, float(options["timeout"]))
        gather(content, options, Target(platform, options["glibc"]), means, directory, progress)
        text = manifest.render(*facts, archive.table_of(directory), origin)
        after = manifest.parse(text.encode(), dest)
        if before is None or before.id != after.id:
            progress(f"write {dest}, {after.size / 1e6:.0f} MB")
            archive.write(dest, directory, text)
            tell(actions, dest, status, before, after)
    return {"dest": dest, "bundle": described(after), **actions.as_result()}


def tell(actions: Actions, dest: str, status: str, before: t.Optional[manifest.Bundle], after: t.Optional[manifest.Bundle]) -> None:
    """Record that the archive is made, and which files come and go."""
    actions.add("bundle", dest, status)
    actions.differ("files", sorted(before.files) if before else [], sorted(after.files) if after else "unknown until gathered")


@contextlib.contextmanager
def scratch(cache: str) -> t.Iterator[str]:
    """A directory on the cache's disk, gone at the end. Only under the lock."""
    for name in os.listdir(cache):
        # A killed run left it, with logins in it: the lock is ours.
        if name.startswith(SCRATCH):
            remove_tree(os.path.join(cache, name))
    place = tempfile.mkdtemp(prefix=SCRATCH, dir=cache)
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def main() -> None:
    """Entry point of the module."""
    # no_log only keeps the options, which may carry credentials, out of the system's log.
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True, no_log=True)
    options = hide_credentials(module.params, module.no_log_values, ADDRESS_OPTIONS)
    network.hide(module.params, module.no_log_values)
    run_module(module, lambda: work(module, options), EMPTY)


if __name__ == "__main__":
    main()
