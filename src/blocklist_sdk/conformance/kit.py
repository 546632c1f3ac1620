"""The kit: every case from its first step to its last, with a cache of its own."""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from blocklist_sdk.conformance.judge import wrong
from blocklist_sdk.conformance.results import CaseResult, KitResult
from blocklist_sdk.conformance.server import CaseServer, serving
from blocklist_sdk.conformance.talk import CommandReader, Reader, ReaderFailed
from blocklist_sdk.conformance.vectors import Case, cases, folder
from blocklist_sdk.places import temporary_directory


def selected(only: Sequence[str] = ()) -> tuple[Case, ...]:
    """The cases whose name or group is one of `only`, where ``*`` stands for anything; all of them if it is empty.

    >>> [case.name for case in selected(["order*"])]
    ['order', 'order-sorted', 'order-entries']
    """
    return tuple(
        case
        for case in cases()
        if not only or any(fnmatchcase(name, each) for each in only for name in (case.name, case.group))
    )


def run_kit(reader: Reader, *, only: Sequence[str] = (), strict: bool = False, jobs: int = 1) -> KitResult:
    """Ask a reader what the protocol's vectors ask, and judge its answers.

    Args:
        reader: the reader: a `CommandReader`, or any function of an action and a document.
        only: names of cases or groups; ``*`` stands for anything. All of them if it is empty.
        strict: whether what is not required counts as well.
        jobs: how many cases run at once; more than one only with a reader that may be called by several threads, as a
            `CommandReader` may.

    Raises:
        InvalidInput: this installation has no vectors.
        OSError: the reader cannot be started.

    >>> from blocklist_sdk.conformance.reader import answer
    >>> run_kit(answer, only=["digest"]).summary()
    '10 of 10 cases passed. The reader conforms.'
    """
    with (
        serving() as server,
        temporary_directory(prefix="blocklist-conformance-") as caches,
        ThreadPoolExecutor(max_workers=jobs) as pool,
    ):
        results = pool.map(lambda case: _run(case, reader, server, caches / case.name), selected(only))
        try:
            return KitResult(tuple(results), strict)
        except BaseException:  # Ctrl-C above all: nobody waits for what a program may still answer
            if isinstance(reader, CommandReader):
                reader.stop()
            raise


def _run(case: Case, reader: Reader, server: CaseServer, cache: Path) -> CaseResult:
    about = (case.name, case.group, case.about, case.required, case.may_be_left_out)
    for position, step in enumerate(case.steps, start=1):
        server.layers[case.name] = step.get("layers", [])
        try:
            answer = reader(step["do"], _document(step, server.url(case.name), cache))
        except ReaderFailed as error:
            problem: str | None = str(error)
        else:
            if answer.get("error") == "not-offered" and not case.required:
                return CaseResult(*about, "not-offered")
            problem = wrong(step, answer)
        if problem is not None:
            where = f"step {position} of {len(case.steps)}, {step['do']}: " if len(case.steps) > 1 else ""
            return CaseResult(*about, "failed", where + problem)
    return CaseResult(*about, "passed")


def _document(step: Mapping[str, Any], url: str, cache: Path) -> dict[str, Any]:
    """What a reader gets of a step: never the answer that is expected."""
    match step["do"]:
        case "sync":
            root = folder() / "repositories" / step["root"]
            return {"url": url, "feed": step["feed"], "root": str(root), "cache": str(cache), "now": step["now"]}
        case "check":
            questions = _only(step["answers"], "number", "scope")
            return {"feed": step["feed"], "cache": str(cache), "now": step["now"], "questions": questions}
        case "look-ups":
            questions = _only(step["answers"], "text", "region", "form", "scope")
            return {"feed": step["feed"], "cache": str(cache), "now": step["now"], "questions": questions}
        case "digest":
            return {"rows": step["rows"]}
        case "plans":
            return {"plans": _only(step["asked"], "have", "era", "index")}
        case _:
            return {"texts": _only(step["asked"], "text", "region", "form")}


def _only(items: Iterable[Mapping[str, Any]], *names: str) -> list[dict[str, Any]]:
    return [{name: item[name] for name in names} for item in items]
