# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The look at a source: layout, requirement files, git, and every failure at once."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import typing as t

import pytest

from ansible_collections.ew_ai.worker.plugins.module_utils.environment.content import fingerprint
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.wanted import wanted_content
from ansible_collections.ew_ai.worker.plugins.module_utils.errors import OptionError, WorkerError
from ansible_collections.ew_ai.worker.plugins.plugin_utils.origin import GitSource, find_origin, parse_git
from ansible_collections.ew_ai.worker.plugins.plugin_utils.source import Inspection, inspect_source


def write(top: pathlib.Path, files: t.Mapping[str, str]) -> pathlib.Path:
    for name, text in files.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(text)
    return top


def look(tmp_path: pathlib.Path, files: t.Mapping[str, str], **options: t.Any) -> Inspection:
    return inspect_source(str(write(tmp_path / "worker dir ü", files)), scratch=str(tmp_path), **options)


LAYOUTS: dict[str, tuple[dict[str, str], str, list[str], str | None]] = {
    # files, layout, paths in the release, requirements
    "nested": ({"worker/main.py": "", "requirements.txt": "numpy"}, "nested", ["requirements.txt", "worker/main.py"], "requirements.txt"),
    "flat": ({"main.py": "", "requirements.txt": "numpy"}, "flat", ["worker/main.py", "worker/requirements.txt"], "worker/requirements.txt"),
    "both": ({"main.py": "", "worker/main.py": ""}, "nested", ["main.py", "worker/main.py"], None),
    "neither": ({"src/main.py": "", "requirements.txt": "numpy"}, "", ["requirements.txt", "src/main.py"], "requirements.txt"),
    "left out": ({"main.py": "", ".workerignore": "*.py"}, "", [], None),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_layout(name: str, tmp_path: pathlib.Path) -> None:
    files, layout, paths, requirements = LAYOUTS[name]
    found = look(tmp_path, files)
    assert (found.layout, [entry.path for entry in found.entries], found.requirements) == (layout, paths, requirements)
    assert [failure.code for failure in found.failures] == ([] if layout else ["no_worker"])
    assert bool(found.warnings) is (requirements is None)


def test_neither_layout_says_what_was_looked_for_and_where(tmp_path: pathlib.Path) -> None:
    found = look(tmp_path, {"main.py": ""}, ignore=["/main.py"])
    top = tmp_path / "worker dir ü"
    assert found.findings() == [
        {
            "check": "no_worker",
            "msg": f"{top} is no worker directory: it has neither worker/main.py (a directory with the package) nor main.py (the package itself); "
            f"{top}/main.py is there but left out by a pattern.",
            "remedy": "Let source (worker_dir) name the directory that holds one of them.",
        }
    ]


def test_layout_through_links(tmp_path: pathlib.Path) -> None:
    top = write(tmp_path / "w", {"src/main.py": "", "deps/base.txt": "-r more.txt\n", "deps/more.txt": "numpy\n"})
    (top / "worker").symlink_to("src")
    (top / "requirements.txt").symlink_to("deps/base.txt")
    (top / "more.txt").symlink_to("deps/more.txt")
    found = inspect_source(str(top), scratch=str(tmp_path))
    assert (found.layout, found.failures) == ("nested", ())
    assert found.requirement_files == {"requirements.txt": "-r more.txt\n", "more.txt": "numpy\n"}


def test_all_failures_at_once(tmp_path: pathlib.Path) -> None:
    top = write(tmp_path / "w", {"x.py": "", "requirements.txt": "-r nothing.txt\n"})
    (top / "bad").symlink_to("nowhere")
    os.mkfifo(top / "pipe")
    found = inspect_source(str(top), scratch=str(tmp_path))
    assert sorted(failure.code for failure in found.failures) == ["broken_link", "no_worker", "requirements_missing", "special_file"]
    assert all(set(finding) == {"check", "msg", "remedy"} and finding["remedy"] for finding in found.findings())


@pytest.mark.parametrize(
    ("source", "code", "words"),
    [
        ("nothing/here", "source_missing", "{cwd}/nothing/here' does not exist"),
        ("/dev/null", "source_missing", "neither a directory nor an archive"),
        ("git+ext::sh -c evil", "invalid_option", "no address"),
        ("git+https://user:secret@h/x.git@-oops", "invalid_option", "its ref"),
        ("git+https://user:secret@[h/x.git", "invalid_option", "its host"),
    ],
)
def test_no_source(source: str, code: str, words: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (failure,) = inspect_source(source, scratch=str(tmp_path)).failures
    assert failure.code == code
    assert words.format(cwd=tmp_path) in failure.message
    assert "secret" not in str(failure)


def test_an_ignore_file_that_is_no_text(tmp_path: pathlib.Path) -> None:
    top = write(tmp_path / "w", {"main.py": ""})
    (top / ".workerignore").write_bytes(b"\xff\xfe")
    assert [failure.code for failure in inspect_source(str(top), scratch=str(tmp_path)).failures] == ["unreadable"]


def test_secrets_and_histories_are_left_out(tmp_path: pathlib.Path) -> None:
    found = look(tmp_path, {"main.py": "", ".env": "x", ".git/config": "x", "sub/.env": "x", "tls.key": "x", "venv/pyvenv.cfg": "", "__pycache__/main.pyc": ""})
    assert [(entry.path, entry.kind) for entry in found.entries] == [("worker/main.py", "file"), ("worker/sub", "directory")]


VERDICTS: list[tuple[str, str | None]] = [
    ("-r more.txt", None),
    ('-r "more.txt"', None),
    ("--requirement=deps/../more.txt", None),
    ("-rmore.txt", None),
    ("-c deps/limits.txt", None),
    ("./lib", None),
    ("lib @ ./lib", None),
    (".", None),
    ("numpy==\\\n1.2", None),
    ("-r nothing.txt", "requirements_missing"),
    ("./nothing", "requirements_missing"),
    ("x-1.0.tar", "requirements_missing"),
    ("-r ../outside.txt", "requirements_outside"),
    ("-r /etc/hosts", "requirements_outside"),
    ("-c deps/../../outside.txt", "requirements_outside"),
    ("../outside", "requirements_outside"),
    ("/root/.ssh", "requirements_outside"),
    ("x @ file:///root/.ssh", "requirements_outside"),
    ("-r requirements.txt", "requirements_loop"),
    ("-r https://host/x.txt", "unsupported_requirement"),
    ("-r one.txt two.txt", "unsupported_requirement"),
    ("-e ./lib", "editable_requirement"),
]


@pytest.mark.parametrize(("line", "code"), VERDICTS)
def test_controller_and_host_agree_on_requirement_files(tmp_path: pathlib.Path, line: str, code: str | None) -> None:
    """What the look at the source says before anything is sent is what conda_env says over the release, and the texts are those that it reads."""
    texts = {"requirements.txt": f"six\n{line}\n", "more.txt": "idna\n", "deps/limits.txt": "six<2\n", "lib/setup.py": "", "worker/main.py": ""}
    found = look(tmp_path, texts)
    release = write(tmp_path / "root/releases/0123456789abcdef", texts)
    write(tmp_path / "root/releases", {"outside.txt": "x\n", "outside/setup.py": ""})
    options = {"root": str(tmp_path / "root"), "installer": "auto", "python_version": "3.10", "requirements": [str(release / "requirements.txt")]}
    assert [failure.code for failure in found.failures] == ([code] if code else [])
    if code is not None:
        with pytest.raises(WorkerError) as caught:
            wanted_content(options, False)
        assert caught.value.code == code
        assert caught.value.remedy == found.failures[0].remedy
        return
    shutil.rmtree(release)
    planned = {str(release / path): text for path, text in found.requirement_files.items()}
    content = wanted_content({**options, "planned_files": planned}, True)
    write(release, texts)
    if not content.has_unknown_tree:
        assert fingerprint(content) == fingerprint(wanted_content(options, False))


@pytest.mark.parametrize(("files", "prefix"), [({"worker/main.py": ""}, ""), ({"main.py": ""}, "worker/")])
def test_extra_files_are_found_and_judged(tmp_path: pathlib.Path, files: dict[str, str], prefix: str) -> None:
    texts = {
        "deps/environment.yml": "dependencies:\n  - python=3.10\n  - pip:\n    - -r more.txt\n    - ../lib\n",
        "deps/more.txt": "six\n",
        "lib/setup.py": "",
        "limits.txt": "-c deeper.txt\n",
        "deeper.txt": "six<2\n",
    }
    found = look(tmp_path, {**files, **texts}, extra_files=["deps/environment.yml", "./limits.txt"])
    assert found.failures == ()
    assert found.extra_files == {"deps/environment.yml": f"{prefix}deps/environment.yml", "./limits.txt": f"{prefix}limits.txt"}
    assert found.requirement_files == {f"{prefix}{path}": text for path, text in texts.items() if path != "lib/setup.py"}


LOCKED = "@EXPLICIT\nhttps://alice:secret-word@host/forge/linux-64/python-3.11.7-0.conda#" + "0" * 32 + "\n"


@pytest.mark.parametrize("name", ["explicit.txt", "explicit.lock", "lock.yml"])
def test_a_lock_is_told_by_its_contents(tmp_path: pathlib.Path, name: str) -> None:
    found = look(tmp_path, {"main.py": "", name: LOCKED, "limits.txt": "six<2\n"}, extra_files=[name, "limits.txt"])
    assert found.failures == ()
    assert found.lock is not None
    assert (found.lock[0], [each.name for each in found.lock[1].locked]) == (name, ["python"])
    broken = look(tmp_path / "b", {"main.py": "", name: LOCKED.replace("#0", "#x")}, extra_files=[name])
    assert [failure.code for failure in broken.failures] == ["broken_file"]
    assert "line 2" in broken.failures[0].message
    assert "secret-word" not in str(broken.failures[0])


def test_what_is_wrong_with_extra_files_is_told(tmp_path: pathlib.Path) -> None:
    files = {"main.py": "", "bad.yml": "dependencies:\n  - pip:\n    - -r /etc/shadow\n", "odd.yaml": "x", "limits.txt": "-c ../limits.txt\n"}
    found = look(tmp_path, files, extra_files=["bad.yml", "odd.yaml", "limits.txt", "gone.txt", "../out.txt", "/etc/hosts"])
    codes = ["requirements_outside", "broken_file", "requirements_outside", "file_missing", "invalid_option", "invalid_option"]
    assert [failure.code for failure in found.failures] == codes
    assert f"{tmp_path}/worker dir ü/gone.txt" in found.failures[3].message


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("git+https://host/x.git@v1", GitSource("https://host/x.git", "v1", "")),
        ("git+https://user:p@ss@host/x.git", GitSource("https://user:p@ss@host/x.git", "HEAD", "")),
        ("git+ssh://git@host/x.git@feature/y", GitSource("ssh://git@host/x.git", "feature/y", "")),
        ("git+file:///srv/x@main#subdirectory=a/b/", GitSource("file:///srv/x", "main", "a/b")),
    ],
)
def test_git_sources(source: str, expected: GitSource) -> None:
    assert parse_git(source) == expected


@pytest.mark.parametrize(
    "source", ["git+x", "git+git@host:x.git", "git+https://host", "git+https://h/x@", "git+https://h/x@a#egg=b", "git+https://h/x#subdirectory=../y"]
)
def test_bad_git_sources(source: str) -> None:
    with pytest.raises(OptionError):
        parse_git(source)


def test_credentials_of_a_git_address_are_on_no_command_line(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """git itself gets them for that host, and for no other."""
    git = shutil.which("git")
    if git is None:
        pytest.skip("git is not installed, and a source in git needs it")
    recorder = tmp_path / "bin/git"
    recorder.parent.mkdir()
    recorder.write_text(
        "#!/bin/sh\n"
        f'printf "%s\\n" "$*" >> {tmp_path}/argv\n'
        f'case "$*" in *fetch*) ;; *) exec {git} "$@" ;; esac\n'
        # The settings alone, and the question that git asks itself.
        'settings="core.askPass="\nwhile [ "$1" != fetch ]; do\n'
        f'  case "$1" in -C) shift ;; -c) set -- "$@" -c "$2"; shift ;; esac\n  shift\ndone\n'
        'while [ "$1" != -c ]; do shift; done\n'
        "for host in 127.0.0.1:9 127.0.0.1:8; do\n"
        f'  printf "protocol=http\\nhost=$host\\n\\n" | {git} "$@" credential fill >> {tmp_path}/answers 2>/dev/null\n'
        "done\nexit 1\n"
    )
    recorder.chmod(0o755)
    monkeypatch.setenv("PATH", f"{recorder.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(tmp_path))
    (failure,) = inspect_source("git+http://alice:s3cret%40w\\ord@127.0.0.1:9/x.git@main", scratch=str(tmp_path)).failures
    assert failure.code == "git_failed"
    argv = (tmp_path / "argv").read_text()
    assert "fetch --quiet --depth=1 -- http://127.0.0.1:9/x.git main" in argv
    assert "s3cret" not in argv + str(failure)
    answers = (tmp_path / "answers").read_text().splitlines()
    assert [line for line in answers if line.startswith(("host", "user", "password"))] == ["host=127.0.0.1:9", "username=alice", "password=s3cret@w\\ord"]


def test_git(tmp_path: pathlib.Path) -> None:
    git = shutil.which("git")
    if git is None:
        pytest.skip("git is not installed, and a source in git needs it")
    top = write(tmp_path / "repo", {"sub/main.py": "1"})

    def call(*words: str) -> str:
        done = subprocess.run(
            [str(git), "-C", str(top), "-c", "user.name=x", "-c", "user.email=x@example.com", *words], check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    call("init", "--quiet", "--initial-branch=main")
    call("add", ".")
    call("commit", "--quiet", "-m", "1")
    first = call("rev-parse", "HEAD")
    write(top, {"sub/main.py": "2"})
    call("commit", "--quiet", "-am", "2")
    call("tag", "v2")
    for number, (ref, text) in enumerate({"@main": "2", "": "2", "@v2": "2", f"@{first}": "1", f"@{first[:10]}": "1"}.items()):
        scratch = tmp_path / str(number)
        scratch.mkdir()
        source = f"git+file://{top}{ref}#subdirectory=sub"
        found = inspect_source(source, scratch=str(scratch))
        assert found.failures == ()
        assert (found.layout, [entry.path for entry in found.entries]) == ("flat", ["worker/main.py"])
        assert (pathlib.Path(found.directory) / "main.py").read_text() == text
        assert find_origin(source, str(scratch)).directory == found.directory, "checked out once a run"
    (failure,) = inspect_source(f"git+file://{top}@nothing", scratch=str(tmp_path)).failures
    assert failure.code == "git_failed"
    assert "git ls-remote" in failure.remedy
    (failure,) = inspect_source(f"git+file://{top}@main#subdirectory=nothing", scratch=str(tmp_path)).failures
    assert failure.code == "source_missing"
    outside = write(tmp_path / "of this controller", {"main.py": "secret"})
    (top / "out").symlink_to(outside)
    (top / "in").symlink_to("sub")
    call("add", ".")
    call("commit", "--quiet", "-m", "3")
    (tmp_path / "links").mkdir()
    (failure,) = inspect_source(f"git+file://{top}@main#subdirectory=out", scratch=str(tmp_path / "links")).failures
    assert "a link that leads out of it" in failure.message
    assert inspect_source(f"git+file://{top}@main#subdirectory=in", scratch=str(tmp_path / "links")).failures == ()
