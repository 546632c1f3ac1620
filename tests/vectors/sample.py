"""The sample: a whole repository, at its first, second and third release."""

from dataclasses import dataclass
from typing import Any, Final

from tuf.api.metadata import TargetFile

from vectors.keys import key
from vectors.repository import FEED, OTHER_FEED, Release, Repository
from vectors.rows import Row, delta, digest_of, in_order, ms, row, snapshot

NOW: Final = "2026-06-15T12:00:00Z"
"""The moment at which the vectors are read, where no step says otherwise."""

PUBLISHED: Final = ("2026-01-05T06:00:00Z", "2026-02-05T06:00:00Z", "2026-03-05T06:00:00Z")
PROTECTED: Final = 6281200000013
_ADVISORY: Final[dict[str, Any]] = {"level": "advisory", "category": "spam", "scope": "messaging"}


def first() -> list[Row]:
    return in_order(
        [
            row(1, 6281200000001),
            row(2, 6281200000002, **_ADVISORY),
            row(3, 6281200000003, until=ms("2026-12-31T00:00:00Z")),
            row(4, 6281200000004, until=ms("2026-03-01T00:00:00Z")),
            row(5, 6281200000005, since=ms("2026-09-01T00:00:00Z")),
            row(6, 6281200000006, **_ADVISORY),
            row(7, 6281200000006, issuer="bank-indonesia", category="phishing"),
            row(8, 6281200000007),
            row(9, 6281200000007, issuer="bank-indonesia"),
            row(10, 6281200000100, 6281200000199, scope="voice"),
            row(11, 6281200000150, 6281200000249, **_ADVISORY),
            row(12, 6281200000100, **_ADVISORY),
            row(13, 6281200000010, 6281200000019),
            row(14, 6281200000008, level="watch"),
            row(15, 6281200000009, category="sim-swap", scope="fax+voice", issuer="Kementerian – Ωmega"),
            row(16, 999999999999999, scope="data+messaging+sms+voice"),
            row(17, 6281200000400, until=ms("2026-06-15T12:00:00Z")),
            row(18, 6281200000401, since=ms("2026-06-15T12:00:00Z")),
            row(19, 6281200000402, until=ms("2026-02-01T00:00:00Z")),
            row(20, 6281200000402, since=ms("2026-09-01T00:00:00Z"), issuer="bank-indonesia"),
        ]
    )


def second() -> tuple[list[Row], list[Row]]:
    """What the second release puts and removes."""
    before = by_entry(first())
    puts = [
        {**before[1], "category": "phishing"},
        {**before[4], "until": ms("2026-08-01T00:00:00Z")},
        row(21, 6281200000021),
        row(22, 6281200000300, 6281200000309),
        row(24, 6281200000500, since=ms("2026-02-04T00:00:00Z")),
    ]
    return puts, [before[entry] for entry in (7, 8, 12)]


def third() -> tuple[list[Row], list[Row]]:
    """What the third release puts and removes."""
    before = by_entry(applied(first(), *second()))
    puts = [{**before[3], "until": None}, row(23, 6281200000300, 6281200000304), row(25, 6281200000025)]
    return puts, [before[21], before[22]]


def by_entry(rows: list[Row]) -> dict[int, Row]:
    return {each["entry"]: each for each in rows}


def applied(rows: list[Row], puts: list[Row], removes: list[Row]) -> list[Row]:
    kept = by_entry(rows)
    for each in removes:
        del kept[each["entry"]]
    return in_order((kept | by_entry(puts)).values())


@dataclass(frozen=True, slots=True)
class Sample:
    """The repository at each release.

    Attributes:
        stages: the repository as it was at the releases 1, 2 and 3.
        releases: the releases.
        rows: the rows of each.
    """

    stages: tuple[Repository, ...]
    releases: tuple[Release, ...]
    rows: tuple[list[Row], ...]

    @property
    def pinned(self) -> bytes:
        """The first root, which readers pin; the second release has come with another one."""
        return self.stages[0].files["metadata/1.root.json"]


def release(
    serial: int,
    rows: list[Row],
    *,
    delta: bytes | None = None,
    snapshot: bytes | None = None,
    digest: str | None = None,
) -> Release:
    """A release of rows, published when the sample's release of that serial is."""
    published = PUBLISHED[serial - 1] if serial <= len(PUBLISHED) else f"2026-04-{serial:02}T06:00:00Z"
    return Release(serial, published, len(rows), digest or digest_of(rows), snapshot=snapshot, delta=delta)


def build() -> Sample:
    lists = [first()]
    for changes in (second(), third()):
        lists.append(applied(lists[-1], *changes))
    releases = (
        release(1, lists[0], snapshot=snapshot(lists[0])),
        release(2, lists[1], delta=delta(*second())),
        release(3, lists[2], delta=delta(*third()), snapshot=snapshot(lists[2])),
    )
    repository = Repository.new([PROTECTED])
    other = [row(1, 6281100000001)]
    repository.offer([release(1, other, snapshot=snapshot(other))], feed=OTHER_FEED)
    repository.offer(releases[:1], last_entry=20)
    stages = [repository.copy()]
    rotate_root(repository)
    repository.offer(releases[:2], last_entry=24)
    stages.append(repository.copy())
    repository.offer(releases, last_entry=25, change=lambda index: index.update(remark="A field of a later version."))
    stages.append(repository)
    return Sample(tuple(stages), releases, tuple(lists))


def rotate_root(repository: Repository) -> None:
    """A key of the root gives way to another one; two of the old keys sign, who are two of the new ones as well."""
    root = repository.roles["root"]
    root.revoke_key(key("root-1").public_key.keyid, "root")
    root.add_key(key("root-4").public_key, "root")
    repository.signers["root"] = ["root-2", "root-3"]
    repository.sign("root")


def target_of(repository: Repository, path: str) -> TargetFile:
    target: TargetFile = repository.roles[FEED].targets[path]
    return target
