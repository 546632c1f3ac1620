"""A cache that another user has laid in a folder where everybody may write: no list is put there."""

import os
from pathlib import Path

import pytest

from blocklist_sdk import InvalidInput
from support.world import make_world


@pytest.mark.parametrize("as_link", [False, True])
def test_no_list_is_put_into_a_strangers_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_link: bool) -> None:
    """Whoever owns it can put another generation into the place of the verified one."""
    world = make_world(tmp_path / "world")
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    laid = shared / "cache"
    if as_link:
        (shared / "real").mkdir()
        laid.symlink_to("real")
    else:
        laid.mkdir()
    own = os.geteuid()
    if own == 0:
        os.lchown(laid, 12345, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
    recipient = world.recipient(cache="../shared/cache")
    with pytest.raises(InvalidInput, match="another user"):
        recipient.sync()
    assert list(laid.iterdir()) == []
    if own == 0:
        os.lchown(laid, 0, -1)
        recipient.sync()
        assert recipient.status().serial == 1
