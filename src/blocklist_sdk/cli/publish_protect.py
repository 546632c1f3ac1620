"""``blocklist publish protect``: the numbers that no feed may list."""

from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from blocklist_sdk.cli.exit_codes import ERRORS
from blocklist_sdk.cli.output import AsJson, say, write_json
from blocklist_sdk.cli.passphrase import OfflinePassphraseFileOption, PassphraseFileOption
from blocklist_sdk.cli.publish_options import Directory, Wait, given_numbers, open_publisher
from blocklist_sdk.cli.text_tables import LimitOption, limited
from blocklist_sdk.disk import regular_target, storage, write_file
from blocklist_sdk.errors import InvalidInput, Malformed, Refused
from blocklist_sdk.modes import SHARED
from blocklist_sdk.places import resolved
from blocklist_sdk.texts import counted

if TYPE_CHECKING:
    from blocklist_sdk.publisher import ProtectionChange, ProtectionResult, Publisher

app: typer.Typer = typer.Typer(
    help="Protect numbers: no feed may list them. Needs the targets key, or --propose FILE.", no_args_is_help=False
)

_SHOWN_MAX: Final = 20
"""How many runs of numbers are shown; all of them are counted."""

Numbers = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[NUMBER]...",
        help="Numbers, ranges such as '+62 21 1500-0000 - +62 21 1500-0999', or patterns such as '021-1500-0###', of "
        "up to 10,000 numbers each.",
        show_default=False,
    ),
]
From = Annotated[
    Path | None,
    typer.Option(
        "--from",
        metavar="FILE",
        help="A text file with one of these on each line, where # begins a comment; or a spreadsheet, CSV or other "
        "table with the column number, or with one column only. - is standard input.",
    ),
]
Propose = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Change nothing, and write the change to FILE, for `publish protect apply` where the targets key is.",
    ),
]
Accept = Annotated[
    bool,
    typer.Option("--accept", help="Change the list even if many numbers would be protected no longer."),
]


@app.command()
def add(
    directory: Directory,
    numbers: Numbers = None,
    source: From = None,
    propose: Propose = None,
    wait: Wait = 60.0,
    passphrase_file: PassphraseFileOption = None,
    offline_passphrase_file: OfflinePassphraseFileOption = None,
    as_json: AsJson = False,
) -> None:
    """Protect further numbers."""
    publisher = open_publisher(directory, passphrase_file, wait, offline_passphrase_file=offline_passphrase_file)
    given = given_numbers(numbers, source)
    if propose is not None:
        _propose(publisher, lambda: publisher.plan_protection(add=given), propose, as_json=as_json)
    else:
        _done(publisher.protect_more(given), as_json=as_json)


@app.command()
def remove(
    directory: Directory,
    numbers: Numbers = None,
    source: From = None,
    propose: Propose = None,
    wait: Wait = 60.0,
    passphrase_file: PassphraseFileOption = None,
    offline_passphrase_file: OfflinePassphraseFileOption = None,
    as_json: AsJson = False,
) -> None:
    """Protect numbers no longer; what is not protected is an error."""
    publisher = open_publisher(directory, passphrase_file, wait, offline_passphrase_file=offline_passphrase_file)
    given = given_numbers(numbers, source)
    if propose is not None:
        _propose(publisher, lambda: publisher.plan_protection(remove=given), propose, as_json=as_json)
    else:
        _done(publisher.unprotect(given), as_json=as_json)


@app.command("set")
def set_(
    directory: Directory,
    numbers: Numbers = None,
    source: From = None,
    propose: Propose = None,
    allow_empty: Annotated[
        bool, typer.Option("--allow-empty", help="Take even an empty file, after which no number is protected.")
    ] = False,
    accept: Accept = False,
    wait: Wait = 60.0,
    passphrase_file: PassphraseFileOption = None,
    offline_passphrase_file: OfflinePassphraseFileOption = None,
    as_json: AsJson = False,
) -> None:
    """Set the protected numbers: these and no others.

    If more than a tenth of them, and more than 20, would be protected no longer, the list is refused with 6.
    """
    publisher = open_publisher(directory, passphrase_file, wait, offline_passphrase_file=offline_passphrase_file)
    given = [] if allow_empty and not numbers and source is None else given_numbers(numbers, source)
    if propose is not None:
        plan = partial(publisher.plan_protection, only=given, allow_empty=allow_empty)
        _propose(publisher, plan, propose, as_json=as_json)
    else:
        _done(publisher.set_protection(given, accept=accept, allow_empty=allow_empty), as_json=as_json)


@app.command("list")
def list_(directory: Directory, limit: LimitOption = None, as_json: AsJson = False) -> None:
    """List the protected numbers, one on each line; needs no key."""
    numbers = list(limited(sorted(open_publisher(directory, None, 0.0).protected()), limit))
    if as_json:
        write_json({"numbers": numbers})
    else:
        for number in numbers:
            typer.echo(f"+{number}")


@app.command()
def apply(
    directory: Directory,
    proposal: Annotated[Path, typer.Argument(metavar="FILE", help="What --propose has written.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the change, and do not sign it.")] = False,
    accept: Annotated[
        bool,
        typer.Option(
            "--accept",
            help="Apply it even if it was made on another list, or many numbers would be protected no longer.",
        ),
    ] = False,
    wait: Wait = 60.0,
    passphrase_file: PassphraseFileOption = None,
    offline_passphrase_file: OfflinePassphraseFileOption = None,
    as_json: AsJson = False,
) -> None:
    """Apply a proposal where the targets and online keys are. It is not signed: look at it first with --dry-run.

    What is so already is left out: a proposal may be applied again. If it was made on another list of protected numbers
    than the one in force, or more than a tenth of them, and more than 20, would be protected no longer, it is refused
    with 6.
    """
    from blocklist_sdk.publisher import ProtectionChange

    try:
        document = proposal.read_bytes()
    except OSError as error:
        raise InvalidInput(f"cannot read the proposal {proposal}: {error.strerror}") from error
    change = ProtectionChange.from_json(document)
    publisher = open_publisher(directory, passphrase_file, wait, offline_passphrase_file=offline_passphrase_file)
    if not dry_run:
        _done(publisher.change_protection(change, accept=accept), as_json=as_json)
        return
    if accept:
        raise InvalidInput("--dry-run signs nothing: leave --accept out, or --dry-run")
    result = publisher.preview_protection(change)
    _show(result, f"{counted(result.protected, 'number')} would be protected", as_json=as_json)
    _say_listed(result, is_done=False)
    for reason in result.refusals:
        say(f"it would be refused: {reason}")
    if result.refusals:
        raise typer.Exit(ERRORS[Refused])


def _propose(publisher: "Publisher", plan: "Callable[[], ProtectionChange]", file: Path, *, as_json: bool) -> None:
    """Write a change to a file, and show what it would do.

    Raises:
        InvalidInput: the file is among the publisher's own, or is something other than a proposal.
    """
    from blocklist_sdk.publisher import ProtectionChange

    target = regular_target(file)
    if target.is_relative_to(resolved(publisher.directory)):
        raise InvalidInput(f"{file} is in the publisher's folder: write the proposal elsewhere")
    with storage(file):
        before = target.read_bytes() if target.exists() else None
    try:
        _ = before is None or ProtectionChange.from_json(before)
    except (InvalidInput, Malformed) as error:
        raise InvalidInput(f"{file} exists, and is not a proposal: name a new file") from error
    change = plan()
    result = publisher.preview_protection(change)
    with storage(file):
        write_file(target, change.to_json(), SHARED)
    _show(result, f"nothing was changed; {file} has the proposal", as_json=as_json)
    _say_listed(result, is_done=False)
    for reason in result.refusals:
        say(f"to apply it, --accept will be needed: {reason}")


def _done(result: "ProtectionResult", *, as_json: bool) -> None:
    _show(result, f"{counted(result.protected, 'number')} protected", as_json=as_json)
    _say_listed(result, is_done=True)


def _show(result: "ProtectionResult", headline: str, *, as_json: bool) -> None:
    if as_json:
        write_json(asdict(result))
        return
    typer.echo(f"{headline}: {len(result.added):,} added, {len(result.removed):,} removed")
    lines = [*(f"  + {run}" for run in _runs(result.added)), *(f"  - {run}" for run in _runs(result.removed))]
    for line in lines[:_SHOWN_MAX]:
        typer.echo(line)
    if len(lines) > _SHOWN_MAX:
        typer.echo(f"  and {len(lines) - _SHOWN_MAX:,} more")


def _runs(numbers: tuple[int, ...]) -> Iterator[str]:
    from blocklist_sdk.publisher.protection import runs

    for first, last in runs(numbers):
        yield f"+{first}" if first == last else f"+{first} - +{last}"


def _say_listed(result: "ProtectionResult", *, is_done: bool) -> None:
    """Say what the change means, or would mean, for numbers that are on a feed now."""
    for feed, numbers in result.listed.items():
        if added := sorted({*numbers} & {*result.added}):
            say(
                f"feed {feed} lists {_counted(added, is_done=is_done)} protected{' now' if is_done else ''}, such as "
                f"+{added[0]}: publish its next release, which leaves out what is protected. Until then, recipients "
                "who sync for the first time refuse it"
            )
        if removed := sorted({*numbers} & {*result.removed}):
            say(
                f"feed {feed} lists {_counted(removed, is_done=is_done)} protected no longer, such as +{removed[0]}: "
                "recipients block what it blocks from their next sync on"
            )


def _counted(numbers: list[int], *, is_done: bool) -> str:
    is_or_are = "is" if len(numbers) == 1 else "are"
    return f"{counted(len(numbers), 'number')} that {is_or_are if is_done else 'would be'}"
