"""What decides whether a file is evidence: the protocol that `EvidenceStore` uses, and the error that refuses a file.

An authority that takes other types of files, or scans files for malware, passes a judge of its own to `Exchange.open`.
A judge may ask another one first::

    class ScanningJudge:
        extensions = MediaJudge.extensions

        def judge(self, content: Content) -> str:
            media_type = MediaJudge().judge(content)
            if scanner.finds_malware(content):
                raise Unfit("it holds malware")
            return media_type
"""

import mmap
from collections.abc import Mapping
from typing import Protocol

Content = bytes | mmap.mmap
"""A whole file, only to be read. A mapped one takes no memory of its own."""


class Unfit(Exception):
    """A file is not evidence.

    Attributes:
        reason: why, as part of a sentence that begins with the file; it is shown to the sender.
        known: whether the file is of a type that the judge takes, but damaged or unsafe; otherwise its type is refused.
    """

    def __init__(self, reason: str, *, known: bool = True) -> None:
        super().__init__(reason)
        self.reason = reason
        self.known = known


class Judge(Protocol):
    """Decides by a file's content alone whether it is evidence, and of which media type.

    Files come from strangers: a judge reads them and never runs or unpacks them without a limit. It is called in many
    threads at a time.
    """

    @property
    def extensions(self) -> Mapping[str, str]:
        """The media types that `judge` returns, and for each the extension of a downloaded file, without a dot.

        Officers download files of other types, such as those that an earlier judge took, with the extension ``bin``.
        """

    def judge(self, content: Content) -> str:
        """Return a file's media type, at most 64 characters; one of `extensions`.

        Args:
            content: the file; it is not empty.

        Raises:
            Unfit: the file is not evidence. Nothing of it is kept.
        """
