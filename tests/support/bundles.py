"""Bundles of generated lists, and what somebody makes of them who can write the file and has no key."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from blocklist_sdk.recipient.bundle.container import SUMS, ArchiveWriter, members_of
from support.world import FEED, FIRST, World

LISTED = """number,last,level,category,scope,since,until
+6281200000001,,block,fraud,sms+voice,2019-01-01,
+6281200000002,,block,phishing,sms,2019-01-01,2099-01-01
+6281200000003,,advisory,spam,sms+voice,2019-01-01,
+6281200000004,,block,fraud,messaging,2019-01-01,2020-01-01
+6281300000000,+6281300000099,block,fraud,sms+voice,2019-01-01,
+6281300000050,+6281300000060,advisory,spam,sms,2019-01-01,
+6281300000055,,block,fraud,voice,2019-01-02,
+6281500000009,,block,fraud,sms+voice,2019-01-01,
"""
"""Single numbers and ranges, which overlap, of several scopes, levels and ends; the last one is protected."""

PROTECTED = "+6281500000009"
NEXT = (
    LISTED.replace("+6281200000002,,block", "+6281200000002,,advisory")
    + "+6281200000005,,block,fraud,sms,2019-01-01,\n"
)
"""The next release: one entry changed, one added."""

MORE = "".join(f"{number},,block,spam,sms,2019-01-01,\n" for number in FIRST[1:])
"""With these a delta is shorter than a snapshot."""

ASKED = [
    *(6281200000000 + i for i in range(7)),
    *(6281300000000 + i for i in (-1, 0, 1, 49, 50, 54, 55, 56, 60, 61, 99, 100)),
    6281500000009,
]


def release(world: World, text: str, feed: str = FEED) -> None:
    source = world.directory / "list.csv"
    source.write_text(text)
    world.publisher.release(feed, source)


def contents_of(bundle: Path) -> dict[str, bytes]:
    """The members of a bundle, without the hashes."""
    data = memoryview(bundle.read_bytes())
    return {
        each.name: bytes(data[each.offset : each.offset + each.length])
        for each in members_of(data)
        if each.name != SUMS
    }


def write_archive(bundle: Path, members: Mapping[str, bytes]) -> Path:
    """An archive with these members, and hashes that are theirs."""
    bundle.touch()
    with ArchiveWriter(bundle) as archive:
        for name, data in members.items():
            archive.add(name, data)
        archive.finish()
    return bundle


def doctored(bundle: Path, target: Path, changes: Mapping[str, bytes | None], *, order: Sequence[str] = ()) -> Path:
    """A copy with some members changed, added at their end, or left out (None), and every hash made anew."""
    members = contents_of(bundle)
    for name, data in changes.items():
        if data is None:
            del members[name]
        else:
            members[name] = data
    return write_archive(target, {name: members[name] for name in order or members})
