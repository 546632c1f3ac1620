"""Mirrors: verified copies of a repository, for networks that do not reach it."""

from blocklist_sdk.mirror.run import MirrorResult as MirrorResult
from blocklist_sdk.mirror.run import mirror as mirror

__all__ = ["MirrorResult", "mirror"]
