"""A conformance kit: whether a reader, in whatever language, reads and refuses what the protocol says.

`python -m blocklist_sdk.conformance COMMAND` runs it; ``docs/reference/conformance.md`` has the contract between the
kit and a reader. `run_kit` does the same in Python.
"""

from blocklist_sdk.conformance.kit import run_kit
from blocklist_sdk.conformance.results import CaseResult, KitResult
from blocklist_sdk.conformance.talk import CommandReader, Reader, ReaderFailed

__all__ = ["CaseResult", "CommandReader", "KitResult", "Reader", "ReaderFailed", "run_kit"]
