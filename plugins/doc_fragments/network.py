# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The option of every module that reaches channels or indexes."""

from __future__ import annotations


class ModuleDocFragment:
    """``network``: proxies and certificates."""

    DOCUMENTATION = r"""
options:
  network:
    description:
      - How the host reaches channels and indexes. What is not given is as the host itself has it.
      - Rather than with C(environment) of the task, which Ansible writes into the command line that starts the module, where every account
        can read a proxy's password.
    type: dict
    suboptions:
      http_proxy:
        description: The proxy for addresses that begin with C(http://), such as C(http://user:password@proxy.example.com:3128).
        type: str
      https_proxy:
        description: The proxy for addresses that begin with C(https://).
        type: str
      no_proxy:
        description: Hosts and domains to reach without a proxy, separated by commas.
        type: str
      ca_bundle:
        description: File on the host with the certificates of the authorities to believe, in the place of the system's.
        type: path
"""
