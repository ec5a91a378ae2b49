# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filters between what ew_worker returns and what other modules take."""

from __future__ import annotations

import typing as t

LOOPBACK_OF = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}


def health_targets(
    instances: t.Iterable[t.Mapping[str, t.Any]],
    address: str,
    services: t.Sequence[str],
    remote: bool = False,
    started: t.Iterable[t.Mapping[str, t.Any]] = (),
) -> list[dict[str, t.Any]]:
    """The targets of grpc_health for the instances: a row for each that has a port, with its first one.

    remote: pids of the host mean nothing to the asker. started: results of ew_worker; the processes that they tell are the ones
    that must answer, though another one may have taken their place since.
    """
    pids = {row["id"]: row["pid"] for call in started for row in call.get("instances") or [] if row.get("pid")}
    host = LOOPBACK_OF.get(address, address)
    shown = f"[{host}]" if ":" in host else host
    return [
        {
            "name": row["id"],
            "address": f"{shown}:{row['ports'][0]}",
            "services": list(services),
            **({"expect_pid": pid} if pid and not remote else {}),
        }
        for row in instances
        if row.get("ports")
        for pid in (pids.get(row["id"]) or row.get("pid"),)
    ]


def endpoints(instances: t.Iterable[t.Mapping[str, t.Any]], address: str, verified: t.Mapping[str, t.Any]) -> list[dict[str, t.Any]]:
    """``[{"instance", "address", "port", "status"}]``: where to dial and whether it is worth it."""
    # One without a health service that was accepted is worth a call like any other.
    statuses = {each["name"]: "serving" if each.get("healthy") else each["status"] for each in verified.get("targets", [])}
    return [
        {"instance": row["id"], "address": address, "port": row["ports"][0], "status": statuses.get(row["id"], row["state"])}
        for row in instances
        if row.get("ports")
    ]


class FilterModule:
    """Makes the filters known to Ansible."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Names and functions."""
        return {"health_targets": health_targets, "endpoints": endpoints}
