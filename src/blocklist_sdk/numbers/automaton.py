"""Whether a numbering-plan pattern matches all, none or some numbers with the same first digits and length.

libphonenumber describes plans by regular expressions over digits. To answer for a million numbers at once, we
need to know whether *all*, *none* or only *some* of the numbers ``0812 3xx xxxx`` match, which ``re`` cannot answer. So
a pattern is turned into a finite automaton over the ten digits and followed: exact, not sampled.
"""

import re
from collections.abc import Callable
from enum import IntFlag

_ANY_DIGIT = 0b11_1111_1111
"""A set of digits is an integer with one bit for each."""

_Step = tuple[int, int]
"""From a state: the digits that lead on, and the state they lead to."""


class Fate(IntFlag):
    """How many of a set of texts match: none, all, or some (both bits)."""

    NONE = 1
    ALL = 2
    SOME = 3


class DigitPattern:
    r"""A regular expression over digits.

    It knows what libphonenumber's metadata uses: digits, ``\d``, ``[…]``, groups, ``|``, ``?`` and ``{m,n}``. It is
    matched against the whole text, so a ``$`` at the end says nothing. Of a pattern that uses
    anything else every fate is ``SOME``, and the caller has to try each text with ``re``.

    Args:
        pattern: the regular expression; None or empty matches nothing, as libphonenumber has it.

    Attributes:
        is_read: whether the pattern was understood.

    >>> DigitPattern(r"8[1-35-9]\d{7,10}").fate("81", 11) is Fate.ALL
    True
    >>> DigitPattern(r"1500\d{3}|2\d{6}").fate("15", 7) is Fate.SOME
    True
    """

    def __init__(self, pattern: str | None) -> None:
        self._steps: list[list[_Step]] = []
        self._jumps: list[list[int]] = []
        self._final = self._state()
        self.is_read: bool = True
        start = self._state()
        if pattern:
            try:
                start = _Reader(pattern, self).read(self._final)
            except ValueError:
                self.is_read = False
        self._ids: dict[frozenset[int], int] = {}
        self._sets: list[frozenset[int]] = []
        self._next: list[list[int | None]] = []
        self._fates: dict[tuple[int, int], Fate] = {}
        self._start = self._intern(self._closed({start}))

    def fate(self, lead: str, length: int) -> Fate:
        """Say whether the texts of ``length`` digits that begin with ``lead`` match."""
        if not self.is_read:
            return Fate.SOME
        state = self._start
        for digit in lead:
            state = self._after(state, int(digit))
        return self._fate(state, length - len(lead))

    def table(self) -> tuple[list[list[int]], list[bool]]:
        """Return the whole automaton: the state after each digit, and which states end a match; 0 is the first state.

        A pattern that was not understood matches everything.

        >>> steps, is_final = DigitPattern("[0-4]").table()
        >>> is_final[steps[0][3]], is_final[steps[0][7]]
        (True, False)
        """
        if not self.is_read:
            return [[0] * 10], [True]
        place = {self._start: 0}
        states = [self._start]
        steps = []
        for state in states:  # it grows
            steps.append([place.setdefault(self._after(state, digit), len(place)) for digit in range(10)])
            states += list(place)[len(states) :]
        return steps, [self._final in self._sets[state] for state in states]

    def _fate(self, state: int, rest: int) -> Fate:
        if not self._sets[state]:
            return Fate.NONE
        if rest == 0:
            return Fate.ALL if self._final in self._sets[state] else Fate.NONE
        known = self._fates.get((state, rest))
        if known is None:
            known = Fate(0)
            for target in {self._after(state, digit) for digit in range(10)}:
                known |= self._fate(target, rest - 1)
            self._fates[state, rest] = known
        return known

    def _after(self, state: int, digit: int) -> int:
        target = self._next[state][digit]
        if target is None:
            reached = {to for node in self._sets[state] for digits, to in self._steps[node] if digits >> digit & 1}
            target = self._next[state][digit] = self._intern(self._closed(reached))
        return target

    def _closed(self, nodes: set[int]) -> frozenset[int]:
        todo = list(nodes)
        while todo:
            for target in self._jumps[todo.pop()]:
                if target not in nodes:
                    nodes.add(target)
                    todo.append(target)
        return frozenset(nodes)

    def _intern(self, nodes: frozenset[int]) -> int:
        known = self._ids.get(nodes)
        if known is None:
            known = len(self._sets)
            self._next.append([None] * 10)
            self._sets.append(nodes)
            self._ids[nodes] = known  # last: a process may fork between any two of these
        return known

    # For the reader, which builds the automaton.

    def _state(self) -> int:
        self._steps.append([])
        self._jumps.append([])
        return len(self._steps) - 1

    def node(self, *jumps: int) -> int:
        """Add a state that goes on to others without a digit."""
        state = self._state()
        self._jumps[state].extend(jumps)
        return state

    def digit(self, digits: int, then: int) -> int:
        """Add a state that takes one of a set of digits."""
        state = self._state()
        self._steps[state].append((digits, then))
        return state


class PrefixPattern:
    r"""A regular expression for a prefix of a number, matched as ``re.match`` does.

    Args:
        pattern: of the kind that :class:`DigitPattern` reads; None or empty for no prefix.
        rewrites: whether a match of the pattern's last group has the rest rewritten instead of the match stripped
            (libphonenumber's ``national_prefix_transform_rule``).

    >>> trunk = PrefixPattern("0|180020")
    >>> trunk.length_in("08123", 11), trunk.length_in("81234", 10), trunk.length_in("18002", 12)
    (1, 0, None)
    """

    def __init__(self, pattern: str | None, *, rewrites: bool = False) -> None:
        self._regex = re.compile(pattern or "")
        self._whole = DigitPattern(pattern)
        self._rewrites = rewrites

    def length_in(self, lead: str, length: int) -> int | None:
        """Return the length of the prefix in texts of ``length`` digits that begin with ``lead``.

        None if in some of them it is longer than ``lead``, or the rest is rewritten.
        """
        if any(self._whole.fate(lead, end) is not Fate.NONE for end in range(len(lead) + 1, length + 1)):
            return None
        # No match ends beyond the lead, so the lead alone decides, and any text of the shape can represent all.
        found = self._regex.match(lead.ljust(length, "0"))
        if found is None:
            return 0
        return None if self._rewrites and found.groups() and found.groups()[-1] is not None else found.end()


Piece = Callable[[int], int]
"""Part of a pattern: given the state to go on to, builds itself and returns the state it begins in."""


class _Reader:
    """Recursive descent over the pattern. Pieces are built from their end, so that repeats are copies."""

    def __init__(self, pattern: str, into: DigitPattern) -> None:
        self._text = pattern
        self._at = 0
        self._into = into

    def read(self, final: int) -> int:
        piece = self._alternatives()
        if self._at != len(self._text):
            raise self._unknown()
        return piece(final)

    def _alternatives(self) -> Piece:
        branches = [self._sequence()]
        while self._take("|"):
            branches.append(self._sequence())
        return branches[0] if len(branches) == 1 else lambda then: self._into.node(*(b(then) for b in branches))

    def _sequence(self) -> Piece:
        pieces: list[Piece] = []
        while self._at < len(self._text) and self._text[self._at] not in "|)":
            pieces.append(self._repeated(self._atom()))

        def build(then: int) -> int:
            for piece in reversed(pieces):
                then = piece(then)
            return then

        return build

    def _repeated(self, atom: Piece) -> Piece:
        least = most = 1
        if self._take("?"):
            least = 0
        elif self._take("{"):
            end = self._text.index("}", self._at)
            low, _, high = self._text[self._at : end].partition(",")
            self._at = end + 1
            least, most = int(low), int(high or low)

        def build(then: int) -> int:
            for count in range(most, 0, -1):
                begun = atom(then)
                then = begun if count <= least else self._into.node(begun, then)
            return then

        return build

    def _atom(self) -> Piece:
        if self._take("(?:") or self._take("("):
            inner = self._alternatives()
            if not self._take(")"):
                raise self._unknown()
            return inner
        if self._take("$"):
            return lambda then: then
        digits = self._digits()
        return lambda then: self._into.digit(digits, then)

    def _digits(self) -> int:
        if self._take("\\d"):
            return _ANY_DIGIT
        if self._take("["):
            digits = 0
            while not self._take("]"):
                low = high = self._digit()
                if self._take("-"):
                    high = self._digit()
                digits |= sum(1 << digit for digit in range(low, high + 1))
            return digits
        return 1 << self._digit()

    def _digit(self) -> int:
        character = self._text[self._at : self._at + 1]
        if not ("0" <= character <= "9"):
            raise self._unknown()
        self._at += 1
        return int(character)

    def _take(self, token: str) -> bool:
        found = self._text.startswith(token, self._at)
        self._at += len(token) * found
        return found

    def _unknown(self) -> ValueError:
        return ValueError(f"cannot read this part of a numbering-plan pattern: {self._text[self._at :]!r}")
