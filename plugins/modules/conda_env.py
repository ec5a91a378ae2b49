#!/usr/bin/python

# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: conda_env
short_description: Build conda environments that are complete or absent
version_added: 0.1.0
author:
  - EW AI (@ew-ai)
description:
  - Creates a conda environment from channels, environment files, and requirement files, and removes it again.
  - An environment is built beside those that serve, and is never written again once it is complete. Other contents, damage,
    and O(recreate) lead to another build at another path.
  - The fingerprint in its path is a hash of the contents that are wanted, including those of the requirement files with all that
    they include. Paths, credentials, and the indexes that packages come from do not count.
  - No conda is needed on the host. The solver is the library C(py-rattler), or with O(backend) a conda, mamba, or micromamba of the host;
    the Python packages are put in by C(uv) or C(pip).
extends_documentation_fragment:
  - ew_ai.worker.attributes
  - ew_ai.worker.network
attributes:
  check_mode:
    details: Names the same objects as the real run. Which packages the solver will choose cannot be predicted, and is said to be unknown.
  idempotent:
    support: partial
    details: With O(recreate=true) each run makes another build.
requirements:
  - py-rattler >= 0.28 for the interpreter on the host that runs the module (not in check mode), where O(backend) is V(rattler)
  - conda >= 24.11, mamba >= 2.0, or micromamba >= 2.0 on the host for those backends
  - uv for that interpreter, where O(installer) is V(uv)
options:
  state:
    description:
      - V(present) builds the environment unless it is there, complete and unchanged.
      - V(absent) removes it; with O(name) all builds of that name and the link.
    type: str
    choices: [present, absent]
    default: present
  name:
    description:
      - Name of the environment. Its builds are C(<root>/envs/<name>-<12 digits of the fingerprint>-<build>).
      - Exactly one of O(name) and O(prefix) is required.
    type: str
  prefix:
    description:
      - Exact path of the environment, for callers that need one fixed path.
      - Where a complete environment of other contents is there, the module fails, because a complete environment is never changed.
    type: path
  root:
    description:
      - Directory that holds environments, caches, and locks.
    type: path
    default: /opt/ew_ai_worker
  cache:
    description:
      - Directory of what is downloaded, C(conda), C(uv), and C(pip) below it. The default is C(<root>/cache).
      - Without O(build_user), hard links join environments to it, so it should be on the same file system. With it, environments get
        copies, and C(pip) keeps nothing, because the code that it runs could change what later builds install.
    type: path
  python_version:
    description:
      - Version of Python as a string in quotes, because YAML reads C(3.10) as the number 3.1.
      - V("3.10") means any 3.10; V("3.10.14") means that one; comparisons such as V(">=3.10,<3.12") are possible.
      - Without it, Python comes along where O(packages) names it or Python packages are to be installed.
      - Where O(file) is a lock, the lock decides; a version beside it must be the one that it has, or empty.
    type: str
  packages:
    description:
      - Conda packages, such as V(numpy), V(numpy=1.26), or V(numpy >=1.26,<2).
      - Refused where O(file) is a lock.
    type: list
    elements: str
    default: []
  channels:
    description:
      - Channels in order of priority, as names (V(conda-forge)), addresses, or directories. No other channel is ever asked.
      - The default is those of O(file), else V(conda-forge).
      - An address may carry credentials (C(https://user:password@host/channel), C(https://host/t/token/channel)); they are not
        written into the environment.
      - Where O(file) is a lock, no channel is asked, and this only gives credentials for the hosts that the lock names.
    type: list
    elements: str
  allow_anaconda_defaults:
    description:
      - Whether the channels of Anaconda, Inc. (V(defaults), V(main), V(r), …) may be used, whose terms ask most organisations for a licence.
    type: bool
    default: false
  file:
    description:
      - A file on the host that describes the environment. Which of the three kinds it is, its contents tell.
      - An C(environment.yml), with C(channels), C(dependencies) (a list of strings, and a C(pip:) section), and C(variables). Its C(name)
        and C(prefix) do not count. What the conda family would take for an empty environment, or is more YAML than such files need, is
        refused with its line.
      - An C(@EXPLICIT) list, as C(conda list --explicit --sha256) writes it, of addresses (C(http), C(https), C(file), or absolute paths).
      - A C(conda-lock.yml) of version 1, as C(conda-lock) writes it, or the same as JSON. The packages of the category C(main) for the
        host's platform are taken. Python packages in it are installed by O(installer), with their hashes; those of the Python Package
        Index by name and version from the indexes that are configured, others from their address.
      - Of the two kinds of lock exactly these packages are installed, and nothing is solved. Each is checked against its sha256, or its
        md5 where there is no other; one without any hash is installed with a warning that names it. Credentials in addresses are used,
        and recorded nowhere. A package for another platform is refused with the code C(wrong_platform).
    type: path
  requirements:
    description:
      - Requirement files on the host, for O(installer). What they include by C(-r) and C(-c), and local packages that they name,
        are relative to the file that names them.
      - All of that must be, links resolved, in the directory of the file that is named here; for a file of a release below O(root),
        anywhere in that release. The same holds for O(file) and O(constraints). Anything else is refused with the code C(requirements_outside).
      - Editable requirements (C(-e)) are refused, because the environment would change with a directory outside of it.
    type: list
    elements: path
    default: []
  pip:
    description:
      - Requirements as in a requirement file, one line each. Paths in them are absolute, and may lead anywhere.
    type: list
    elements: str
    default: []
  constraints:
    description:
      - Constraint files on the host.
    type: list
    elements: path
    default: []
  planned_files:
    description:
      - Texts that stand in for files of O(requirements), O(constraints), and O(file) that do not exist on the host yet, by path.
      - Used in check mode only.
    type: dict
    default: {}
  installer:
    description:
      - What installs Python packages. V(auto) is V(uv) where the interpreter that runs the module has it, else V(pip).
    type: str
    choices: [auto, uv, pip]
    default: auto
  index_url:
    description:
      - Address of the package index. The default is what pip is configured for on the host, by C(pip.conf) or C(PIP_*) variables,
        else the Python Package Index. That configuration (indexes, certificate, proxy, trusted hosts, time limit) is in force with V(uv), too.
    type: str
  extra_index_urls:
    description:
      - Further indexes, beside those that pip is configured for.
    type: list
    elements: str
    default: []
  find_links:
    description:
      - Directories or pages with packages, beside those that pip is configured for.
    type: list
    elements: str
    default: []
  backend:
    description:
      - What creates the environment. V(auto) is V(rattler), or what O(executable) names.
      - The others are programs of the host. One that is named and absent where something is to be built is the error
        C(backend_unavailable), in check mode too, which tells every place that was looked at. The fingerprint does not depend on it, so a
        change of it alone builds nothing.
      - They run with a configuration of their own; no C(.condarc), C(CONDA_*) or C(MAMBA_*) of whoever runs the module counts.
    type: str
    choices: [auto, rattler, conda, mamba, micromamba]
    default: auto
  executable:
    description:
      - Program of a command-line O(backend), as an absolute path or as a bare name. Which tool it is, its answer to C(--version) tells.
      - A bare name is looked for by C(CONDA_EXE) or C(MAMBA_EXE), then in C(PATH), then where installers put it; with O(backend=auto)
        the library takes its place where it is nowhere, or too old. The default is the name of O(backend).
      - Root runs none that others can write, nor one below a directory that others can write (C(unsafe_executable)).
    type: str
  recreate:
    description:
      - Make the next build of the same contents, although one is there. Not possible with O(prefix).
    type: bool
    default: false
  serving_prefix:
    description:
      - Prefix that serves now. Of several complete builds of the wanted fingerprint this one is kept rather than the newest one;
        without it, or where it is not complete, has drifted or is another fingerprint's, the newest is taken.
      - Ignored with O(recreate) and with O(prefix).
    type: path
  link:
    description:
      - Whether C(<root>/envs/<name>) is to be a link to the environment, for people. Nothing else should use it.
    type: bool
    default: true
  build_user:
    description:
      - Account that fetches and links packages, and runs what executes downloaded code, such as builds of source packages, where the
        module runs as root. In the end everything is root's and readable by all.
      - It should have no other duties, and not be able to start processes by C(cron) or C(at). Builds that share it wait for each other.
      - O(root), O(cache), and directories in O(channels) and O(find_links) must be open to it.
    type: str
  offline:
    description:
      - Use only caches, directories, and C(file://) addresses.
    type: bool
    default: false
  mirror:
    description:
      - A directory on the host with a channel that stands in for all of O(channels), such as that of a bundle. Conda packages come from it alone.
      - What is wanted stays the same, and so does the fingerprint.
    type: path
  lock_timeout:
    description:
      - Seconds to wait for another run that builds the same environment, uses the same cache, or builds as the same O(build_user).
    type: int
    default: 900
  timeout:
    description:
      - Seconds that one step may take, such as solving and linking, or installing the requirements.
    type: int
    default: 3600
seealso:
  - module: ew_ai.worker.conda_env_info
"""

EXAMPLES = r"""
- name: Build the environment of a worker
  ew_ai.worker.conda_env:
    name: ew_ai_worker
    python_version: "3.10"
    requirements:
      - /opt/ew_ai_worker/releases/4f1d8c02aa9b3e57/requirements.txt
    build_user: ew-build
  register: environment

- name: Build one from an environment file and a channel of the company, without a route out
  ew_ai.worker.conda_env:
    name: ew_ai_worker
    file: /srv/worker/environment.yml
    channels:
      - https://conda.example.com/forge
    index_url: https://pypi.example.com/simple
    offline: true

- name: Build exactly what was locked on another machine, with more Python packages
  ew_ai.worker.conda_env:
    name: ew_ai_worker
    file: /srv/worker/conda-lock.yml
    requirements: [/srv/worker/requirements.txt]

- name: Build exactly what an explicit list names, from a channel that wants a login
  ew_ai.worker.conda_env:
    name: ew_ai_worker
    file: /srv/worker/explicit.txt
    channels: ["https://reader:{{ conda_password }}@conda.example.com/forge"]

- name: Build another one of the same contents beside it
  ew_ai.worker.conda_env:
    name: ew_ai_worker
    python_version: "3.10"
    packages: ["numpy >=1.26,<2"]
    recreate: true

- name: Remove all builds and the link
  ew_ai.worker.conda_env:
    name: ew_ai_worker
    state: absent
"""

RETURN = r"""
actions:
  description: What was done, or would be done in check mode, in order.
  returned: always
  type: list
  elements: dict
  contains:
    what:
      description: V(environment) or V(link).
      type: str
    id:
      description: Path below O(root), or the whole path where it is elsewhere.
      type: str
    status:
      description: V(created), V(changed), or V(removed).
      type: str
  sample:
    - {what: environment, id: envs/ew_ai_worker-4f1d8c02aa9b-1, status: created}
    - {what: link, id: envs/ew_ai_worker, status: created}
activation:
  description:
    - Variables of the activated environment, including what packages declare and what their activation scripts set.
    - In check mode, for one that is not built yet, without the part of the packages.
  returned: always
  type: dict
  sample:
    PATH: /opt/ew_ai_worker/envs/ew_ai_worker-4f1d8c02aa9b-1/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
    CONDA_PREFIX: /opt/ew_ai_worker/envs/ew_ai_worker-4f1d8c02aa9b-1
    CONDA_DEFAULT_ENV: ew_ai_worker
backend:
  description: What created the environment; its values are null for one that is not built yet.
  returned: always
  type: dict
  contains:
    name:
      description: Name of the backend.
      type: str
    version:
      description: Its version.
      type: str
    executable:
      description: The program, or the interpreter that has the library.
      type: str
  sample: {name: rattler, version: 0.28.0, executable: /opt/ew_ai_worker/toolchain/9c0f1e/bin/python}
build:
  description: Number of the build, from 1; null with O(state=absent).
  returned: always
  type: int
  sample: 1
code:
  description: A stable word for what went wrong.
  returned: failure
  type: str
  sample: unsatisfiable
created:
  description: Whether this run has built it, or would in check mode.
  returned: always
  type: bool
drift:
  description: How the newest build of the same contents differed from what was recorded, which is why another one was built.
  returned: always
  type: list
  elements: dict
  contains:
    kind:
      description: V(conda) or V(pip).
      type: str
    name:
      description: Name of the package.
      type: str
    problem:
      description: V(missing), V(added), or V(changed).
      type: str
    recorded:
      description: Version that was recorded.
      type: str
    found:
      description: Version that was found.
      type: str
elapsed:
  description: Seconds that the module took.
  returned: always
  type: float
fingerprint:
  description: 64 hexadecimal digits over the contents; null with O(state=absent).
  returned: always
  type: str
link:
  description: Path of the link, null where none is wanted.
  returned: always
  type: str
  sample: /opt/ew_ai_worker/envs/ew_ai_worker
packages:
  description: What is in the environment; empty lists where that is not known yet.
  returned: always
  type: dict
  contains:
    conda:
      description: Name, version, build, and channel of each conda package.
      type: list
      elements: dict
    pip:
      description: Name and version of each Python package that was installed over them.
      type: list
      elements: dict
prefix:
  description: Path of the environment; null with O(state=absent).
  returned: always
  type: str
  sample: /opt/ew_ai_worker/envs/ew_ai_worker-4f1d8c02aa9b-1
python:
  description: Path of its Python, null where it has none.
  returned: always
  type: str
  sample: /opt/ew_ai_worker/envs/ew_ai_worker-4f1d8c02aa9b-1/bin/python
python_version:
  description: Version of its Python, null where that is not known yet.
  returned: always
  type: str
  sample: 3.10.14
remedy:
  description: What to do next.
  returned: failure
  type: str
  sample: Loosen or correct python_version, packages or channels (worker_python_version, worker_packages, worker_channels).
"""

import dataclasses
import os
import pathlib
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ew_ai.worker.plugins.module_utils import network
from ansible_collections.ew_ai.worker.plugins.module_utils.actions import Actions
from ansible_collections.ew_ai.worker.plugins.module_utils.bounds import at_least
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.backends import choose_backend
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.build import Means
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.indexes import combine, pip_settings, secrets_in
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.logins import indexes_with_logins, netrc_logins, with_login
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.manage import EMPTY, Wanted, absent, present
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.masking import hide_credentials, secrets_of
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.ownership import build_identity
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.specs import check_addresses
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.wanted import wanted_content, wanted_place
from ansible_collections.ew_ai.worker.plugins.module_utils.job import Job
from ansible_collections.ew_ai.worker.plugins.module_utils.layout import Layout
from ansible_collections.ew_ai.worker.plugins.module_utils.module import run_module
from ansible_collections.ew_ai.worker.plugins.module_utils.progress import silent
from ansible_collections.ew_ai.worker.plugins.module_utils.redact import MASKED_LENGTH

ADDRESS_OPTIONS = ("channels", "index_url", "extra_index_urls", "find_links", "pip")


def argument_spec() -> dict[str, t.Any]:
    """The options, as documented."""
    return {
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "name": {"type": "str"},
        "prefix": {"type": "path"},
        "root": {"type": "path", "default": "/opt/ew_ai_worker"},
        "cache": {"type": "path"},
        "python_version": {"type": "str"},
        "packages": {"type": "list", "elements": "str", "default": []},
        "channels": {"type": "list", "elements": "str"},
        "allow_anaconda_defaults": {"type": "bool", "default": False},
        "file": {"type": "path"},
        "requirements": {"type": "list", "elements": "path", "default": []},
        "pip": {"type": "list", "elements": "str", "default": []},
        "constraints": {"type": "list", "elements": "path", "default": []},
        "planned_files": {"type": "dict", "default": {}},
        "installer": {"type": "str", "choices": ["auto", "uv", "pip"], "default": "auto"},
        "index_url": {"type": "str"},
        "extra_index_urls": {"type": "list", "elements": "str", "default": []},
        "find_links": {"type": "list", "elements": "str", "default": []},
        "backend": {"type": "str", "choices": ["auto", "rattler", "conda", "mamba", "micromamba"], "default": "auto"},
        "executable": {"type": "str"},
        "recreate": {"type": "bool", "default": False},
        "serving_prefix": {"type": "path"},
        "link": {"type": "bool", "default": True},
        "build_user": {"type": "str"},
        "offline": {"type": "bool", "default": False},
        "network": network.ARGUMENT,
        "mirror": {"type": "path"},
        "lock_timeout": {"type": "int", "default": 900},
        "timeout": {"type": "int", "default": 3600},
    }


def work(module: AnsibleModule, options: dict[str, t.Any]) -> dict[str, t.Any]:
    """The result's keys. Raises WorkerError."""
    actions = Actions()
    job = Job(module, Layout(options["root"]).jobs)
    place = wanted_place(options)
    at_least("timeout", options["timeout"], 1)
    at_least("lock_timeout", options["lock_timeout"], 0)
    if options["state"] == "absent":
        found = absent(place, float(options["lock_timeout"]), actions, module.check_mode, silent)
        return {**found, **actions.as_result()}
    network.apply(options["network"], needs_files=not module.check_mode)
    content = wanted_content(options, module.check_mode)
    for option in ("index_url", "extra_index_urls", "find_links"):
        value = options[option] or []
        check_addresses(option, [value] if isinstance(value, str) else value)
    indexes = combine(pip_settings(os.environ, str(pathlib.Path.home())), options["index_url"], options["extra_index_urls"], options["find_links"])
    logins = netrc_logins(os.environ, str(pathlib.Path.home()))
    indexes = indexes_with_logins(indexes, logins)
    content = dataclasses.replace(content, channels=tuple(with_login(each, logins) for each in content.channels))
    secrets = [*secrets_in(indexes), *(password for _user, password in logins.values())]
    module.no_log_values.update(secret for secret in secrets if len(secret) >= MASKED_LENGTH)
    backend = choose_backend(options["backend"], options["executable"])
    build_identity(options["build_user"])
    means = Means(
        backend=backend,
        indexes=indexes,
        build_user=options["build_user"],
        offline=options["offline"],
        lock_timeout=float(options["lock_timeout"]),
        timeout=float(options["timeout"]),
        executable=options["executable"],
        mirror=options["mirror"] or "",
    )
    module.no_log_values.update(secrets_of(package.url for package in content.locked))
    if content.unverified:
        module.warn(f"The lock has no hash for {', '.join(content.unverified)}: what is fetched for them is not verified.")
    if content.has_unknown_tree:
        module.warn("A requirement names a local directory that is not on this host yet: the real run will have another fingerprint.")
    serving = os.path.normpath(options["serving_prefix"]) if options["serving_prefix"] else None
    found = present(Wanted(place, content, means, options["recreate"], options["link"], serving), actions, module.check_mode, job.detach)
    return {**found, **actions.as_result()}


def main() -> None:
    module = AnsibleModule(
        argument_spec=argument_spec(),
        supports_check_mode=True,
        mutually_exclusive=[("name", "prefix")],
        required_one_of=[("name", "prefix")],
        # Only keeps the options, which may carry credentials, out of the system's log.
        no_log=True,
    )
    options = hide_credentials(module.params, module.no_log_values, ADDRESS_OPTIONS)
    network.hide(module.params, module.no_log_values)
    run_module(module, lambda: work(module, options), EMPTY)


if __name__ == "__main__":
    main()
