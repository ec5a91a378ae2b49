# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The command line."""

from __future__ import annotations

import argparse
import pathlib
import sys

from tools.checkout import CHECKOUT

from .markers import MarkerError, replaced
from .variables import ENGLISH, Language, load, load_language, table

ROLE = CHECKOUT / "roles" / "worker"
CHINESE = load_language(pathlib.Path(__file__).with_name("zh-CN.yml"), CHECKOUT / "docs" / "variables.zh-CN.yml")
DOCUMENTS = {"README.md": ENGLISH, "README.zh-CN.md": CHINESE}


def main() -> int:
    """0 when the documents are up to date afterwards; with --check 1 when one was not."""
    parser = argparse.ArgumentParser(prog="python -m tools.docs", description="Write the generated parts of the documentation.")
    parser.add_argument("part", choices=["variables"], help="variables: the tables of the role's variables in the READMEs")
    parser.add_argument("--check", action="store_true", help="change nothing, say whether anything would change")
    arguments = parser.parse_args()
    return max(update(CHECKOUT / name, language, arguments.check) for name, language in DOCUMENTS.items())


def update(path: pathlib.Path, language: Language, check: bool) -> int:
    """Bring one document up to date."""
    before = path.read_text(encoding="utf-8")
    try:
        after = replaced(before, "variables", table(*load(ROLE), language))
    except KeyError as error:
        print(f"{path.name}: there are no words for {error} in its language (docs/variables.*.yml, tools/docs)", file=sys.stderr)
        return 1
    except (MarkerError, ValueError) as error:
        print(f"{path.name}: {error}", file=sys.stderr)
        return 1
    if before == after:
        return 0
    if check:
        print(f"{path.name} is behind roles/worker: run `make docs`.", file=sys.stderr)
        return 1
    path.write_text(after, encoding="utf-8")
    print(f"{path.name} is written.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
