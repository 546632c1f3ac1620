"""Mirrors: verified copies of a repository, for networks that do not reach it.

Names load when they are first used.
"""

from typing import TYPE_CHECKING

from blocklist_sdk.lazy import attach

if TYPE_CHECKING:
    from blocklist_sdk.mirror.run import MirrorResult as MirrorResult
    from blocklist_sdk.mirror.run import mirror as mirror

attach(__name__, {"MirrorResult": "run", "mirror": "run"})
