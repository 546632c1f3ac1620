"""The audit heads that a recipient has seen: of one feed, of several, or of all in its directory."""

from collections.abc import Iterable

from blocklist_sdk.errors import Malformed
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


def record_of_directory(own: AuditFile) -> AuditRecord:
    """What was seen of a feed and of all others in the same state directory, which are one authority's.

    Args:
        own: the feed's file.

    Raises:
        StorageFailed: a file cannot be read.
    """
    others = own.path.parent.parent.glob(f"*/{own.path.name}")
    return record_of(map(AuditFile, sorted({own.path, *others})))
