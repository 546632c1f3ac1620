"""Jobs: many processes, on many machines, that screen parts of one table against one bundle at one moment.

What starts a job opens the bundle first, so that whatever is wrong with it is found once and early. What it then knows
goes to the workers as a `ScreeningJob`, which can be pickled. Each worker process opens the bundle for itself, verifies
it, and keeps it open for all parts that it is given. A worker that finds another file than the one that the job was
started with refuses to answer, so that no table is screened against two lists.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from blocklist_sdk import times
from blocklist_sdk.disk import storage
from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.fetch.url_and_root import read_root
from blocklist_sdk.locks import ForkSafeLock
from blocklist_sdk.numbers import Form, FormDecision
from blocklist_sdk.numbers.text import check_form
from blocklist_sdk.recipient.arguments import protected_numbers
from blocklist_sdk.recipient.blocklist import Blocklist, screening_of
from blocklist_sdk.recipient.cache.pieces import sha256_of
from blocklist_sdk.recipient.current_list import WhenStale
from blocklist_sdk.recipient.screening.columns import Screening
from blocklist_sdk.records import Scope

_OPEN_MAX: Final = 2
"""Bundles that one process keeps open: the job's, and that of the job before."""


@dataclass(frozen=True, slots=True)
class BundleToOpen:
    """A bundle as every process of a job opens it.

    Attributes:
        sha256: of the whole file, in hexadecimal digits.
        root: the pinned root metadata.
        region: in which numbers without a country code are read.
        protected: numbers that are never blocked.
        overrides: whether the overrides that the bundle may have count.
        when_stale: what to do past the signed expiry.
        min_release: the oldest release that is taken.
    """

    sha256: str
    root: bytes
    region: str | None
    protected: frozenset[int]
    overrides: bool
    when_stale: WhenStale
    min_release: int | str | None

    def open(self, path: Path) -> Blocklist:
        """Open it, and verify all of it; raises what `Blocklist.open_bundle` raises."""
        return Blocklist.open_bundle(
            path,
            root=self.root,
            region=self.region,
            protected=self.protected,
            overrides=self.overrides,
            when_stale=self.when_stale,
            min_release=self.min_release,
        )


@dataclass(frozen=True, slots=True)
class JobRelease:
    """The release that answers for a whole job.

    Attributes:
        feed, era, serial, digest, as_of: which one it is.
        stale: whether it is past its signed expiry at the job's moment.
    """

    feed: str
    era: int
    serial: int
    digest: str
    as_of: datetime
    stale: bool


@dataclass(frozen=True, slots=True)
class ScreeningJob:
    """What every process of a job has to know.

    Attributes:
        bundle: what to open.
        release: the release in it.
        scope: count the entries of this scope only.
        form: how digits without a plus are read; None where the column did not decide.
        at: the moment as of which all processes answer, also those that start later or try again.
    """

    bundle: BundleToOpen
    release: JobRelease
    scope: Scope | None
    form: Form | None
    at: datetime

    def screening(self, path: str | Path) -> Screening:
        """What to screen against in this process; the bundle is opened at the first call only.

        Args:
            path: where the bundle is on this machine.

        Raises:
            InvalidInput: the file is not there, or is not the one that the job was started with.
            Untrusted: it does not verify.
            Stale: it is past its expiry, and that is not to be served.
        """
        blocklist = _opened(Path(path), self.bundle)
        return screening_of(blocklist, scope=self.scope, at=self.at).with_form(self.form)


def start_job(
    path: str | Path,
    *,
    root: str | Path | bytes,
    region: str | None,
    form: Form | FormDecision,
    scope: Scope | None,
    protected: str | Path | Iterable[str | int],
    overrides: bool,
    when_stale: WhenStale,
    min_release: int | str | None,
    decide_form: Callable[[], FormDecision],
) -> ScreeningJob:
    """Open a bundle where a job starts, verify it, and say what the job's processes have to know.

    Args:
        path: the bundle.
        root: the pinned root metadata: a path, or its bytes.
        region: in which numbers without a country code are read.
        form: the declared form, or what decided; ``auto`` asks `decide_form`.
        scope: count the entries of this scope only.
        protected: numbers that are never blocked, or a file with them, which only this process reads.
        overrides: whether the overrides that the bundle may have count.
        when_stale: what to do past the signed expiry.
        min_release: the oldest release that is taken.
        decide_form: looks at the column; called after the bundle was verified.

    Raises:
        InvalidInput: the file cannot be read, is not a bundle, or an argument cannot be used.
        Untrusted: it does not verify against the root, or is older than `min_release`.
        Stale: it is past its expiry, and `when_stale` is ``raise``.
    """
    declared = form.form if isinstance(form, FormDecision) else check_form(form)
    file = Path(path)
    bundle = BundleToOpen(
        sha256=sha256_of_bundle(file),
        root=read_root(root),
        region=region,
        protected=protected_numbers(protected, region),
        overrides=overrides,
        when_stale=when_stale,
        min_release=min_release,
    )
    at = times.now()
    with bundle.open(file) as blocklist:
        screening = blocklist.screening(scope=scope)  # raises what every worker would raise otherwise
        status = blocklist.status()
        assert status.digest is not None, "a bundle has a release"
        assert status.as_of is not None
        release = JobRelease(
            feed=blocklist.feed,
            era=screening.era,
            serial=screening.serial,
            digest=status.digest,
            as_of=status.as_of,
            stale=status.stale,
        )
    if declared == "auto":
        declared = decide_form().form
    return ScreeningJob(bundle, release, scope, declared, at)


def sha256_of_bundle(path: Path) -> str:
    """The SHA-256 of a bundle, in hexadecimal digits.

    Raises:
        InvalidInput: there is no such file.
        StorageFailed: it cannot be read.
    """
    with storage(path):
        try:
            return sha256_of(path)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise _missing(path) from error


_Stamp = tuple[int, int, int, int]

_kept: dict[tuple[Path, BundleToOpen], tuple[_Stamp, Blocklist]] = {}
_opening = ForkSafeLock()


def _opened(path: Path, bundle: BundleToOpen) -> Blocklist:
    """The bundle, opened once by this process, as long as nobody touches the file."""
    with _opening:
        stamp = _stamp_of(path)
        known = _kept.pop((path, bundle), None)
        if known is None or known[0] != stamp:
            if sha256_of_bundle(path) != bundle.sha256:
                raise _another(path)
            known = stamp, bundle.open(path)
            if _stamp_of(path) != stamp:  # replaced meanwhile, so what was opened may be another file
                raise _another(path)
        _kept[path, bundle] = known  # the last one is the one that was used last
        while len(_kept) > _OPEN_MAX:
            _kept.pop(next(iter(_kept)))[1].close()
        return known[1]


def _stamp_of(path: Path) -> _Stamp:
    with storage(path):
        try:
            found = path.stat()
        except (FileNotFoundError, NotADirectoryError) as error:
            raise _missing(path) from error
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _another(path: Path) -> InvalidInput:
    return InvalidInput(
        f"{path} on this machine is not the bundle that the job was started with: put the same file on every machine, "
        "and do not replace it before the job has ended"
    )


def _missing(path: Path) -> InvalidInput:
    return InvalidInput(
        f"there is no bundle {path} on this machine: put it at the same path on every machine, or have the engine send "
        "it (Spark: ship=True)"
    )
