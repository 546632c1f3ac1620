"""A range decides about numbers far from its own row, so a delta is not built on ranges that are damaged."""

from pathlib import Path

import pytest

from blocklist_sdk.recipient.blocklist import internals_of
from blocklist_sdk.recipient.sync import scrub
from blocklist_sdk.release import arrow_files
from support.world import make_world

FIRST, RANGE = 6_281_100_000_000, 6_281_300_000_000
LISTED = [f"+{FIRST + i}" for i in range(20_000)]
RANGES = [f"+{RANGE + i * 1_000}-+{RANGE + i * 1_000 + 511}" for i in range(200)]


@pytest.mark.parametrize("bit", [256, 1 << 30], ids=["shorter", "longer"])
def test_a_delta_is_not_built_on_a_range_whose_end_was_flipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bit: int
) -> None:
    monkeypatch.setattr(arrow_files, "_END_BYTES", 512)
    monkeypatch.setattr(scrub, "AT_ONCE_BYTES", 1_000)  # as in a long list
    world = make_world(tmp_path)
    world.release([*LISTED, *RANGES])
    inside, beyond = f"+{RANGE + 100_000 + 500}", f"+{RANGE + 500_000}"
    with world.recipient(is_guarded=False) as recipient:
        recipient.sync()
        assert (inside in recipient, beyond in recipient) == (True, False)
        current = internals_of(recipient).store.current()
        assert current
        path = internals_of(recipient).store.directory / "generations" / current.generation / "rows.arrow"
        data, last = path.read_bytes(), RANGE + 100_000 + 511
        at = data.index(last.to_bytes(8, "little"))
        path.write_bytes(data[:at] + (last ^ bit).to_bytes(8, "little") + data[at + 8 :])
        world.release([*LISTED[1:], *RANGES, f"+{RANGE + 100_600}"])
        assert recipient.sync().kind == "snapshot"
        assert (inside in recipient, beyond in recipient) == (True, False)
        assert LISTED[0] not in recipient
        assert not recipient.verify().problems
