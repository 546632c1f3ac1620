"""``blocklist publish protect``: the numbers that no feed may list."""

import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, Final

import typer

from blocklist_sdk.cli.output import AsJson, say, write_json
from blocklist_sdk.cli.passphrase import PassphraseFileOption, PassphraseSource
from blocklist_sdk.disk import storage
from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.texts import counted

if TYPE_CHECKING:
    from blocklist_sdk.publisher import ProtectionChange, ProtectionResult, Publisher

app: typer.Typer = typer.Typer(
    help="Protect numbers: no feed may list them. Needs the targets key, or --propose FILE.", no_args_is_help=False
)

_SHOWN_MAX: Final = 20
"""How many runs of numbers are shown; all of them are counted."""

Directory = Annotated[Path, typer.Argument(metavar="DIR", help="The publisher's folder.")]
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
Wait = Annotated[float, typer.Option(min=0, metavar="SECONDS", help="How long to wait while another run changes DIR.")]


@app.command()
def add(
    directory: Directory,
    numbers: Numbers = None,
    source: From = None,
    propose: Propose = None,
    wait: Wait = 60.0,
    passphrase_file: PassphraseFileOption = None,
    as_json: AsJson = False,
) -> None:
    """Protect further numbers."""
    publisher = _open(directory, passphrase_file, wait)
    change = publisher.plan_protection(add=_given(numbers, source))
    _change(publisher, change, propose, as_json=as_json)


@app.command()
def remove(
    directory: Directory,
    numbers: Numbers = None,
    source: From = None,
    propose: Propose = None,
    wait: Wait = 60.0,
    passphrase_file: PassphraseFileOption = None,
    as_json: AsJson = False,
) -> None:
    """Protect numbers no longer; what is not protected is an error."""
    publisher = _open(directory, passphrase_file, wait)
    change = publisher.plan_protection(remove=_given(numbers, source))
    _change(publisher, change, propose, as_json=as_json)


@app.command("set")
def set_(
    directory: Directory,
    numbers: Numbers = None,
    source: From = None,
    propose: Propose = None,
    allow_empty: Annotated[
        bool, typer.Option("--allow-empty", help="Take even an empty file, after which no number is protected.")
    ] = False,
    wait: Wait = 60.0,
    passphrase_file: PassphraseFileOption = None,
    as_json: AsJson = False,
) -> None:
    """Set the protected numbers: these and no others."""
    publisher = _open(directory, passphrase_file, wait)
    is_empty = allow_empty and not numbers and source is None
    change = publisher.plan_protection(only=[] if is_empty else _given(numbers, source))
    if change.remove and not change.add and publisher.protected() == {*change.remove} and not allow_empty:
        raise InvalidInput(
            "there is no number in it, so nothing was changed. To protect no number at all, give --allow-empty"
        )
    _change(publisher, change, propose, as_json=as_json)


@app.command("list")
def list_(directory: Directory, as_json: AsJson = False) -> None:
    """List the protected numbers, one on each line; needs no key."""
    numbers = sorted(_open(directory, None, 0.0).protected())
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
    wait: Wait = 60.0,
    passphrase_file: PassphraseFileOption = None,
    as_json: AsJson = False,
) -> None:
    """Apply a proposal where the targets and online keys are. It is not signed: look at it first with --dry-run.

    What is so already is left out: a proposal may be applied again.
    """
    from blocklist_sdk.publisher import ProtectionChange

    try:
        document = proposal.read_bytes()
    except OSError as error:
        raise InvalidInput(f"cannot read the proposal {proposal}: {error.strerror}") from error
    change = ProtectionChange.from_json(document)
    publisher = _open(directory, passphrase_file, wait)
    if dry_run:
        after, left = change.applied(publisher.protected())
        _show(left, f"{counted(len(after), 'number')} would be protected", as_json=as_json)
    else:
        _change(publisher, change, None, as_json=as_json)


def _change(publisher: "Publisher", change: "ProtectionChange", propose: Path | None, *, as_json: bool) -> None:
    """Apply a change, or write it to a file."""
    from blocklist_sdk.disk import write_file
    from blocklist_sdk.publisher import ProtectionChange

    if propose is not None:
        if propose.resolve().is_relative_to(publisher.directory.resolve()):
            raise InvalidInput(f"{propose} is in the publisher's folder: write the proposal elsewhere")
        with storage(propose):
            write_file(propose, change.to_json())
        _show(change, f"nothing was changed; {propose} has the proposal", as_json=as_json)
        return
    result = publisher.change_protection(change)
    if as_json:
        write_json(asdict(result))
    else:
        _show(
            ProtectionChange(result.added, result.removed),
            f"{counted(result.protected, 'number')} protected",
            as_json=False,
        )
    _say_listed(result)


def _show(change: "ProtectionChange", headline: str, *, as_json: bool) -> None:
    if as_json:
        write_json(asdict(change))
        return
    typer.echo(f"{headline}: {len(change.add):,} added, {len(change.remove):,} removed")
    lines = [*(f"  + {run}" for run in _runs(change.add)), *(f"  - {run}" for run in _runs(change.remove))]
    for line in lines[:_SHOWN_MAX]:
        typer.echo(line)
    if len(lines) > _SHOWN_MAX:
        typer.echo(f"  and {len(lines) - _SHOWN_MAX:,} more")


def _runs(numbers: tuple[int, ...]) -> Iterator[str]:
    from blocklist_sdk.publisher.protection import runs

    for first, last in runs(numbers):
        yield f"+{first}" if first == last else f"+{first} - +{last}"


def _say_listed(result: "ProtectionResult") -> None:
    """Say what the change means for numbers that are on a feed now."""
    for feed, numbers in result.listed.items():
        if added := sorted({*numbers} & {*result.added}):
            say(
                f"feed {feed} lists {_counted(added)} protected now, such as +{added[0]}: publish its next release, "
                "which leaves out what is protected. Until then, recipients who sync for the first time refuse it"
            )
        if removed := sorted({*numbers} & {*result.removed}):
            say(
                f"feed {feed} lists {_counted(removed)} protected no longer, such as +{removed[0]}: recipients block "
                "what it blocks from their next sync on"
            )


def _counted(numbers: list[int]) -> str:
    return f"{counted(len(numbers), 'number')} that {'is' if len(numbers) == 1 else 'are'}"


def _given(numbers: list[str] | None, source: Path | None) -> list[str] | Path | BinaryIO:
    """What the command line gives."""
    if numbers and source is not None:
        raise InvalidInput("numbers are given, and --from as well: give one of them")
    if numbers:
        return numbers
    if source is None:
        raise InvalidInput("no number is given: give numbers, or --from FILE")
    if str(source) != "-":
        return source
    if sys.stdin is None:
        raise InvalidInput("standard input is closed: give the numbers as arguments, or --from FILE")
    return sys.stdin.buffer


def _open(directory: Path, passphrase_file: Path | None, wait: float) -> "Publisher":
    from blocklist_sdk.publisher import Publisher, Timing

    return Publisher.open(directory, passphrase=PassphraseSource(passphrase_file), timing=Timing(lock_wait_s=wait))
