"""The whole loop on loopback: publish, serve, sync, look up, and two attacks. ``blocklist demo`` shows it."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import phonenumbers
from phonenumbers import PhoneNumberFormat

from blocklist_sdk.demo.generated import REGION, write_generated
from blocklist_sdk.demo.lists import DEFAULTS, Lists, make_lists
from blocklist_sdk.demo.story import (
    Sample,
    Step,
    StepFailed,
    StepResult,
    new_passphrase,
    play,
    story_folder,
    write_settings,
)
from blocklist_sdk.disk import storage
from blocklist_sdk.errors import InvalidNumber, Untrusted, mask
from blocklist_sdk.numbers.e164 import LARGEST
from blocklist_sdk.publisher import Publisher, ReleaseResult, serving
from blocklist_sdk.recipient.blocklist import Blocklist

FEED = "demo"

_FULLWIDTH = str.maketrans("0123456789", "０１２３４５６７８９")

_SENDER = "GoPay"
"""A sender id: messages come from it, but it is not a number."""

_FREE = ("not listed", "not listed yet", "removed")
"""What a number can be that is expected to be free."""

_REASONS_SHOWN = 3


def play_loop(
    *,
    rows: int = 100_000,
    source: Path | None = None,
    column: str | None = None,
    region: str | None = None,
    directory: Path | None = None,
) -> Iterator[Step]:
    """Play the whole loop, with generated numbers or those of a list; the options are those of ``blocklist demo``.

    Raises:
        InvalidInput: the list cannot be used, or the folder is not empty.
        StorageFailed: the disk refused.
    """
    with story_folder(directory) as folder:
        is_generated = source is None
        if source is None:
            source, region = folder / "generated.csv", REGION
            with storage(source):
                write_generated(source, rows)
        plot = _plot(folder, source, column, region, is_generated=is_generated, is_kept=directory is not None)
        yield from play(plot)


def _plot(
    folder: Path, source: Path, column: str | None, region: str | None, *, is_generated: bool, is_kept: bool
) -> Iterator[str | StepResult]:
    yield "read the list"
    lists = make_lists(source, column=column, region=region)
    yield StepResult(
        f"{lists.numbers:,} distinct numbers in {lists.rows:,} rows "
        f"{'generated on the Indonesian plan' if is_generated else f'of {source.name}'}; {_reasons(lists.invalid)}",
        source.stat().st_size,
    )

    yield "make keys"
    passphrase = new_passphrase(folder)
    publisher = Publisher.init(folder / "authority", feeds=[FEED], passphrase=passphrase, region=region)
    timestamp = publisher.repository / "metadata" / "timestamp.json"
    yield StepResult("root keys (2 of 3 must sign), a targets key, an online key, the feed's own key; all encrypted")

    yield "publish release 1"
    yield _published(_release(publisher, lists.first, lists))

    yield "serve, pin the root"
    with serving(publisher.repository) as url, _recipient(folder, url, publisher, region) as blocklist:
        recipient = _Recipient(blocklist, is_masked=not is_generated)
        yield StepResult(f"static files at {url}; the recipient got root.json in another way")

        yield "first sync"
        yield recipient.sync("snapshot", before=None, after=1)

        yield "check numbers"
        texts = [(text, "listed") for text in _spellings(lists.listed, region)]
        texts += [(f"+{lists.unlisted}", "not listed"), (f"+{lists.late}", "not listed yet")]
        texts += [(f"+{lists.dropped}", "listed"), (_SENDER, "a sender id")]
        yield recipient.check(texts, "one number in several spellings, other numbers, and a text that is not a number")

        yield "publish release 2"
        second = _release(publisher, lists.second, lists)
        if not (second.added and second.removed):
            raise StepFailed("the second release should add and remove, but does not")
        yield _published(second)

        yield "delta sync"
        # The planner takes whatever has fewer bytes: for a very short list, that is the snapshot.
        is_shorter = second.snapshot_bytes is None or (second.delta_bytes or 0) <= second.snapshot_bytes
        kind = "delta" if is_shorter else "snapshot"
        yield recipient.sync(kind, before=1, after=2, published=second)

        yield "check what changed"
        texts = [(f"+{lists.dropped}", "removed"), (f"+{lists.late}", "added"), (f"+{lists.listed}", "listed")]
        yield recipient.check(texts, "the removed number is free, the added one blocked")

        yield "publish release 3"
        old_timestamp = timestamp.read_bytes()
        third = _release(publisher, lists.third, lists)
        result = _published(third)
        if third.rejects_path is not None:
            where = f", listed in {third.rejects_path}" if is_kept else ""
            result = result._replace(outcome=f"{result.outcome}; rejected rows: {third.invalid:,}{where}")
        yield result

        yield "attack: release file tampered"
        files = list((publisher.repository / "targets" / FEED).glob("*.3.*.parquet"))
        if not files:
            raise StepFailed("release 3 has no files to tamper with")
        with _replaced({file: _flip(file.read_bytes()) for file in files}):
            result = recipient.refuse(serial=2, blocked=(lists.listed, lists.late), free=lists.dropped)
        yield result

        yield "true file restored"
        yield recipient.sync(None, before=2, after=3, published=third)

        yield "attack: old timestamp replayed"
        with _replaced({timestamp: old_timestamp}):
            result = recipient.refuse(serial=3, blocked=(lists.listed, lists.dropped), free=lists.unlisted)
        yield result

        yield "true timestamp restored"
        yield recipient.sync("none", before=3, after=3)


# The authority


def _release(publisher: Publisher, source: object, lists: Lists) -> ReleaseResult:
    column = lists.column if isinstance(source, Path) else None
    # Any list can be shown, and its rejects are part of the story.
    return publisher.release(FEED, source, column=column, max_rejects=1, max_cover=LARGEST, **asdict(DEFAULTS))


def _published(result: ReleaseResult) -> StepResult:
    return StepResult(
        f"{result.rows:,} entries: {result.added:,} added, {result.removed:,} removed; signed",
        (result.snapshot_bytes or 0) + (result.delta_bytes or 0),
    )


# The recipient


def _recipient(folder: Path, url: str, publisher: Publisher, region: str | None) -> Blocklist:
    """Open the recipient's list, and write the settings with which a user who keeps the folder can continue."""
    root, cache = "recipient/root.json", "recipient/cache"
    with storage(folder):
        (folder / "recipient").mkdir()
        # By hand, by letter, in person: never from the repository itself.
        (folder / root).write_bytes(publisher.root.read_bytes())
    settings = {"feed": FEED, "root": root, "cache_dir": cache, "region": region}
    write_settings(folder, {"url": publisher.repository.as_uri(), **settings})
    # Any list can be shown, however wide its patterns are.
    return Blocklist.open(url, feed=FEED, root=folder / root, region=region, cache_dir=folder / cache, guard=None)


@dataclass(frozen=True, slots=True)
class _Recipient:
    """A recipient whose answers are compared with the expected ones."""

    blocklist: Blocklist
    is_masked: bool

    def sync(
        self, kind: str | None, *, before: int | None, after: int, published: ReleaseResult | None = None
    ) -> StepResult:
        """Sync, and compare the result with what the authority published."""
        result = self.blocklist.sync()
        if (result.kind, result.before, result.after) != (kind or result.kind, before, after):
            raise StepFailed(
                f"expected release {after} by {kind or 'any way'}, but this is release {result.after} by {result.kind}"
            )
        if published is not None:
            if (result.added, result.removed, result.changed) != (
                published.added,
                published.removed,
                published.changed,
            ):
                raise StepFailed("the recipient added and removed something other than the authority did")
            if self.blocklist.status().digest != published.digest:
                raise StepFailed("the digest of the recipient's list is not the authority's")
        if result.kind == "none":
            return StepResult(f"nothing new; release {after} is in force", result.bytes)
        return StepResult(f"{result.kind} verified: {result.added:,} added, {result.removed:,} removed", result.bytes)

    def check(self, texts: Sequence[tuple[str, str]], outcome: str) -> StepResult:
        """Look up texts, each given with what it is."""
        samples = tuple(self._check(text, what) for text, what in texts)
        for sample in samples:
            if sample.answer != sample.expected:
                raise StepFailed(f"{sample.text} should be {sample.expected}, but is {sample.answer}", samples)
        return StepResult(outcome, samples=samples)

    def _check(self, text: str, what: str) -> Sample:
        expected = "free" if what in _FREE else "invalid" if text == _SENDER else "blocked"
        shown = mask(text) if self.is_masked and text != _SENDER else text
        try:
            verdict = self.blocklist.check(text)
        except InvalidNumber as error:
            return Sample(shown, what, expected, "invalid", error.reason)
        return Sample(shown, what, expected, "blocked" if verdict.blocked else "free", verdict.reason)

    def refuse(self, *, serial: int, blocked: Sequence[int], free: int) -> StepResult:
        """Sync, which must be refused as untrusted while the release in force keeps answering."""
        with contextlib.suppress(Untrusted):
            self.blocklist.sync()
            raise StepFailed("the sync went through, but must be refused as untrusted")
        if self.blocklist.status().serial != serial:
            raise StepFailed(f"release {serial} should still be in force")
        texts = [*((f"+{number}", "listed") for number in blocked), (f"+{free}", "not listed")]
        return self.check(texts, f"refused as untrusted; release {serial} keeps answering")


def _spellings(number: int, region: str | None) -> list[str]:
    """One number as different people write it."""
    parsed = phonenumbers.parse(f"+{number}")
    formats = [PhoneNumberFormat.E164, PhoneNumberFormat.INTERNATIONAL, PhoneNumberFormat.RFC3966]
    if region is not None and phonenumbers.country_code_for_region(region.upper()) == parsed.country_code:
        formats.append(PhoneNumberFormat.NATIONAL)
    texts = [phonenumbers.format_number(parsed, form) for form in formats]
    return [*texts, texts[1].replace(" ", "\N{NO-BREAK SPACE}").translate(_FULLWIDTH)]


def _reasons(invalid: Mapping[str, int]) -> str:
    """How many rows are not numbers, with the most frequent reasons."""
    total = sum(invalid.values())
    if not total:
        return "every row is a number"
    frequent = list(invalid.items())[:_REASONS_SHOWN]
    parts = [f"{count:,} {reason}" for reason, count in frequent]
    if rest := total - sum(count for _, count in frequent):
        parts.append(f"{rest:,} for other reasons")
    return f"{total:,} {'row is not a number' if total == 1 else 'rows are not numbers'} ({'; '.join(parts)})"


# The attacker


def _flip(data: bytes) -> bytes:
    """The same bytes, except for one bit in the middle."""
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


@contextlib.contextmanager
def _replaced(contents: Mapping[Path, bytes]) -> Iterator[None]:
    """Replace served files, as an attacker can who has write access to them; undone at the end."""
    originals = {path: path.read_bytes() for path in contents}
    try:
        for path, data in contents.items():
            path.write_bytes(data)
        yield
    finally:
        for path, data in originals.items():
            path.write_bytes(data)
