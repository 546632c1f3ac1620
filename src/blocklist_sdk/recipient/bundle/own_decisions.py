"""A recipient's own decisions, as they are in a bundle: overrides and own protected numbers. Unsigned."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, BinaryIO, Literal, NoReturn

from blocklist_sdk.errors import InvalidInput, Untrusted
from blocklist_sdk.numbers import Form
from blocklist_sdk.numbers.e164 import LARGEST
from blocklist_sdk.numbers.reach import MAX_COVER
from blocklist_sdk.recipient.cache.override_rows import override_of, row_of
from blocklist_sdk.recipient.cache.overrides import ImportResult, Overrides
from blocklist_sdk.records import Override

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from blocklist_sdk.numbers import FormDecision
    from blocklist_sdk.numbers.fast import Normalizer
    from blocklist_sdk.recipient.cache.local_database import Stamp
    from blocklist_sdk.tables.options import TableOptions


@dataclass(frozen=True, slots=True)
class OwnDecisions:
    """A recipient's own decisions.

    Attributes:
        overrides: its overrides, in force or not.
        protected: the numbers that it protects beside the authority.
    """

    overrides: tuple[Override, ...] = ()
    protected: frozenset[int] = frozenset()

    def document(self) -> bytes:
        """As it is in a bundle."""
        found = {"overrides": [row_of(each) for each in self.overrides], "protected": sorted(self.protected)}
        return json.dumps(found).encode() + b"\n"

    @classmethod
    def read(cls, data: bytes) -> "OwnDecisions":
        """What `document` wrote.

        Raises:
            Untrusted: it is not that.
        """
        try:
            found = json.loads(data)
            protected = found["protected"]
            if not all(type(number) is int and 1 <= number <= LARGEST for number in protected):
                raise ValueError("a protected number is not one")
            overrides = tuple(map(override_of, found["overrides"]))
            if not all(each.decision in ("allow", "block") for each in overrides):
                raise ValueError("a decision is neither allow nor block")
            return cls(overrides, frozenset(protected))
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise Untrusted(f"its overrides are not as they were written: {error}") from error


class BundledOverrides(Overrides):
    """The overrides of a bundle, which cannot be changed; none where those in it do not count."""

    def __init__(
        self,
        decisions: Iterable[Override],
        *,
        read: Callable[[str | int], int],
        read_column: "Callable[[Sequence[str]], tuple[Normalizer, FormDecision]]",
        region: str | None,
        form: Form,
        read_only: Callable[[], InvalidInput],
    ) -> None:
        """For `Blocklist.open_bundle`; `read_only` is the error for whoever wants to decide."""
        self._decisions = sorted(decisions, key=lambda each: (each.number, each.last or each.number))
        self._read_only = read_only
        self._read, self._read_column, self._region, self._form = read, read_column, region, form

    def decide(
        self,
        decision: Literal["allow", "block"],
        number: str | int,
        *,
        reason: str,
        until: datetime | None = None,
        author: str | None = None,
        max_cover: int = MAX_COVER,
    ) -> NoReturn:
        """A bundle is read-only; raises `InvalidInput`."""
        raise self._read_only()

    def remove(self, number: str | int) -> NoReturn:
        """A bundle is read-only; raises `InvalidInput`."""
        raise self._read_only()

    def import_file(
        self,
        source: "Path | str | BinaryIO",
        *,
        author: str | None = None,
        options: "TableOptions | None" = None,
        notify: Callable[[str], None] | None = None,
        max_cover: int = MAX_COVER,
    ) -> ImportResult:
        """A bundle is read-only; raises `InvalidInput`."""
        raise self._read_only()

    def removals(self) -> dict[tuple[int, int], datetime]:
        """No decision of a bundle was removed."""
        return {}

    def load(self) -> list[Override]:
        """All decisions, by number."""
        return list(self._decisions)

    def load_stamped(self) -> "tuple[list[Override], Stamp | None]":
        """All decisions; they never change."""
        return self.load(), None

    def stamp(self) -> "Stamp | None":
        """They never change."""
        return None

    def _on(self, first: int, last: int) -> list[Override]:
        return [each for each in self._decisions if (each.number, each.last or each.number) == (first, last)]
