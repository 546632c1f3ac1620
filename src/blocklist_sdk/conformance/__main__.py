"""Drive a reader: `python -m blocklist_sdk.conformance [options] COMMAND…`."""

import argparse
import json
import os
import shutil
import sys
from collections.abc import Sequence
from typing import Final

from blocklist_sdk.cli.exit_codes import FAILED, FINE, USAGE
from blocklist_sdk.conformance.kit import run_kit, selected
from blocklist_sdk.conformance.talk import CommandReader
from blocklist_sdk.errors import BlocklistError

_HELP: Final = """\
Ask a reader what the protocol's vectors ask, and say what it gets wrong. docs/reference/conformance.md has the contract
between the kit and a reader.

Exits with 0 if the reader passes every required case and every one that it need not have answered, or every case where
--only names none that is required; with 1 if it does not; with 2 if it cannot be started, or an option is wrong."""


def main(arguments: Sequence[str]) -> int:
    """Run the kit as a command; returns the exit code."""
    parser = argparse.ArgumentParser(
        "python -m blocklist_sdk.conformance", description=_HELP, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="NAME",
        help="a case or a group; * stands for anything. May be given several times.",
    )
    parser.add_argument("--strict", action="store_true", help="let what is not required count as well")
    parser.add_argument("--json", action="store_true", help="write the result as JSON")
    parser.add_argument("--list", action="store_true", help="list the cases, and run none")
    parser.add_argument(
        "--jobs",
        type=int,
        choices=range(1, 65),
        default=os.cpu_count() or 1,
        metavar="N",
        help="how many cases run at once (default: as many as there are processors)",
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=60.0,
        metavar="S",
        help="seconds that one answer may take (default: %(default)g)",
    )
    parser.add_argument(
        "command", nargs=argparse.REMAINDER, metavar="COMMAND", help="the reader: a program and its first arguments"
    )
    given = parser.parse_args(arguments)
    command = given.command[1:] if given.command[:1] == ["--"] else given.command
    if given.list:
        for case in selected(given.only):
            _say(f"{case.group:<8} {case.name:<24} {'' if case.required else '(not required) '}{case.about}")
        return FINE
    if not command:
        parser.error("name the reader's command, such as: node reader.mjs")
    if shutil.which(command[0]) is None:
        parser.error(f"{command[0]} is not a program that can be started")
    if not selected(given.only):
        parser.error(f"no case and no group is named {' or '.join(given.only)}: --list shows them")
    try:
        reader = CommandReader(command, timeout_s=given.timeout)
        result = run_kit(reader, only=given.only, strict=given.strict, jobs=given.jobs)
    except (BlocklistError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return USAGE
    _say(json.dumps(result.document(), indent=1) if given.json else "\n".join(result.lines()))
    return FINE if result.passed else FAILED


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
