"""What several of the publisher's commands take."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from blocklist_sdk.cli.inputs import check_input, standard_input
from blocklist_sdk.cli.passphrase import KeyPassphrases
from blocklist_sdk.errors import InvalidInput

if TYPE_CHECKING:
    from blocklist_sdk.publisher import Publisher

Wait = Annotated[float, typer.Option(min=0, metavar="SECONDS", help="How long to wait while another run changes DIR.")]
Directory = Annotated[Path, typer.Argument(metavar="DIR", help="The publisher's folder.")]


def open_publisher(
    directory: Path,
    passphrase_file: Path | None,
    wait: float,
    *,
    offline_passphrase_file: Path | None = None,
    is_new: bool = False,
) -> "Publisher":
    """Open the folder of a command; `is_new` if it may make keys."""
    from blocklist_sdk.publisher import Publisher, Timing

    source = KeyPassphrases(directory, passphrase_file, offline_passphrase_file, is_new=is_new)
    return Publisher.open(directory, passphrase=source, timing=Timing(lock_wait_s=wait))


def given_numbers(numbers: list[str] | None, source: Path | None) -> list[str] | Path | BinaryIO:
    """The numbers of the command line, or the file that has them; ``-`` is standard input.

    Raises:
        InvalidInput: there are both, or neither; the file cannot be read; or standard input is closed.
    """
    if numbers and source is not None:
        raise InvalidInput("numbers are given, and --from as well: give one of them")
    if not numbers and source is None:
        raise InvalidInput("no number is given: give numbers, or --from FILE")
    if numbers and numbers != ["-"]:
        return numbers
    if source is not None and str(source) != "-":
        return check_input(source)
    return standard_input()
