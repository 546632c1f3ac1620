"""Write docs/reference/permissions.md, who may do what, from the routes and the rules that the exchange itself uses."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from fastapi.routing import APIRoute

from blocklist_sdk.exchange_server.app import create_app
from blocklist_sdk.exchange_server.casework.permissions import RULES, TRICKLE, Eyes, Rule
from blocklist_sdk.exchange_server.http.authentication import required_by
from blocklist_sdk.exchange_server.settings import ExchangeSettings

PATH = Path(__file__).parent / "reference" / "permissions.md"

_HEAD = """\
# Who may do what

<!-- Written by docs/generate_permissions.py from the rules that the exchange uses. -->

What blocks a number needs two people who have no part in the case; **one officer unblocks one number, at once**.
[Decide cases](../how-to/decide-cases.md) shows how officers work together,
[decision 38](../adr/0038-two-people-for-what-blocks.md) says why.

An account may do what its scopes say, and its token may say less. *Two officers* means that one proposes, and that it
has no effect until another confirms. *Never by* names accounts that may not, whatever their scopes. With the setting
`two_person = false`, which `blocklist exchange init --one-person` writes, one person does everything, and nobody is
excepted.

## What changes something

"""

_BOUND = """
The bound: an officer retracts {most} numbers in 24 hours alone, or {share} of the numbers listed if that is less
(`retractions_alone`, `retractions_share`). Every further retraction waits for a second officer, with an alarm at once,
unless the officer's last one was {minutes} minutes ago or longer: a person who is blocked by mistake does not wait for
a second officer at night. Each of those raises an alarm too. What the exchange retracts by itself, and what a second
officer confirmed, does not count.

`recycled` receipts retract by themselves up to {recycled} of a feed's listed numbers in 24 hours, at least {least}, for
each feed and account (`max_recycled`, `min_recycled`). What is more waits for one officer.

## What only reads

"""

_TAIL = """
Accounts with `report` or `receipt` alone see what is their own. The files of a feed need its `feed:NAME`, or `publish`.
"""


def routes() -> dict[str, tuple[str, ...] | None]:
    """Every request, and the scopes of which it needs one; None if it needs no account."""
    found: dict[str, tuple[str, ...] | None] = {}
    for route in _walk(create_app(None).routes):
        needed = required_by(route.dependant)
        for method in sorted((route.methods or set()) - {"HEAD"}):
            found[f"{method} {route.path}"] = needed
    return found


def _walk(some: Iterable[Any]) -> Iterator[APIRoute]:
    for route in some:
        if isinstance(route, APIRoute):
            yield route
        elif hasattr(route, "original_router"):
            yield from _walk(route.original_router.routes)
        elif hasattr(route, "routes"):
            yield from _walk(route.routes)


def render() -> str:
    """The page."""
    known, settings = routes(), ExchangeSettings()
    lines = ["| what | request or command | scope | people | never by an account that |", "|---|---|---|---|---|"]
    lines += [_row(rule, known) for rule in RULES]
    bound = _BOUND.format(
        most=settings.retractions_alone,
        share=f"{settings.retractions_share:.0%}".replace("%", " %"),
        minutes=int(TRICKLE.total_seconds() // 60),
        recycled=f"{settings.max_recycled:.0%}".replace("%", " %"),
        least=settings.min_recycled,
    )
    reads = ["| request | scope |", "|---|---|"]
    reads += [f"| `{name}` | {_scopes(needed)} |" for name, needed in known.items() if name.startswith("GET")]
    return _HEAD + "\n".join(lines) + "\n" + bound + "\n".join(reads) + "\n" + _TAIL


def _row(rule: Rule, known: dict[str, tuple[str, ...] | None]) -> str:
    is_request = rule.where.startswith("POST")
    scopes = _scopes(known[rule.where]) if is_request else "the server's shell"
    people = f"**{rule.eyes}**" if rule.eyes is not Eyes.ALONE else str(rule.eyes)
    never = ", or ".join(rule.never) or "–"
    return f"| {rule.does} | `{rule.where}` | {scopes} | {people} | {never} |"


def _scopes(needed: tuple[str, ...] | None) -> str:
    if needed is None:
        return "no account"
    return " or ".join(f"`{each}`" for each in needed) or "any account"


if __name__ == "__main__":
    PATH.write_text(render(), encoding="utf-8")
    sys.stderr.write(f"wrote {PATH}\n")
