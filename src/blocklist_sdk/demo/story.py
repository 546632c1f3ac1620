"""The steps of the demonstration. Each does something real, looks whether it came out as it must, and says so."""

import contextlib
import os
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import phonenumbers
from phonenumbers import PhoneNumberFormat

from blocklist_sdk.demo.generated import REGION, write_generated
from blocklist_sdk.demo.lists import DEFAULTS, Lists, make_lists
from blocklist_sdk.disk import storage
from blocklist_sdk.errors import BlocklistError, InvalidInput, InvalidNumber, StorageFailed, Untrusted, mask
from blocklist_sdk.publisher import Publisher, ReleaseResult, serving
from blocklist_sdk.recipient.blocklist import Blocklist
from blocklist_sdk.records import SyncResult

FEED = "demo"

_FULLWIDTH = str.maketrans("0123456789", "０１２３４５６７８９")

_SENDER = "GoPay"
"""A sender id: messages come from it, but it is no number."""


_REASONS_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Sample:
    """One number that was asked about.

    Attributes:
        text: as it was written; masked when it comes from a real list.
        what: what it is.
        expected: ``blocked``, ``free`` or ``invalid``.
        answer: what came back, one of the same, and why.
        reason: the verdict's reason, or why it is no number.
    """

    text: str
    what: str
    expected: str
    answer: str
    reason: str


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the story.

    Attributes:
        name: what was done.
        outcome: what came of it, in a sentence.
        ok: whether it came out as it must.
        seconds: how long it took.
        bytes: what was published or fetched; None where nothing was, or nothing was kept.
        samples: numbers that were asked about.
    """

    name: str
    outcome: str
    ok: bool
    seconds: float
    bytes: int | None = None
    samples: tuple[Sample, ...] = ()


@dataclass(frozen=True, slots=True)
class _Told:
    outcome: str
    bytes: int | None = None
    samples: tuple[Sample, ...] = ()


class _Wrong(Exception):
    """A step did not come out as it must."""

    def __init__(self, outcome: str, samples: tuple[Sample, ...] = ()) -> None:
        super().__init__(outcome)
        self.samples = samples


def play(
    *,
    rows: int = 100_000,
    source: Path | None = None,
    column: str | None = None,
    region: str | None = None,
    directory: Path | None = None,
) -> Iterator[Step]:
    """Go through the whole loop; ends after the first step that fails.

    Args:
        rows: how many numbers to generate, on the Indonesian plan.
        source: a real list instead.
        column: the column of `source` with the numbers.
        region: two-letter country code in which the numbers of `source` are read.
        directory: a new or empty folder to keep everything in; None to keep nothing.

    Raises:
        InvalidInput: the list cannot be used, or the folder is not empty.
        StorageFailed: the disk refused.
    """
    with contextlib.ExitStack() as stack:
        if directory is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="blocklist-demo-")))
        else:
            folder = _new_folder(directory)
        generated, kept = source is None, directory is not None
        if source is None:
            source, region = folder / "generated.csv", REGION
            with storage(source):
                write_generated(source, rows)
        story = _Story(folder, source, column, region, generated=generated, kept=kept, stack=stack)
        for name, tell in story.steps():
            step = _take(name, tell)
            yield step
            if not step.ok:
                return


def _take(name: str, tell: Callable[[], _Told]) -> Step:
    started = time.perf_counter()
    try:
        told = tell()
    except _Wrong as wrong:
        return Step(name, str(wrong), ok=False, seconds=time.perf_counter() - started, samples=wrong.samples)
    except (InvalidInput, StorageFailed):
        raise
    except BlocklistError as error:
        outcome = f"{type(error).__name__}: {error}"
        return Step(name, outcome, ok=False, seconds=time.perf_counter() - started)
    return Step(name, told.outcome, True, time.perf_counter() - started, told.bytes, told.samples)


def _new_folder(directory: Path) -> Path:
    with storage(directory):
        directory.mkdir(parents=True, exist_ok=True)
        if any(directory.iterdir()):
            raise InvalidInput(f"{directory} is not empty: give a new folder with --dir")
    return directory.absolute()


class _Story:
    """The authority's folder, the recipient's folder, and what happens between them."""

    def __init__(
        self,
        folder: Path,
        source: Path,
        column: str | None,
        region: str | None,
        *,
        generated: bool,
        kept: bool,
        stack: contextlib.ExitStack,
    ) -> None:
        self._folder = folder
        self._source = source
        self._column = column
        self._region = region
        self._generated = generated
        self._kept = kept
        self._stack = stack
        self._lists: Lists
        self._publisher: Publisher
        self._blocklist: Blocklist
        self._second: ReleaseResult
        self._third: ReleaseResult
        self._old_timestamp: bytes

    def steps(self) -> Sequence[tuple[str, Callable[[], _Told]]]:
        """Every step, in order."""
        return (
            ("read the list", self._read),
            ("make keys", self._make_keys),
            ("publish release 1", self._publish_first),
            ("serve, pin the root", self._serve),
            ("first sync", self._sync_first),
            ("check numbers", self._check_first),
            ("publish release 2", self._publish_second),
            ("delta sync", self._sync_second),
            ("check what changed", self._check_second),
            ("publish release 3", self._publish_third),
            ("attack: release file tampered", self._tamper),
            ("true file restored", self._sync_third),
            ("attack: old timestamp replayed", self._replay),
            ("true timestamp restored", self._sync_last),
        )

    # The authority

    def _read(self) -> _Told:
        self._lists = make_lists(self._source, column=self._column, region=self._region)
        what = "generated on the Indonesian plan" if self._generated else f"of {self._source.name}"
        return _Told(
            f"{self._lists.numbers:,} distinct numbers in {self._lists.rows:,} rows {what}; "
            f"{_reasons(self._lists.invalid)}",
            self._source.stat().st_size,
        )

    def _make_keys(self) -> _Told:
        passphrase = secrets.token_urlsafe(24)
        with storage(self._folder):
            (self._folder / "recipient").mkdir()
            with open(os.open(self._folder / "passphrase", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(passphrase + "\n")
        self._publisher = Publisher.init(
            self._folder / "authority", feeds=[FEED], passphrase=passphrase, region=self._region
        )
        return _Told("root keys (2 of 3 must sign), a targets key, an online key, the feed's own key; all encrypted")

    def _publish_first(self) -> _Told:
        return self._told(self._release(self._lists.first))

    def _publish_second(self) -> _Told:
        self._second = self._release(self._lists.second)
        if not (self._second.added and self._second.removed):
            raise _Wrong("the second release should add and remove, but does not")
        return self._told(self._second)

    def _publish_third(self) -> _Told:
        self._old_timestamp = self._timestamp.read_bytes()
        self._third = self._release(self._lists.third)
        told = self._told(self._third)
        if self._third.rejects_path is None:
            return told
        where = f" in {self._third.rejects_path}" if self._kept else ""
        return _Told(f"{told.outcome}; {self._third.invalid:,} rejects listed by line{where}", told.bytes)

    def _release(self, source: object) -> ReleaseResult:
        column = self._lists.column if isinstance(source, Path) else None
        # Whatever list is shown, its rejects are part of the story.
        return self._publisher.release(FEED, source, column=column, max_rejects=1, **asdict(DEFAULTS))

    @staticmethod
    def _told(report: ReleaseResult) -> _Told:
        return _Told(
            f"{report.rows:,} entries: {report.added:,} added, {report.removed:,} removed; signed",
            report.snapshot_bytes + (report.delta_bytes or 0),
        )

    def _serve(self) -> _Told:
        url = self._stack.enter_context(serving(self._publisher.repository, host="127.0.0.1", port=0))
        root = self._folder / "recipient" / "root.json"
        with storage(root):
            # By hand, by letter, in person: never from the repository itself.
            root.write_bytes(self._publisher.root.read_bytes())
        self._blocklist = self._stack.enter_context(
            Blocklist.open(
                url, feed=FEED, root=root, region=self._region, cache_dir=self._folder / "recipient" / "cache"
            )
        )
        self._write_settings()
        return _Told(f"static files at {url}; the recipient has root.json by another way")

    def _write_settings(self) -> None:
        """So that who keeps the folder can go on from there; file: is verified all the same."""
        settings = {
            "url": self._publisher.repository.as_uri(),
            "feed": FEED,
            "root": "recipient/root.json",
            "cache_dir": "recipient/cache",
            **({"region": self._region} if self._region else {}),
        }
        path = self._folder / "blocklist.toml"
        with storage(path):
            path.write_text("".join(f'{name} = "{value}"\n' for name, value in settings.items()), encoding="utf-8")

    # The recipient

    def _sync_first(self) -> _Told:
        return self._synced("snapshot", before=None, after=1)

    def _sync_second(self) -> _Told:
        delta_bytes = self._second.delta_bytes or 0
        # The planner takes what is fewer bytes; of a very short list that is the snapshot.
        kind = "delta" if delta_bytes <= self._second.snapshot_bytes else "snapshot"
        return self._synced(kind, before=1, after=2, report=self._second)

    def _sync_third(self) -> _Told:
        result = self._sync()
        if (result.before, result.after) != (2, 3):
            raise _Wrong(f"expected release 3, but this is release {result.after}")
        self._same_digest(self._third)
        return _Told("release 3 is in force", result.bytes)

    def _sync_last(self) -> _Told:
        return self._synced("none", before=3, after=3)

    def _sync(self) -> SyncResult:
        return self._blocklist.sync()

    def _synced(self, kind: str, *, before: int | None, after: int, report: ReleaseResult | None = None) -> _Told:
        result = self._sync()
        if (result.kind, result.before, result.after) != (kind, before, after):
            raise _Wrong(f"expected release {after} by {kind}, but this is release {result.after} by {result.kind}")
        if report is not None:
            if (result.added, result.removed, result.changed) != (report.added, report.removed, report.changed):
                raise _Wrong("the recipient added and removed something else than the authority did")
            self._same_digest(report)
        if kind == "none":
            return _Told(f"nothing new; release {after} is in force", result.bytes)
        return _Told(f"{kind} verified: {result.added:,} added, {result.removed:,} removed", result.bytes)

    def _same_digest(self, report: ReleaseResult) -> None:
        if self._blocklist.status().digest != report.digest:
            raise _Wrong("the recipient's list has another digest than the authority's")

    def _check_first(self) -> _Told:
        lists = self._lists
        asked = [("listed", text, "blocked") for text in _spellings(lists.listed, self._region)]
        asked += [
            ("not listed", f"+{lists.unlisted}", "free"),
            ("not listed yet", f"+{lists.late}", "free"),
            ("listed", f"+{lists.dropped}", "blocked"),
            ("a sender id", _SENDER, "invalid"),
        ]
        return self._asked(asked, "one number however it is written, others, and what is none")

    def _check_second(self) -> _Told:
        lists = self._lists
        asked = [
            ("removed", f"+{lists.dropped}", "free"),
            ("added", f"+{lists.late}", "blocked"),
            ("listed", f"+{lists.listed}", "blocked"),
        ]
        return self._asked(asked, "the removed number is free, the added one blocked")

    def _asked(self, asked: Sequence[tuple[str, str, str]], outcome: str) -> _Told:
        samples = tuple(self._ask(*question) for question in asked)
        wrong = [sample for sample in samples if sample.answer != sample.expected]
        if wrong:
            first = wrong[0]
            raise _Wrong(f"{first.text} should be {first.expected}, but is {first.answer}", samples)
        return _Told(outcome, samples=samples)

    def _ask(self, what: str, text: str, expected: str) -> Sample:
        shown = text if self._generated or text == _SENDER else mask(text)
        try:
            verdict = self._blocklist.check(text)
        except InvalidNumber as error:
            return Sample(shown, what, expected, "invalid", error.reason)
        return Sample(shown, what, expected, "blocked" if verdict.blocked else "free", verdict.reason)

    # The attacks

    def _tamper(self) -> _Told:
        files = list((self._publisher.repository / "targets" / FEED).glob("*.3.*.parquet"))
        if not files:
            raise _Wrong("release 3 has no files to tamper with")
        with _swapped({file: _flip(file.read_bytes()) for file in files}):
            return self._refused(serial=2, blocked=(self._lists.listed, self._lists.late), free=self._lists.dropped)

    def _replay(self) -> _Told:
        with _swapped({self._timestamp: self._old_timestamp}):
            return self._refused(serial=3, blocked=(self._lists.listed, self._lists.dropped), free=self._lists.unlisted)

    @property
    def _timestamp(self) -> Path:
        return self._publisher.repository / "metadata" / "timestamp.json"

    def _refused(self, *, serial: int, blocked: Sequence[int], free: int) -> _Told:
        """A sync is refused as untrusted, and the release in force goes on answering."""
        try:
            self._sync()
        except Untrusted:
            pass
        else:
            raise _Wrong("the sync went through, but must be refused as untrusted")
        if self._blocklist.status().serial != serial:
            raise _Wrong(f"release {serial} should still be in force")
        asked = [("listed", f"+{number}", "blocked") for number in blocked]
        told = self._asked([*asked, ("not listed", f"+{free}", "free")], "")
        return _Told(f"refused as untrusted; release {serial} goes on answering", samples=told.samples)


def _spellings(number: int, region: str | None) -> list[str]:
    """One number as different people write it."""
    parsed = phonenumbers.parse(f"+{number}")
    international = phonenumbers.format_number(parsed, PhoneNumberFormat.INTERNATIONAL)
    written = [
        f"+{number}",
        international,
        phonenumbers.format_number(parsed, PhoneNumberFormat.RFC3966),
        international.replace(" ", "\N{NO-BREAK SPACE}").translate(_FULLWIDTH),
    ]
    if region is not None and phonenumbers.country_code_for_region(region.upper()) == parsed.country_code:
        written.append(phonenumbers.format_number(parsed, PhoneNumberFormat.NATIONAL))
    return written


def _reasons(invalid: Mapping[str, int]) -> str:
    """How many rows are no numbers, with the most frequent reasons."""
    total = sum(invalid.values())
    if not total:
        return "every row is a number"
    frequent = list(invalid.items())[:_REASONS_SHOWN]
    parts = [f"{count:,} {reason}" for reason, count in frequent]
    rest = total - sum(count for _, count in frequent)
    return f"{total:,} rows are no numbers ({'; '.join([*parts, *([f'{rest:,} others'] if rest else [])])})"


def _flip(data: bytes) -> bytes:
    """The same bytes but for one bit in the middle."""
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


@contextlib.contextmanager
def _swapped(contents: Mapping[Path, bytes]) -> Iterator[None]:
    """What an attacker does who can write where the files are served from; undone at the end."""
    true = {path: path.read_bytes() for path in contents}
    try:
        for path, data in contents.items():
            path.write_bytes(data)
        yield
    finally:
        for path, data in true.items():
            path.write_bytes(data)
