"""What several test modules need."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real input, or a skip that says where it was looked for."""
    root = Path(__file__).resolve().parents[1]
    path = Path(os.environ.get("BLOCKLIST_SHARED_DATA", root.parent / "shared" / "data"))
    if not path.is_dir():
        pytest.skip(f"no real data at {path}; set BLOCKLIST_SHARED_DATA")
    return path


settings.register_profile("here", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("here")
"""No test asserts a time, and a slow machine is no failure."""
