"""What a sync mapped to build a list is let go with it, not when the garbage collector happens to come."""

import gc
import re
from pathlib import Path

import pytest

from support.world import make_world

MAPS = Path("/proc/self/maps")


def mapped_and_removed(below: Path) -> list[str]:
    """Files that this process still has mapped, and that have no name any more."""
    return re.findall(rf"{re.escape(str(below))}/\S+ \(deleted\)", MAPS.read_text())


@pytest.mark.skipif(not MAPS.exists(), reason="this system does not tell what a process has mapped")
def test_a_sync_keeps_no_file_mapped_that_it_only_built_with(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    world.release(f"+{number}" for number in range(6_281_200_000_000, 6_281_200_003_000))
    recipient = world.recipient()
    gc.collect()
    gc.disable()
    try:
        assert recipient.sync().after == 2
        assert mapped_and_removed(tmp_path) == []
    finally:
        gc.enable()
