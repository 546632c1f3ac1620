"""``python -m benchmarks.changes --sizes 1 10``: whether a change costs what it changes, beside the commit before.

Generated lists, made and signed once and kept in a cache directory; each commit publishes and syncs its own repository,
served over loopback by a process of its own. Each measure is a process of its own, and the commits take turns. A
measure that fails is reported, and the others go on.
"""

import argparse
import hashlib
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from benchmarks import heads, long_lists
from benchmarks.change_measures import About
from benchmarks.change_rows import BEFORE, BESIDE, NOW, Figures, others_table, rows_of, table
from benchmarks.long_lists import FIRST, FULL, Plan
from benchmarks.results import machine
from benchmarks.server import served

_HERE: Final = Path(__file__).parents[1]
_COMMIT_BEFORE: Final = "004c60c"
"""The last commit that wrote each generation whole."""

_MILLION: Final = 1_000_000
_WORK: Final = "work-"
_WATCH_S: Final = 0.005
_TIMEOUT_S: Final = 7200


@dataclass(frozen=True, slots=True)
class _Measure:
    """How a measure is run.

    Attributes:
        name: as in `change_measures.MEASURES`, or `wire`.
        at: the head that the recipient has to have; None if it needs none.
        leaves: the head that it has afterwards; None for the same.
        needs: another measure that the recipient has to have gone through before, at the same head.
        once: in the first round only, since it has enough samples, or takes long.
        times: processes in each round.
        beside: not of a commit, but of what others do.
        is_asked_for: only if it is named.
    """

    name: str
    at: str | None = None
    leaves: str | None = None
    needs: str | None = None
    once: bool = False
    times: int = 1
    beside: bool = False
    is_asked_for: bool = False


def _measures(plan: Plan) -> tuple[_Measure, ...]:
    """All measures, in an order in which few of them need a list that is brought there for them alone."""
    deltas, few = plan.delta_heads[-1], plan.few_heads[-1]
    chain = [_Measure("chain", at=few, leaves=plan.chain_heads[-1], once=True)] if plan.chain else []
    return (
        _Measure("wire", once=True),
        _Measure("digest"),
        _Measure("cold", leaves=FIRST),
        _Measure("plain", beside=True),
        _Measure("opened", at=FIRST, times=5),
        _Measure("lookups", at=FIRST, times=2),
        _Measure("screening", at=FIRST),
        _Measure("deltas", at=FIRST, leaves=deltas),
        _Measure("idle", at=deltas),
        _Measure("differences", at=deltas),
        _Measure("enforcement-first", at=deltas),
        _Measure("enforcement", at=deltas, leaves=few, needs="enforcement-first"),
        *chain,
        _Measure("lookups-full", at=FULL, times=2),
        _Measure("publish", once=True),
        _Measure("set", beside=True, once=True, is_asked_for=True),
        _Measure("sqlite", beside=True, once=True, is_asked_for=True),
    )


NAMES: Final = tuple(each.name for each in _measures(Plan(100, 1)))


@dataclass(slots=True)
class _Side:
    """A commit, or what others do, at one length.

    Attributes:
        whose: `NOW`, `BEFORE` or `BESIDE`.
        environment: of its processes.
        about: what they work on.
        head: which release its recipient has; None if that is not known.
        done: the measures that its recipient has gone through since it began with nothing.
    """

    whose: str
    environment: Mapping[str, str]
    about: About
    head: str | None = None
    done: set[str] = field(default_factory=set)


class _Failed(Exception):
    """A measure did not end well; the message is the last that it said."""


def measure(rows: int, arguments: argparse.Namespace, commits: Mapping[str, Path], figures: Figures) -> None:
    """All measures at one length.

    Args:
        rows: of the list.
        arguments: of the command.
        commits: the checkouts, by whose.
        figures: where to note what is found.
    """
    plan = Plan(rows, arguments.chain if rows <= arguments.chain_most * _MILLION else 0)
    wanted = [each for each in _measures(plan) if _is_wanted(each, arguments)]
    arguments.cache.mkdir(parents=True, exist_ok=True)
    _say(f"{rows:,} rows: making lists …")
    lists = long_lists.ready(plan, arguments.cache)
    _remove_left_over(arguments.cache)
    with ExitStack() as stack:
        work = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix=f"{_WORK}{os.getpid()}-", dir=arguments.cache))
        )
        sides = []
        for whose, checkout in commits.items():
            try:
                sides.append(stack.enter_context(_side(whose, checkout, plan, lists, work, arguments.cache)))
            except _Failed as error:
                _say(f"  {whose}: {error}")
                figures.fail(rows, whose, "publishing", str(error))
                for each in wanted:
                    if not each.beside:
                        figures.fail(rows, whose, each.name, f"nothing could be published: {error}")
        if not sides:
            return
        beside = _beside(sides[-1], work)
        for turn in range(arguments.rounds):
            for each in wanted:
                if each.once and turn:
                    continue
                in_turn = [beside] if each.beside else sides[:: 1 if turn % 2 == 0 else -1]
                for _ in range(each.times):
                    for side in in_turn:
                        _run(each, side, plan, figures)


def _is_wanted(each: _Measure, arguments: argparse.Namespace) -> bool:
    if arguments.only:
        return each.name in arguments.only
    return arguments.peers or not each.is_asked_for


def _run(each: _Measure, side: _Side, plan: Plan, figures: Figures) -> None:
    """Run a measure once, and note what it found, or why it failed."""
    started = time.monotonic()
    try:
        found = _found(each, side, plan)
    except _Failed as error:
        side.head = None
        figures.fail(plan.rows, side.whose, each.name, str(error))
        _say(f"  {each.name}, {side.whose}: failed: {error}")
        return
    figures.add(plan.rows, side.whose, found)
    _say(f"  {each.name}, {side.whose}: {time.monotonic() - started:.1f} s")


def _found(each: _Measure, side: _Side, plan: Plan) -> dict[str, Any]:
    folder = Path(side.about.folder)
    if each.name == "wire":
        return {"wire": heads.snapshot_of(folder).stat().st_size / plan.rows}
    if each.at is not None:
        _bring(side, each.at, plan)
    if each.needs is not None and each.needs not in side.done:
        _process(each.needs, side.about, side.environment)
    if each.name == "publish":
        shutil.rmtree(side.about.publisher, ignore_errors=True)
        heads.copied(folder / "publisher-first", Path(side.about.publisher))
    if each.name == "cold":
        side.done.clear()
    found = _process(each.name, side.about, side.environment)
    side.head = each.leaves or side.head
    side.done.add(each.name)
    return found


def _bring(side: _Side, head: str, plan: Plan) -> None:
    """Bring the recipient to a release, unless it is there."""
    if side.head == head:
        # The repository may be at another one, since another measure failed or none ran since.
        side.about.let(head)
        return
    order = {name: at for at, name in enumerate(plan.heads)}
    is_behind = side.head in order and head in order and order[side.head] < order[head]
    anew = not is_behind and not (side.head == FIRST and head == FULL)
    side.head = None
    if anew:
        side.done.clear()
    _process("bring", replace(side.about, head=head, anew=anew), side.environment)
    side.head = head


def _process(name: str, about: About, environment: Mapping[str, str]) -> dict[str, Any]:
    """Run a measure in a process, and watch the memory of it that is in no file."""
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as folder:
        path, out, err = (Path(folder) / each for each in ("about.json", "out", "err"))
        path.write_text(about.to_json(), encoding="utf-8")
        with out.open("wb") as output, err.open("wb") as errors:
            process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.change_measures", name, str(path)],
                cwd=_HERE,
                env=environment,
                stdout=output,
                stderr=errors,
            )
            try:
                peak = _watched(process)
            finally:
                process.kill()
                process.wait()
        if process.returncode:
            lines = err.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            raise _Failed(lines[-1][:300] if lines else f"it ended with {process.returncode}")
        text = out.read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text) if text.strip() else {}
    before = found.pop("memory_before", None)
    return found if before is None else {**found, f"{name}_memory": peak - before}


def _watched(process: "subprocess.Popen[bytes]") -> int:
    """Wait for a process; the most of its memory that was in no file, in bytes."""
    peak, end = 0, time.monotonic() + _TIMEOUT_S
    status = Path(f"/proc/{process.pid}/status")
    while process.poll() is None:
        try:
            found = re.search(r"RssAnon:\s+(\d+) kB", status.read_text())
        except OSError:
            found = None
        peak = max(peak, 1024 * int(found[1]) if found else 0)
        if time.monotonic() > end:
            raise _Failed(f"it was still running after {_TIMEOUT_S:,} s")
        time.sleep(_WATCH_S)
    return peak


# What is prepared


def _remove_left_over(cache: Path) -> None:
    """Remove what runs that were killed have left: gigabytes."""
    for path in cache.glob(f"{_WORK}*-*"):
        if not Path("/proc", path.name.removeprefix(_WORK).partition("-")[0]).exists():
            shutil.rmtree(path, ignore_errors=True)


def _commit_of(checkout: Path) -> str:
    """What is checked out, as git names it."""
    command = ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--exclude", "*"]
    run = subprocess.run(command, capture_output=True, text=True)
    return run.stdout.strip() or "unknown"


@contextmanager
def _side(whose: str, checkout: Path, plan: Plan, lists: Path, work: Path, cache: Path) -> Iterator[_Side]:
    """A commit with its repository, published and served."""
    environment = {**os.environ, "PYTHONPATH": str(checkout / "src")}
    folder = _published(checkout, plan, lists, cache, environment)
    # By the same server for all.
    ours = {**os.environ, "PYTHONPATH": str(_HERE / "src")}
    with served(folder / "publisher" / "repository", environment=ours) as url:
        yield _Side(
            whose,
            environment,
            About(
                rows=plan.rows,
                chain=plan.chain,
                lists=str(lists),
                folder=str(folder),
                url=url,
                recipient=str(work / whose),
                publisher=str(work / f"{whose}-publisher"),
            ),
        )


def _beside(side: _Side, work: Path) -> _Side:
    """What others do with the same files."""
    return _Side(BESIDE, side.environment, replace(side.about, recipient=str(work / BESIDE)))


def _published(checkout: Path, plan: Plan, lists: Path, cache: Path, environment: Mapping[str, str]) -> Path:
    """The repository of a commit, published if that was not done yet.

    Raises:
        _Failed: it cannot be published.
    """
    folder = cache / f"{plan.folder}-{_form_of(checkout)}"
    if folder.exists():
        return folder
    _say(f"  publishing with {checkout} …")
    making = cache / f".{folder.name}.{secrets.token_hex(4)}"
    making.mkdir()
    about = making / "about.json"
    about.write_text(
        json.dumps({"rows": plan.rows, "chain": plan.chain, "lists": str(lists), "folder": str(making)}),
        encoding="utf-8",
    )
    try:
        run = subprocess.run(
            [sys.executable, "-m", "benchmarks.long_repository", str(about)],
            cwd=_HERE,
            env=environment,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
        )
        if run.returncode:
            raise _Failed(run.stderr.strip().splitlines()[-1][:300])
        os.replace(making, folder)
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return folder


def _form_of(checkout: Path) -> str:
    """A name for the form in which a commit publishes: of its sources, so that a change of them publishes anew."""
    hashed = hashlib.sha256(Path(__file__).with_name("long_repository.py").read_bytes())
    for path in sorted((checkout / "src" / "blocklist_sdk" / "release").glob("*.py")):
        hashed.update(path.name.encode() + b"\0" + path.read_bytes())
    return hashed.hexdigest()[:12]


def _commit_before(cache: Path) -> Path:
    """A checkout of the commit before, made if it is not there."""
    checkout = cache / f"commit-{_COMMIT_BEFORE}"
    if not checkout.exists():
        cache.mkdir(parents=True, exist_ok=True)
        command = ["git", "-C", str(_HERE), "worktree", "add", "--detach", str(checkout), _COMMIT_BEFORE]
        subprocess.run(command, check=True, capture_output=True)
    return checkout


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.changes", description=__doc__)
    parser.add_argument(
        "--sizes", default=[1, 10], nargs="+", type=float, metavar="M", help="millions of rows (default: 1 10)"
    )
    parser.add_argument(
        "--before", metavar="DIR", help=f"a checkout of the commit before, or `none` (default: {_COMMIT_BEFORE}, made)"
    )
    parser.add_argument(
        "--before-most", default=10, type=float, metavar="M", help="the longest lists it is measured on (default: 10)"
    )
    parser.add_argument("--only", default=[], nargs="+", metavar="NAME", help=f"some of {', '.join(NAMES)}")
    parser.add_argument("--peers", action="store_true", help="measure what others do as well: a set, and SQLite")
    parser.add_argument("--rounds", default=3, type=int, metavar="N", help="how often, by turns (default: 3)")
    parser.add_argument("--chain", default=100, type=int, metavar="N", help="deltas in a row (default: 100)")
    parser.add_argument(
        "--chain-most", default=10, type=float, metavar="M", help="the longest lists with such a chain (default: 10)"
    )
    parser.add_argument("--cache", type=Path, metavar="DIR", help="where lists and repositories are kept")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there as well")
    arguments = parser.parse_args(given)
    if unknown := set(arguments.only) - set(NAMES):
        parser.error(f"there is no measure {min(unknown)!r}: there are {', '.join(NAMES)}")
    if min(arguments.sizes) * _MILLION < 1_000 or arguments.rounds < 1 or arguments.chain < 1:
        parser.error("give at least 0.001 million rows, one round and a chain of one delta")
    if arguments.before not in (None, "none") and not (Path(arguments.before) / "src" / "blocklist_sdk").is_dir():
        parser.error(f"--before is {arguments.before!r}, not a checkout: it has no src/blocklist_sdk")
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    arguments.cache = (arguments.cache or Path(home) / "blocklist-sdk-benchmarks").resolve()
    if arguments.cache.is_relative_to(_HERE):
        parser.error("--cache lies in the repository: give a folder elsewhere, since lists are large")
    return arguments


def main(given: Sequence[str] | None = None) -> int:
    """Measure, print, write; 1 if a measure failed."""
    arguments = _arguments(given)
    commits = {NOW: _HERE}
    if arguments.before != "none":
        before = Path(arguments.before).resolve() if arguments.before else _commit_before(arguments.cache)
        commits = {BEFORE: before, **commits}
    figures = Figures()
    for size in arguments.sizes:
        measured = commits if size <= arguments.before_most else {NOW: _HERE}
        measure(round(size * _MILLION), arguments, measured, figures)
    results, about = rows_of(figures), machine()
    print(
        f"Generated rows; medians, with the least and the most; {arguments.rounds} rounds; "
        f"{', '.join(f'{k} {v}' for k, v in about.items())}\n"
    )
    print(table(results))
    if others := others_table(figures):
        print(f"\n{others}")
    if arguments.json:
        document = {
            "generated": True,
            "rounds": arguments.rounds,
            "commits": {whose: _commit_of(checkout) for whose, checkout in commits.items()},
            "machine": about,
            "results": [{**asdict(row), "met": row.met} for row in results],
            "samples": figures.samples,
            "failures": figures.failures,
        }
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return 1 if figures.failures else 0


if __name__ == "__main__":
    # So that processes are ended and folders removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    sys.exit(main())
