# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Arguments, faults and log lines of the example worker and its client."""

from __future__ import annotations

import logging
import re
from dataclasses import fields

import pytest
from worker import client, faults, logs, options


@pytest.mark.parametrize(
    ("argv", "environ", "expected"),
    [
        ([], {}, {}),
        ([], {"EW_TEST_NO_HEALTH": ""}, {}),
        (["--test-listen-delay", "1.5"], {}, {"listen_delay": 1.5}),
        ([], {"EW_TEST_LISTEN_DELAY": "2"}, {"listen_delay": 2.0}),
        (["--test-listen-delay", "0"], {"EW_TEST_LISTEN_DELAY": "2"}, {"listen_delay": 0.0}),
        ([], {"EW_TEST_SERVING_DELAY": "90"}, {"serving_delay": 90.0}),
        (["--test-exit-code", "0"], {}, {"exit_code": 0}),
        ([], {"EW_TEST_EXIT_CODE": "3", "EW_TEST_EXIT_AFTER": "5"}, {"exit_code": 3, "exit_after": 5.0}),
        ([], {"EW_TEST_CRASH_AFTER_CALLS": "0"}, {"crash_after_calls": 0}),
        ([], {"EW_TEST_FREEZE_AFTER": "1"}, {"freeze_after": 1.0}),
        ([], {"EW_TEST_HOLD_GIL_AFTER": "1"}, {"hold_gil_after": 1.0}),
        ([], {"EW_TEST_HOLD_THREADS_AFTER": "0"}, {"hold_threads_after": 0.0}),
        (["--test-ignore-sigterm"], {}, {"ignore_sigterm": True}),
        (["--test-ignore-sigterm", "no"], {"EW_TEST_IGNORE_SIGTERM": "1"}, {"ignore_sigterm": False}),
        ([], {"EW_TEST_NEVER_LISTEN": "true"}, {"never_listen": True}),
        ([], {"EW_TEST_NOT_SERVING": "Yes"}, {"not_serving": True}),
        ([], {"EW_TEST_NO_HEALTH": "0"}, {"no_health": False}),
    ],
)
def test_faults_from_flags_and_environment(argv: list[str], environ: dict[str, str], expected: dict[str, object]) -> None:
    assert faults.from_arguments(options.parse(argv, environ)) == faults.Faults(**expected)  # type: ignore[arg-type]


def test_every_fault_has_a_flag_and_is_off_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    assert all(getattr(faults.Faults(), field.name) in (None, False) for field in fields(faults.Faults))
    with pytest.raises(SystemExit):
        options.parse(["--help"], {})
    told = re.sub(r"\s+", " ", capsys.readouterr().out)
    for field in fields(faults.Faults):
        assert f"--test-{field.name.replace('_', '-')}" in told
        assert f"[EW_TEST_{field.name.upper()}]" in told


@pytest.mark.parametrize(
    ("argv", "environ", "message"),
    [
        (["--port", "70000"], {}, "argument --port: '70000' is not a port from 0 to 65535"),
        (["--port", "-1"], {}, "argument --port"),
        (["--threads", "0"], {}, "argument --threads: '0' is not a number of threads from 1 to 1024"),
        (["--grace", "nan"], {}, "argument --grace: 'nan' is not a number of seconds from 0 to 3600"),
        (["--grace", "2", "--drain", "3"], {}, "--drain 3 is longer than --grace 2, of which it is a part"),
        (["--test-exit-code", "256"], {}, "argument --test-exit-code: '256' is not an exit code from 0 to 255"),
        ([], {"EW_TEST_EXIT_AFTER": "soon"}, "argument --test-exit-after: 'soon' is not a number of seconds, 0 or more"),
        ([], {"EW_TEST_FREEZE_AFTER": "inf"}, "argument --test-freeze-after: 'inf' is not a number of seconds, 0 or more"),
        ([], {"EW_TEST_CRASH_AFTER_CALLS": "-2"}, "argument --test-crash-after-calls: '-2' is not a whole number, 0 or more"),
        ([], {"EW_TEST_NO_HEALTH": "maybe"}, "argument --test-no-health: 'maybe' is not one of 1, true"),
    ],
)
def test_wrong_arguments_of_the_worker(argv: list[str], environ: dict[str, str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        options.parse(argv, environ)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "the following arguments are required: VERB"),
        (["infer", "--features", "x"], "invalid float value: 'x'"),
        (["stream", "--repeat", "-1"], "'-1' is not a whole number, 0 or more"),
        (["train", "--learning-rate", "0"], "'0' is not over 0"),
        (["load", "--seconds", "inf"], "'inf' is not a number, 0 or more"),
        (["load", "--callers", "0"], "--callers and --streams are both 0: nobody would call"),
    ],
)
def test_wrong_arguments_of_the_client(argv: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        client.parse(argv)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(("verb", "timeout"), [("infer", 10.0), ("stream", 10.0), ("load", 10.0), ("train", 600.0)])
def test_timeout_of_the_client(verb: str, timeout: float) -> None:
    assert client.parse([verb]).timeout == timeout
    assert client.parse(["--timeout", "3", verb]).timeout == 3.0


def test_a_log_line_is_one_line_with_an_iso_time() -> None:
    error = ValueError("two\nlines")
    with pytest.raises(ValueError, match="two"):
        raise error  # gives it a traceback
    cause = (ValueError, error, error.__traceback__)
    record = logging.LogRecord("worker.x", logging.ERROR, __file__, 1, "failed:\n%s", ("why",), cause)
    record.created = 1769860800.25
    line = logs.OneLineFormatter().format(record)
    assert line.startswith("2026-01-31T12:00:00.250+00:00 ERROR worker.x: failed: | why | Traceback (most recent call last): | ")
    assert line.endswith("ValueError: two | lines")


@pytest.mark.parametrize(
    ("argv", "environ", "expected"),
    [([], {}, "127.0.0.1"), ([], {"EW_BIND": ""}, "127.0.0.1"), ([], {"EW_BIND": "0.0.0.0"}, "0.0.0.0"), (["--bind", "::"], {"EW_BIND": "0.0.0.0"}, "::")],
)
def test_address_to_listen_on(argv: list[str], environ: dict[str, str], expected: str) -> None:
    assert options.parse(argv, environ).bind == expected
