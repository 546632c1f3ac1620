"""What the stories share: their steps, how they are played, and the folder in which they happen."""

import contextlib
import json
import secrets
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from blocklist_sdk.disk import storage, write_file
from blocklist_sdk.errors import BlocklistError, InvalidInput, StorageFailed
from blocklist_sdk.modes import PRIVATE
from blocklist_sdk.places import absolute, temporary_directory


@dataclass(frozen=True, slots=True)
class Sample:
    """One number that was looked up.

    Attributes:
        text: the number as it was written; masked if it comes from a real list.
        what: what the number is, in a word or two.
        expected: the expected answer: ``blocked``, ``free`` or ``invalid``.
        answer: the answer, one of the same words.
        reason: the verdict's reason, or why the text is not a number.
    """

    text: str
    what: str
    expected: str
    answer: str
    reason: str


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a story.

    Attributes:
        name: what was done; in the story of a complaint, who did it.
        outcome: the result, in a sentence.
        ok: whether the result is the expected one.
        seconds: duration.
        bytes: size of what was published or fetched; None if the step has none to show.
        samples: numbers that were looked up.
    """

    name: str
    outcome: str
    ok: bool = True
    seconds: float = 0.0
    bytes: int | None = None
    samples: tuple[Sample, ...] = ()


class StepResult(NamedTuple):
    """The result of a step that went as expected; the fields are those of :class:`Step`."""

    outcome: str
    bytes: int | None = None
    samples: tuple[Sample, ...] = ()


class StepFailed(Exception):
    """A step did not have the expected result."""

    def __init__(self, outcome: str, samples: tuple[Sample, ...] = ()) -> None:
        super().__init__(outcome)
        self.samples = samples


def play(plot: Iterator[str | StepResult]) -> Iterator[Step]:
    """Play a plot, which yields the name of each step before it acts and the result afterwards.

    The story ends after the first step that fails.

    Raises:
        InvalidInput, StorageFailed: the plot raised it; it is for the user to correct.
    """
    name, started = "", 0.0
    try:
        for event in plot:
            if isinstance(event, str):
                name, started = event, time.perf_counter()
            else:
                yield Step(name, event.outcome, True, time.perf_counter() - started, event.bytes, event.samples)
    except StepFailed as failed:
        yield Step(name, str(failed), False, time.perf_counter() - started, samples=failed.samples)
    except (InvalidInput, StorageFailed):
        raise
    except BlocklistError as error:
        yield Step(name, f"{type(error).__name__}: {error}", False, time.perf_counter() - started)


@contextlib.contextmanager
def story_folder(directory: Path | None) -> Iterator[Path]:
    """The given folder, which must be new or empty; or a temporary one, which is deleted at the end."""
    if directory is None:
        with temporary_directory(prefix="blocklist-") as temporary:
            yield temporary
        return
    with storage(directory):
        PRIVATE.make(directory)
        if any(directory.iterdir()):
            raise InvalidInput(f"{directory} is not empty: give a new folder")
    yield absolute(directory)


def new_passphrase(folder: Path, name: str = "passphrase") -> str:
    """A new passphrase, also written to a file in the folder."""
    passphrase = secrets.token_urlsafe(24)
    path = folder / name
    with storage(path):
        write_file(path, f"{passphrase}\n".encode(), PRIVATE)
    return passphrase


def write_settings(folder: Path, settings: Mapping[str, str | None]) -> None:
    """Write a ``blocklist.toml`` in a folder, which is made if need be; a setting that is None is left out."""
    # A text in JSON is a text in TOML.
    lines = [
        f"{name} = {json.dumps(value, ensure_ascii=False)}\n" for name, value in settings.items() if value is not None
    ]
    with storage(folder):
        PRIVATE.make(folder)
        write_file(folder / "blocklist.toml", "".join(lines).encode(), PRIVATE)
