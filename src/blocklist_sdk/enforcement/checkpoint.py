"""The checkpoint: what a run went by after which the sink held what it should; the next run need not look at all.

It says of which release, rules, filters and moment, and what was left to do all the same. The next run then looks only
at what differs from that. The checkpoint is a help, not a truth: where it is missing, damaged, of another version of
this library or of another base of the ledger, the next run looks at everything, and makes a new one.

::

    checkpoint.arrow             first and last numbers of what was left to do; all else is in the table's facts
    protected-DIGEST.arrow       the protected numbers, named by their SHA-256; none where there are none
"""

import hashlib
from collections.abc import Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import pyarrow as pa

from blocklist_sdk import __version__
from blocklist_sdk.enforcement.ledger_documents import member
from blocklist_sdk.enforcement.ledger_files import moment_in, read_table, reading, write_table
from blocklist_sdk.release.release_id import ReleaseId
from blocklist_sdk.release.rows import Int64s
from blocklist_sdk.release.spans import Spans

_COMPARED_EVERY: Final = timedelta(days=1)
"""How often everything is compared, after what differs from the last run was enforced: as often as a list's files."""

_NAME: Final = "checkpoint.arrow"
_PROTECTED: Final = "protected-*.arrow"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What a run went by.

    Attributes:
        place: identifies the ledger up to its last record then, whatever was restored or repaired since.
        last: the number of that record.
        release: the release that was in force, by era and serial.
        digest: its digest.
        base: the id of its base; another one where it was fetched again because it was damaged.
        published: when it was published.
        at: the run's moment.
        scopes: the scopes that were enforced, as bits of `mask_of`.
        only_operator: the operator whose numbers were enforced; None for all numbers.
        rules: the name of the file of overrides and of the recipient's own protected numbers.
        protected: all protected numbers, ascending.
        left: the numbers of what was left to do: what is in doubt, was not lifted, or waits for another day.
        next_turn: when the next entry began or ended, as in `Turns.next`.
        compared: when the whole sink was last compared with the whole list.
    """

    place: str = ""
    last: int = 0
    release: ReleaseId
    digest: str
    base: str
    published: datetime
    at: datetime
    scopes: int
    only_operator: str | None
    rules: str
    protected: Int64s
    left: Spans
    next_turn: int
    compared: datetime

    def is_old(self, at: datetime) -> bool:
        """Whether it is time to compare everything once more."""
        return not timedelta() <= at - self.compared < _COMPARED_EVERY

    @classmethod
    def load(cls, directory: Path, *, likely: Int64s) -> Self | None:
        """Read the checkpoint of a ledger; None if there is none, or another version of this library wrote it.

        Args:
            directory: the ledger's.
            likely: protected numbers, ascending, that need not be read if they are the ones.

        Raises:
            Malformed: it is damaged.
            StorageFailed: it cannot be read.
        """
        path = directory / _NAME
        if not path.exists():
            return None
        table, about = read_table(path)
        with reading(path):
            if about.get("version") != __version__:
                return None
            name = member(about, "protected", str)
            return cls(
                place=member(about, "place", str),
                last=member(about, "last", int),
                release=ReleaseId(member(about, "era", int), member(about, "serial", int)),
                digest=member(about, "digest", str),
                base=member(about, "base", str),
                published=moment_in(about, "published"),
                at=moment_in(about, "at"),
                scopes=member(about, "scopes", int),
                only_operator=None if about["only_operator"] is None else member(about, "only_operator", str),
                rules=member(about, "rules", str),
                protected=likely if name == _protected_name(likely) else _protected_in(directory, name),
                left=Spans.of(*(table.column(side).to_numpy() for side in ("first", "last"))),
                next_turn=member(about, "next_turn", int),
                compared=moment_in(about, "compared"),
            )

    def save(self, directory: Path) -> None:
        """Write it, and the protected numbers if they differ; errors of the disk are the caller's to translate."""
        name = _protected_name(self.protected)
        if len(self.protected) and not (directory / name).exists():
            write_table(directory / name, pa.table({"number": self.protected}), {})
        about: dict[str, Any] = {
            "version": __version__,
            "place": self.place,
            "last": self.last,
            "serial": self.release.serial,
            "era": self.release.era,
            "digest": self.digest,
            "base": self.base,
            "published": self.published,
            "at": self.at,
            "scopes": self.scopes,
            "only_operator": self.only_operator,
            "rules": self.rules,
            "protected": name,
            "next_turn": self.next_turn,
            "compared": self.compared,
        }
        write_table(directory / _NAME, pa.table({"first": self.left.first, "last": self.left.last}), about)
        for file in directory.glob(_PROTECTED):
            if file.name != name:
                file.unlink(missing_ok=True)


def ascending(numbers: Set[int]) -> Int64s:
    """Numbers in ascending order."""
    found = np.fromiter(numbers, np.int64, len(numbers))
    found.sort()
    return found


def _protected_name(numbers: Int64s) -> str:
    return f"protected-{hashlib.sha256(numbers.astype('<i8').tobytes()).hexdigest()}.arrow"


def _protected_in(directory: Path, name: str) -> Int64s:
    """Read protected numbers; checked against their name."""
    if name == _protected_name(np.empty(0, np.int64)):
        return np.empty(0, np.int64)
    if Path(name).name != name:
        raise ValueError("it names no file of protected numbers")
    numbers: Int64s = read_table(directory / name)[0].column("number").to_numpy().astype(np.int64)
    if _protected_name(numbers) != name:
        raise ValueError("the checksum of its protected numbers does not match")
    return numbers
