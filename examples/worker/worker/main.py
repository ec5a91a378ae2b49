# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Run the worker: ``python -m worker.main --port 50051``."""

from __future__ import annotations

import signal
import sys

from worker import STOP_SIGNALS


def main() -> None:
    # Threads inherit what is blocked. numpy starts some when it is imported, and a SIGTERM that one of them may take ends
    # the process without a word; so block first, import later. Whoever waits for these signals takes them one by one.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    from worker import serving

    serving.run(sys.argv[1:])


if __name__ == "__main__":
    main()
