# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Options with addresses, and the credentials in them, kept out of all that is told. Needs nothing of Ansible."""

from __future__ import annotations

import typing as t

from ..redact import MASKED_LENGTH
from .specs import credentials, strip_credentials


def hide_credentials(params: dict[str, t.Any], no_log_values: set[str], names: t.Iterable[str]) -> dict[str, t.Any]:
    """The options as they were given; in ``params``, which Ansible prints as the invocation, the named ones lose their credentials.

    Whatever else would tell them is masked by their value: long ones are added to ``no_log_values``.
    """
    given = dict(params)
    for name in names:
        value = given[name]
        addresses = [value] if isinstance(value, str) else value or []
        for address in addresses:
            no_log_values.update(secrets_of([address]))
        params[name] = strip_credentials(value) if isinstance(value, str) else [strip_credentials(each) for each in value] if value else value
    return given


def secrets_of(addresses: t.Iterable[str]) -> set[str]:
    """The passwords and tokens in the addresses that are long enough to be masked by their value."""
    secrets = (credentials(address) for address in addresses)
    return {word for secret in secrets if secret is not None for word in (secret.password, secret.token) if len(word) >= MASKED_LENGTH}
