"""The reader in Node installs the same files everywhere, from whatever registry is set. It runs in `integration/`."""

import json
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "readers" / "node"


def test_the_lock_has_a_hash_of_each_package_and_no_address() -> None:
    packages = json.loads((EXAMPLE / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    installed = {name: package for name, package in packages.items() if name}
    assert len(installed) > 10
    assert [name for name, package in installed.items() if not package["integrity"].startswith("sha512-")] == []
    assert [name for name, package in installed.items() if "resolved" in package] == []
    assert "omit-lockfile-registry-resolved=true" in (EXAMPLE / ".npmrc").read_text(encoding="utf-8")


def test_no_package_runs_a_script_when_it_is_installed() -> None:
    packages = json.loads((EXAMPLE / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    assert [name for name, package in packages.items() if package.get("hasInstallScript")] == []
