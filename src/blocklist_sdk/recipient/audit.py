"""The audit heads that a recipient has seen: of one feed, of several, or of all in its directory."""

from collections.abc import Iterable
from pathlib import Path

from blocklist_sdk.errors import Malformed
from blocklist_sdk.recipient.blocklist import Blocklist, internals_of
from blocklist_sdk.recipient.cache.audit_file import AuditFile
from blocklist_sdk.release.audit import AuditRecord, SeenAuditHead, contradictions


def record_of(files: Iterable[AuditFile]) -> AuditRecord:
    """What is in some feeds' files, checked together.

    Raises:
        StorageFailed: a file cannot be read.
    """
    heads: list[SeenAuditHead] = []
    problems: list[str] = []
    for file in files:
        for found in file.read():
            if isinstance(found, Malformed):
                problems.append(str(found))
            else:
                heads.append(found)
    problems += contradictions(heads)
    return AuditRecord(tuple(heads), tuple(problems))


def record_of_directory(blocklist: Blocklist) -> AuditRecord:
    """What was seen of a list's feed and of all others in the same state directory, which are one authority's.

    Raises:
        StorageFailed: a file cannot be read.
    """
    own: Path = internals_of(blocklist).audit_file.path
    others = own.parent.parent.glob(f"*/{own.name}")
    return record_of(map(AuditFile, sorted({own, *others})))
