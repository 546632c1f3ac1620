"""What several test modules need."""

import gc
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from support.quick_disk import disk, write_into_memory
from support.scale import scaled

write_into_memory()

pytest_plugins = ["support.exchange_fixtures", "support.sink_fixtures"]

_ALLOCATIONS_BETWEEN_COLLECTIONS = 20_000
"""Instead of Python's 700. Tests that are about garbage collect it themselves."""

gc.set_threshold(_ALLOCATIONS_BETWEEN_COLLECTIONS)

_COUNTED = "counted "
"""Prefix of the names of counts among the properties of a test's report."""


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real lists; without it the test is skipped, and the reason names the folder."""
    root = Path(__file__).resolve().parents[1]
    path = Path(os.environ.get("BLOCKLIST_SHARED_DATA", root.parent / "shared" / "data"))
    if not path.is_dir():
        pytest.skip(f"no real data at {path}; set BLOCKLIST_SHARED_DATA")
    return path


settings.register_profile(
    "here", deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=scaled(15, long=200)
)
settings.load_profile("here")
"""A slow machine must not fail a test, so there is no deadline. Each run draws other examples."""


@pytest.fixture(scope="session", autouse=True)
def no_authorities(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Trust no public certificate authority: none has signed for a server of these tests.

    To read them all takes longer than a sync, and each client would, here and in the processes that tests start.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("SSL_CERT_FILE", raising=False)
        patch.setenv("SSL_CERT_DIR", str(tmp_path_factory.mktemp("no-authorities")))
        yield


@pytest.fixture
def disk_path() -> Iterator[Path]:
    """A folder on a disk, where `tmp_path` may be in memory."""
    with tempfile.TemporaryDirectory(dir=disk(), ignore_cleanup_errors=True) as name:
        yield Path(name)


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Callable[..., None]:
    """A function that counts kills, syncs and so on; the counts are shown at the end of a run."""

    def add(**counts: int) -> None:
        request.node.user_properties.extend((_COUNTED + name, count) for name, count in counts.items())

    return add


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Spare the garbage collector the half a million objects of tests and modules, which stay until the end.

    It would walk through all of them again and again, also in each process that a test forks, which copies them then.
    """
    gc.collect()
    gc.freeze()


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print what the tests have counted."""
    reports = terminalreporter.stats.get("passed", [])
    counted = [(report, said) for report in reports if report.when == "call" and (said := _counts(report))]
    if counted:
        terminalreporter.section("what was done")
    for report, said in counted:
        terminalreporter.line(f"{report.nodeid.partition('::')[2]}: {said} in {report.duration:.0f} s")


def _counts(report: pytest.TestReport) -> str:
    properties = [(str(name), value) for name, value in report.user_properties]
    return ", ".join(
        f"{value:,} {name.removeprefix(_COUNTED).replace('_', ' ')}"
        for name, value in properties
        if name.startswith(_COUNTED)
    )
