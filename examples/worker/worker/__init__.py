# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""A gRPC worker that classifies points in the plane and learns while it serves."""

from __future__ import annotations

import os
import signal

# gRPC's C core prints several lines of its own beside each error that Python reports anyway; it reads this at import.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
