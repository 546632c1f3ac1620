"""Runs of numbers that several sets of items hold alike: how the brake compares them, number by number. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from blocklist_sdk.enforcement.items import Items, Positions, UInt8s
from blocklist_sdk.release.rows import Int64s, distinct


@dataclass(frozen=True, slots=True)
class Pieces:
    """Runs of numbers that three sets of items hold alike: what the sink holds, what it should hold, and the explained.

    Attributes:
        first: the first number of each run.
        last: the last number of each run.
        in_sink: the scopes in which the sink holds it, as bits.
        in_target: those in which it should.
        in_explained: those that are explained.
        source: the position of the item that holds it in `candidates`.
        candidates: the items that the sink should hold, and then the explained ones.
    """

    first: Int64s
    last: Int64s
    in_sink: UInt8s
    in_target: UInt8s
    in_explained: UInt8s
    source: Positions
    candidates: Items

    @classmethod
    def of(cls, held: Items, target: Items, explained: Items) -> Self:
        """Cut three sets of items at each other's ends."""
        points = distinct(np.concatenate([part for each in (held, target, explained) for part in _ends(each)]))
        first, last = points[:-1], points[1:] - 1
        _, in_sink = _found(held, first)
        at_target, in_target = _found(target, first)
        at_explained, in_explained = _found(explained, first)
        source = np.where(in_target != 0, at_target, at_explained + len(target))
        return cls(first, last, in_sink, in_target, in_explained, source, Items.concatenated([target, explained]))

    def reach(self) -> tuple[int, int]:
        """How many numbers the unexplained removes, and how many it adds, in any scope."""
        width, scope = self.last - self.first + 1, self._scope()
        removed, added = scope & ~self.in_target, self.in_target & ~scope
        return int(width[removed != 0].sum()), int(width[added != 0].sum())

    def majority(self, *, lifts: bool = False) -> Items:
        """What at least two of three block: number by number and scope by scope.

        Args:
            lifts: leave out also what the sink should not hold, although it is explained.
        """
        scope = self._scope()
        if lifts:
            scope &= self.in_target
        return _joined(self.candidates, self.first, self.last, scope, self.source)

    def _scope(self) -> UInt8s:
        """The scopes that at least two of three have."""
        sink, target, explained = self.in_sink, self.in_target, self.in_explained
        scope: UInt8s = (sink & target) | (sink & explained) | (target & explained)
        return scope


def common(some: Items, others: Items) -> Items:
    """What both hold, number by number and scope by scope; where they differ otherwise, as `others` say."""
    return Pieces.of(some, others, Items.empty()).majority()


def without(items: Items, spans: Iterable[tuple[int, int]]) -> Items:
    """Items without some numbers, cut where only a part of one goes.

    Args:
        items: the items.
        spans: first and last numbers of what goes, in any order; they may overlap.
    """
    gone = np.array(sorted(spans), np.int64).reshape(-1, 2)
    if not len(gone) or not len(items):
        return items
    begins, reaches = gone[:, 0], np.maximum.accumulate(gone[:, 1])
    points = distinct(np.concatenate([*_ends(items), begins, gone[:, 1] + 1]))
    first, last = points[:-1], points[1:] - 1
    source, scope = _found(items, first)
    at = np.searchsorted(begins, first, "right") - 1
    is_gone = (at >= 0) & (reaches[np.maximum(at, 0)] >= first)
    return _joined(items, first, last, np.where(is_gone, np.uint8(0), scope).astype(np.uint8), source)


def reach(items: Items) -> int:
    """How many numbers items have."""
    return int((items.last - items.number + 1).sum())


def _joined(candidates: Items, first: Int64s, last: Int64s, scope: UInt8s, source: Positions) -> Items:
    """The items of some runs, of which those that follow each other and are alike become one."""
    kept = np.flatnonzero(scope)
    first, last, scope, source = first[kept], last[kept], scope[kept], source[kept]
    begins = np.ones(len(kept), np.bool_)
    begins[1:] = (first[1:] != last[:-1] + 1) | (scope[1:] != scope[:-1]) | (source[1:] != source[:-1])
    starts = np.flatnonzero(begins)
    stops = np.append(starts[1:], len(kept))[: len(starts)] - 1
    return replace(candidates.take(source[starts]), number=first[starts], last=last[stops], scope=scope[starts])


def _ends(items: Items) -> tuple[Int64s, Int64s]:
    return items.number, items.last + 1


def _found(items: Items, points: Int64s) -> tuple[Positions, UInt8s]:
    """The position of the item that holds each point, and its scopes; 0 if none does."""
    if not len(items):
        return np.zeros(len(points), np.intp), np.zeros(len(points), np.uint8)
    at = np.maximum(np.searchsorted(items.number, points, "right") - 1, 0)
    holds = (items.number[at] <= points) & (points <= items.last[at])
    return at, np.where(holds, items.scope[at], np.uint8(0)).astype(np.uint8)
