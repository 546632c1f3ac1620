"""Jobs: what starts one finds every fault first, and each process opens the same bundle once."""

import pickle
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn

import pyarrow as pa
import pytest

from blocklist_sdk import Blocklist, InvalidInput, Stale, StorageFailed, Untrusted, times
from blocklist_sdk.numbers import FormDecision
from blocklist_sdk.recipient import jobs
from blocklist_sdk.recipient.jobs import ScreeningJob, start_job
from support.world import FEED, FIRST, LISTED, World, make_world

ENDS = datetime(2099, 1, 1, tzinfo=UTC)
ENDING = "+6281300000001"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    world = make_world(tmp_path_factory.mktemp("world"))
    source = world.directory / "ending.csv"
    source.write_text("number,until\n" + "".join(f"{n},\n" for n in FIRST) + f"{ENDING},{times.iso(ENDS)}\n")
    world.publisher.release(FEED, source)
    recipient = world.recipient()
    recipient.sync()
    recipient.bundle(world.directory / "list.bundle")
    return world


@pytest.fixture
def bundle(world: World, tmp_path: Path) -> Path:
    return Path(shutil.copyfile(world.directory / "list.bundle", tmp_path / "list.bundle"))


def undecided() -> NoReturn:
    raise AssertionError("the form was declared")


def started(world: World, bundle: Path, **arguments: Any) -> ScreeningJob:
    root: Any = world.directory / "publisher" / "root.json"
    defaults: dict[str, Any] = {"root": root, "region": "ID", "form": "national", "scope": None, "protected": ()}
    defaults |= {"overrides": False, "when_stale": "serve", "min_release": None, "decide_form": undecided}
    return start_job(bundle, **(defaults | arguments))


def blocked(job: ScreeningJob, bundle: Path, *texts: str | None) -> list[bool | None]:
    found: list[bool | None] = job.screening(bundle).batch(pa.array(texts, pa.string())).column("blocked").to_pylist()
    return found


def test_a_job_goes_to_other_processes_and_says_which_release_answers(world: World, bundle: Path) -> None:
    job = pickle.loads(pickle.dumps(started(world, bundle)))
    assert blocked(job, bundle, LISTED, "0899-0000-0000", "GoPay", None) == [True, False, None, None]
    status = world.recipient().status()
    assert (job.release.feed, job.release.era, job.release.serial) == (FEED, 1, 2)
    assert (job.release.digest, job.release.as_of, job.release.stale) == (status.digest, status.as_of, False)


def test_another_process_answers_alike(world: World, bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "job").write_bytes(pickle.dumps(started(world, bundle)))
    code = (
        "import pickle, sys, pyarrow as pa\n"
        "job = pickle.load(open(sys.argv[1], 'rb'))\n"
        "print(job.screening(sys.argv[2]).batch(pa.array(sys.argv[3:])).column('blocked').to_pylist())\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "job"), str(bundle), LISTED, "0899-0000-0000"]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == "[True, False]\n"


def test_a_process_opens_a_bundle_once_for_all_parts(
    world: World, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Path] = []
    opening = Blocklist.open_bundle

    def counted(path: Path, **arguments: Any) -> Blocklist:
        opened.append(path)
        return opening(path, **arguments)

    job = started(world, bundle)
    monkeypatch.setattr(Blocklist, "open_bundle", counted)
    for _ in range(3):
        assert blocked(job, bundle, LISTED) == [True]
    assert blocked(replace(job, scope="sms"), bundle, LISTED) == [True]
    assert opened == [bundle]
    for i in range(3):
        other = Path(shutil.copyfile(bundle, bundle.with_name(f"{i}.bundle")))
        assert blocked(job, other, LISTED) == [True]
    assert len(jobs._kept) <= jobs._OPEN_MAX


def test_a_file_that_is_not_the_jobs_is_refused(world: World, bundle: Path) -> None:
    job = started(world, bundle)
    assert blocked(job, bundle, LISTED) == [True]
    changed = bytearray(bundle.read_bytes())
    changed[len(changed) // 2] ^= 1
    bundle.write_bytes(changed)
    with pytest.raises(InvalidInput, match="is not the bundle that the job was started with"):
        job.screening(bundle)
    bundle.unlink()
    with pytest.raises(InvalidInput, match=r"there is no bundle .* ship=True"):
        job.screening(bundle)


def test_a_file_that_is_replaced_while_it_is_opened_is_refused(
    world: World, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a part would be answered by another list than the answer says."""
    job = started(world, bundle)
    other = Path(shutil.copyfile(bundle, tmp_path / "other"))
    open_bundle = Blocklist.open_bundle

    def replaced(path: Path, **arguments: Any) -> Blocklist:
        other.rename(bundle)
        return open_bundle(path, **arguments)

    monkeypatch.setattr(Blocklist, "open_bundle", replaced)
    with pytest.raises(InvalidInput, match="is not the bundle that the job was started with"):
        job.screening(bundle)
    monkeypatch.undo()
    assert blocked(job, bundle, LISTED) == [True]


def test_a_worker_verifies_what_it_opens(world: World, bundle: Path) -> None:
    """Even where the hash of the whole file is as the job says."""
    job = started(world, bundle)
    changed = bytearray(bundle.read_bytes())
    changed[len(changed) // 2] ^= 1
    bundle.write_bytes(changed)
    told = replace(job, bundle=replace(job.bundle, sha256=jobs.sha256_of_bundle(bundle)))
    with pytest.raises(Untrusted):
        told.screening(bundle)


def test_what_is_wrong_is_found_where_the_job_starts(world: World, bundle: Path, tmp_path: Path) -> None:
    make_world(tmp_path / "stranger")
    with pytest.raises(Untrusted):
        started(world, bundle, root=tmp_path / "stranger" / "publisher" / "root.json")
    with pytest.raises(Untrusted):
        started(world, bundle, min_release=3)
    with pytest.raises(InvalidInput, match="is not a scope"):
        started(world, bundle, scope="fax")
    with pytest.raises(InvalidInput, match="form"):
        started(world, bundle, form="local")
    with pytest.raises(InvalidInput):
        started(world, bundle, overrides=True)
    with pytest.raises(InvalidInput, match="there is no bundle"):
        started(world, tmp_path / "nowhere")
    with pytest.raises((InvalidInput, StorageFailed)):
        started(world, tmp_path)
    with pytest.raises(InvalidInput):
        started(world, bundle, root=b"{}")


def test_the_form_is_decided_once_the_bundle_is_verified(world: World, bundle: Path) -> None:
    decision = FormDecision("international")
    assert started(world, bundle, form="auto", decide_form=lambda: decision).form == "international"
    assert started(world, bundle, form=decision).form == "international"
    undecided_column = started(world, bundle, form=FormDecision(None))
    assert undecided_column.form is None
    numbers = undecided_column.screening(bundle).batch(pa.array(["85512345678", "0812-0000-0001"])).column("number")
    assert numbers.to_pylist() == [None, 6281200000001]
    bundle.write_bytes(b"")
    with pytest.raises((InvalidInput, Untrusted)):
        started(world, bundle, form="auto", decide_form=undecided)


def test_all_processes_answer_as_of_the_jobs_moment(world: World, bundle: Path) -> None:
    """Also one that starts later, or does a part again: else rows of one table would be answered differently."""
    job = started(world, bundle)
    assert blocked(job, bundle, ENDING) == [True]
    assert blocked(replace(job, at=ENDS - timedelta(seconds=1)), bundle, ENDING) == [True]
    assert blocked(replace(job, at=ENDS), bundle, ENDING) == [False]


def test_own_protected_numbers_come_along(world: World, bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "protected.txt").write_text(f"{LISTED}\n")
    job = started(world, bundle, protected=tmp_path / "protected.txt")
    (tmp_path / "protected.txt").unlink()
    assert blocked(job, bundle, LISTED, FIRST[1]) == [False, True]


def test_a_list_past_its_expiry(world: World, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(times, "now", lambda: datetime(2031, 1, 1, tzinfo=UTC))
    job = started(world, bundle)
    assert job.release.stale
    assert blocked(job, bundle, LISTED) == [True]
    with pytest.raises(Stale):
        started(world, bundle, when_stale="raise")
    with pytest.raises(Stale):
        replace(job, bundle=replace(job.bundle, when_stale="raise")).screening(bundle)
