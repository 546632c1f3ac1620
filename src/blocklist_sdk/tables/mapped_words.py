"""A column whose words are mapped: which of them are replaced, and which the mapping does not know."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from blocklist_sdk.tables.cells import shown
from blocklist_sdk.tables.header import same

NAMED_MAX: Final = 10
"""How many words a remark names."""

_WORDS_MAX: Final = 10_000
"""How many different words are counted; a column of free text has one in every row."""


class MappedWords:
    """Replaces the words of one column, and counts those that stay as they are.

    >>> words = MappedWords("category", {"penipuan": "fraud", "judi": "gambling"})
    >>> words.replacement("Penipuan"), words.replacement("pinjol")
    ('fraud', None)
    >>> words.count([("Penipuan", 3), ("pinjol", 2), ("", 1)])
    >>> words.remark()
    "category: no cell says 'judi'; words without a mapping stay as they are: 'pinjol' (2)"
    """

    def __init__(self, meaning: str, words: Mapping[str, str]) -> None:
        """For the column of a meaning; upper and lower case and space around words make no difference."""
        self._meaning = meaning
        self._words = {same(word): value for word, value in words.items()}
        self._missing = {same(word): word for word in words}
        self._values = {same(value) for value in words.values()}
        self._spellings: dict[str, str] = {}
        self._unmapped = Counter[str]()
        self._uncounted = 0

    def replacement(self, text: str) -> str | None:
        """The value for a word; None if the mapping does not know it."""
        return self._words.get(same(text))

    def count(self, words: Iterable[tuple[str, int]]) -> None:
        """Count words, each with the number of its cells."""
        for text, cells in words:
            word = same(text)
            if word in self._words:
                self._missing.pop(word, None)
            elif word in self._unmapped or len(self._unmapped) < _WORDS_MAX:
                # A cell that has one of the values already is as it should be.
                if word and word not in self._values:
                    self._spellings.setdefault(word, text.strip())
                    self._unmapped[word] += cells
            elif word and word not in self._values:
                self._uncounted += cells

    def remark(self) -> str | None:
        """What does not fit together, in a line; None if all does."""
        parts: list[str] = []
        if self._missing:
            words = [repr(shown(word)) for word in self._missing.values()]
            more = f" and {len(words) - NAMED_MAX:,} other words" if len(words) > NAMED_MAX else ""
            parts.append(f"no cell says {', '.join(words[:NAMED_MAX])}{more}")
        if self._unmapped:
            commonest = self._unmapped.most_common(NAMED_MAX)
            named = [f"{shown(self._spellings[word])!r} ({cells:,})" for word, cells in commonest]
            rest = self._unmapped.total() + self._uncounted - sum(cells for _, cells in commonest)
            others = f" and others ({rest:,})" if rest else ""
            parts.append(f"words without a mapping stay as they are: {', '.join(named)}{others}")
        return f"{self._meaning}: {'; '.join(parts)}" if parts else None
