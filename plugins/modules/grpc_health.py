#!/usr/bin/python
# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: grpc_health
short_description: Wait until gRPC servers are healthy, and say why they are not
version_added: 0.1.0
description:
  - Asks servers for their health (C(grpc.health.v1)), all targets side by side, and waits until they are as wanted.
  - A verdict tells apart what a probe of a port cannot, a worker that is busy (V(saturated)) from one that hangs (V(frozen)),
    a worker from another program that took its port (V(wrong_owner)), and the true reason of a TLS connection that fails.
  - Runs where the task runs. The addresses are dialled from there, without any proxy.
extends_documentation_fragment:
  - ew_ai.worker.attributes.info
requirements:
  - grpcio (unless O(protocol=tcp))
options:
  targets:
    description: The servers to ask. At least one.
    type: list
    elements: dict
    required: true
    suboptions:
      address:
        description: V(host:port), V([IPv6 address]:port) or V(unix:/path/to/socket).
        type: str
        required: true
      name:
        description: How the target is called in messages and results. The address, unless given.
        type: str
      services:
        description:
          - The services to ask for. V("") is the server as a whole.
          - With several, the target's status is the worst of them.
        type: list
        elements: str
        default: [""]
      expect_pid:
        description:
          - The process that must own the port, itself or through a child process, and alone.
          - For addresses of the host on which the module runs. A process of another user can only be seen by root.
          - Waiting ends at once when this process ends.
        type: int
      tls:
        description: As O(tls), for this target.
        type: bool
      tls_ca_file:
        description: As O(tls_ca_file), for this target.
        type: path
      tls_cert_file:
        description: As O(tls_cert_file), for this target.
        type: path
      tls_key_file:
        description: As O(tls_key_file), for this target.
        type: path
      tls_server_name:
        description: As O(tls_server_name), for this target.
        type: str
  method:
    description:
      - V(check) polls with the method Check.
      - V(watch) asks with the first word of a Watch and, between two probes, keeps one open, so that a change is noticed at once. It
        cannot see that a server is saturated.
      - A Watch that ends in the moment in which the server sets a status can lock up a server with the health service of Python's
        grpcio-health-checking for good (U(https://github.com/grpc/grpc/pull/43403)). Ask for it only where the server is proof against that.
      - V(auto) is V(check).
    type: str
    choices: [auto, check, watch]
    default: auto
  protocol:
    description:
      - V(grpc) wants the health service.
      - V(auto) wants it too, but accepts a server that answers gRPC and has no health service, with a warning, by its port and owner.
      - V(tcp) only connects (and does the TLS handshake with O(tls)). It cannot see a frozen server.
    type: str
    choices: [auto, grpc, tcp]
    default: auto
  wait_for_status:
    description:
      - What is waited for. With V(refused), that nothing listens on the address any more.
      - With V(not_serving) all services of a target must be so.
    type: str
    choices: [serving, not_serving, refused]
    default: serving
  attempts:
    description: How many probes of a target may find something else than what is waited for. The last of them is the verdict.
    type: int
    default: 30
  interval:
    description: Seconds from the start of one probe to the start of the next one.
    type: float
    default: 2
  connect_timeout:
    description: Seconds for the connection, up to the first HTTP/2 frame of the server.
    type: float
    default: 2
  rpc_timeout:
    description: Seconds for the answer to a health call.
    type: float
    default: 3
  success_threshold:
    description: How many probes in a row must find what is waited for.
    type: int
    default: 1
  stable_for:
    description: Seconds for which the target must then stay so, probed every O(interval).
    type: float
    default: 0
  on_failure:
    description: Whether the task fails, or only warns, when a target is not as wanted in the end.
    type: str
    choices: [fail, warn]
    default: fail
  metadata:
    description: Metadata (headers) of the health calls. The values are shown in logs.
    type: dict
    default: {}
  secret_metadata:
    description: Metadata (headers) of the health calls whose values are kept out of all output, such as V(authorization).
    type: dict
    default: {}
  tls:
    description: Whether to use TLS. On when one of the other TLS options is given.
    type: bool
  tls_ca_file:
    description: PEM file on the host with the authorities to trust, instead of those of the system.
    type: path
  tls_cert_file:
    description: PEM file on the host with the client certificate.
    type: path
  tls_key_file:
    description: PEM file on the host with the key of the client certificate.
    type: path
  tls_server_name:
    description: The name that the server's certificate must be for, when it is not the one in the address.
    type: str
notes:
  - The module changes nothing, so it does the same in check mode. A play that has started nothing yet, since it ran in check mode,
    has nothing to wait for. Leave the task out there.
  - A target that fails quickly is waited for O(attempts) - 1 times O(interval).
    Each probe can last O(connect_timeout) + O(rpc_timeout) and twice O(connect_timeout) and once O(rpc_timeout) more, to tell a busy server from a frozen
    one, that does not even reject a call of a method that no server has.
seealso:
  - module: ew_ai.worker.ew_worker
  - module: ansible.builtin.wait_for
author:
  - EW AI (@ew-ai)
"""

EXAMPLES = r"""
- name: Wait up to a minute until two instances serve
  ew_ai.worker.grpc_health:
    targets:
      - address: 127.0.0.1:50051
      - address: 127.0.0.1:50052

- name: Wait for a model that loads for minutes, and be sure that it is the process just started
  ew_ai.worker.grpc_health:
    targets:
      - name: ew-worker@0
        address: 127.0.0.1:50051
        services: ["", ew.ai.v1.Inference]
        expect_pid: "{{ started.instances[0].pid }}"
    attempts: 300
    stable_for: 5

- name: Look once from the gateway, over TLS with a client certificate
  ew_ai.worker.grpc_health:
    targets:
      - address: gpu-node-1.example.com:50051
    tls_ca_file: /etc/ew/ca.pem
    tls_cert_file: /etc/ew/gateway.pem
    tls_key_file: /etc/ew/gateway.key
    secret_metadata:
      authorization: "Bearer {{ worker_token }}"
    attempts: 1
    on_failure: warn

- name: Wait until a drained worker is gone
  ew_ai.worker.grpc_health:
    targets:
      - address: unix:/run/ew-worker/0.sock
    wait_for_status: refused
"""

RETURN = r"""
healthy:
  description: Whether every target is as wanted.
  returned: always
  type: bool
  sample: true
targets:
  description: What was found, in the order of the option.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: The target's name.
      type: str
      sample: ew-worker@0
    address:
      description: The target's address.
      type: str
      sample: 127.0.0.1:50051
    status:
      description:
        - One of V(serving), V(not_serving), V(saturated) (connected, but no thread answers), V(frozen) (accepts connections and says nothing, or hangs),
          V(refused), V(unimplemented) (no health service), V(unknown_service), V(wrong_owner), V(tls_error), V(timeout) (no connection).
      type: str
      sample: serving
    code:
      description: The finer reason, such as V(connection_refused), V(process_gone), V(tls_expired), V(shared_port).
      type: str
      sample: serving
    phase:
      description: How far the last probe came. One of V(process), V(resolve), V(connect), V(tls), V(http2), V(rpc), V(owner).
      type: str
      sample: rpc
    message:
      description: What was tried and what came back, in a sentence.
      type: str
      sample: "ew-worker@0 (127.0.0.1:50051) is serving: it answered SERVING"
    remedy:
      description: What to do next. Empty for a healthy target.
      type: str
      sample: ""
    services:
      description: The status of each service that was asked for, by its name. Empty where no call was made.
      type: dict
      sample: {"": serving}
    latency_ms:
      description: How long the last probe took to connect and to get an answer (milliseconds, null where it did not come that far).
      type: dict
      contains:
        connect:
          description: Connection, TLS handshake and first HTTP/2 frame.
          type: float
          sample: 0.7
        rpc:
          description: The health call, together with the channel's own connection in the first probe.
          type: float
          sample: 2.3
    attempts:
      description: How many probes were made.
      type: int
      sample: 4
    elapsed:
      description: Seconds until the target's verdict.
      type: float
      sample: 6.02
    decided_at:
      description: When that was, ISO 8601 in UTC.
      type: str
    history:
      description: Each change of the status, with the seconds since the start of the wait.
      type: list
      elements: dict
      sample: [{"at_s": 0.004, "status": refused}, {"at_s": 6.01, "status": serving}]
    healthy:
      description: Whether the target is as wanted.
      type: bool
      sample: true
actions:
  description: Always empty, the module changes nothing.
  returned: always
  type: list
  elements: dict
  sample: []
diff:
  description: Always empty, the module changes nothing.
  returned: always
  type: dict
  sample: {"before": {}, "after": {}}
elapsed:
  description: Seconds that the module took.
  returned: always
  type: float
  sample: 6.05
code:
  description: The code that all bad targets have in common, V(unhealthy) where they differ, or the reason of another failure.
  returned: failure
  type: str
  sample: connection_refused
remedy:
  description: What to do next.
  returned: failure
  type: str
  sample: "See who listens: ss -ltnp 'sport = :50051'"
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.ew_ai.worker.plugins.module_utils.errors import WorkerError
from ansible_collections.ew_ai.worker.plugins.module_utils.health import fleet, options, words
from ansible_collections.ew_ai.worker.plugins.module_utils.module import run_module

TLS_OPTIONS: dict[str, dict[str, t.Any]] = {
    "tls": {"type": "bool"},
    "tls_ca_file": {"type": "path"},
    "tls_cert_file": {"type": "path"},
    "tls_key_file": {"type": "path", "no_log": False},
    "tls_server_name": {"type": "str"},
}

ARGUMENTS: dict[str, dict[str, t.Any]] = {
    "targets": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "address": {"type": "str", "required": True},
            "name": {"type": "str"},
            "services": {"type": "list", "elements": "str", "default": [""]},
            "expect_pid": {"type": "int"},
            **TLS_OPTIONS,
        },
    },
    "method": {"type": "str", "choices": ["auto", "check", "watch"], "default": "auto"},
    "protocol": {"type": "str", "choices": ["auto", "grpc", "tcp"], "default": "auto"},
    "wait_for_status": {"type": "str", "choices": ["serving", "not_serving", "refused"], "default": "serving"},
    "attempts": {"type": "int", "default": 30},
    "interval": {"type": "float", "default": 2},
    "connect_timeout": {"type": "float", "default": 2},
    "rpc_timeout": {"type": "float", "default": 3},
    "success_threshold": {"type": "int", "default": 1},
    "stable_for": {"type": "float", "default": 0},
    "on_failure": {"type": "str", "choices": ["fail", "warn"], "default": "fail"},
    "metadata": {"type": "dict", "default": {}},
    "secret_metadata": {"type": "dict", "default": {}, "no_log": True},
    **TLS_OPTIONS,
}


def probe(module: AnsibleModule) -> dict[str, t.Any]:
    """Wait for all targets. Raises WorkerError with the whole result where one is not as wanted and that is a failure."""
    targets, probing, patience = options.read(module.params)
    if probing.protocol != "tcp":
        from ansible_collections.ew_ai.worker.plugins.module_utils.health import rpc

        if rpc.GRPC_ERROR is not None:
            raise WorkerError("missing_library", f"{missing_required_lib('grpcio')}.", "Run the module on the toolchain's interpreter, or set protocol: tcp.")
    outcomes = fleet.wait_for_all(targets, probing, patience)
    result: dict[str, t.Any] = {
        "healthy": all(outcome.healthy for outcome in outcomes),
        "targets": [words.as_result(outcome, patience, probing) for outcome in outcomes],
    }
    for text in filter(None, map(words.warning, outcomes)):
        module.warn(text)
    if not result["healthy"]:
        error = words.failure(outcomes, patience, probing)
        if module.params["on_failure"] == "fail":
            error.details.update(result)
            raise error
        module.warn(str(error))
    return result


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    run_module(module, lambda: probe(module), {"healthy": False, "targets": []})


if __name__ == "__main__":
    main()
