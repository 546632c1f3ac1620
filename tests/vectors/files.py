"""All files of the vectors but those of the digest, which are older and have no program that makes them."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from vectors.bad_metadata import all_bad_metadata, other_root
from vectors.bad_releases import all_bad_releases
from vectors.case import SHARED, Case
from vectors.good import all_good, look_ups
from vectors.numbers import NUMBERS
from vectors.plans import all_plans
from vectors.sample import NOW, Sample, build

FOLDERS: Final = ("readers", "repositories")
"""The folders below `docs/protocol/vectors` that have these files, and no others."""


def made() -> dict[str, bytes]:
    """Every file by its path below `docs/protocol/vectors`."""
    sample = build()
    cases = all_cases(sample)
    # First the layers, which decide what steps need of what cases share.
    files = {f"repositories/{path}": data for path, data in _layers(sample, cases).items()}
    documents: dict[str, Any] = {
        "cases": {
            "about": "What a reader must make of the repositories: see docs/reference/conformance.md.",
            "now": NOW,
            "cases": [case.document() for case in cases],
        },
        "plans": {"about": "Which files a reader fetches that has a release, or none.", "plans": all_plans()},
        "numbers": {"about": "How texts are read as numbers.", "numbers": NUMBERS},
    }
    files |= {f"readers/{name}.json": _lines(document) for name, document in documents.items()}
    return dict(sorted(files.items()))


def all_cases(sample: Sample) -> list[Case]:
    cases = [*all_good(sample), look_ups(sample), *all_bad_metadata(sample), *all_bad_releases(sample)]
    names = [case.name for case in cases]
    assert len(names) == len(set(names)), "two cases have one name"
    order = {"sync": 0, "refuse": 1, "limits": 2, "look-ups": 3}
    return sorted(cases, key=lambda case: order[case.group])


def _layers(sample: Sample, cases: list[Case]) -> dict[str, bytes]:
    """The sample, what each of its releases has over it, and what each case has over that."""
    layers = {"sample.root.json": sample.pinned, "other.root.json": other_root()}
    whole = sample.stages[-1]
    shared = {path for path in whole.files if not path.endswith(("/timestamp.json", "/2.root.json"))}
    layers |= {f"sample/{path}": whole.files[path] for path in shared}
    for serial, stage in enumerate(sample.stages, start=1):
        assert all(stage.files[path] == whole.files[path] for path in stage.files if path in shared)
        layers |= {f"sample-{serial}/{path}": data for path, data in stage.files.items() if path not in shared}
    counts = Counter(path for case in cases for path in case.files if path.startswith("targets/"))
    for case in cases:
        own = {path for path, data in case.files.items() if counts[path] == 1 or not _is_named_by_hash(path, data)}
        layers |= {f"{case.name if path in own else SHARED}/{path}": data for path, data in case.files.items()}
        if own != case.files.keys():
            case.share()
    return layers


def _is_named_by_hash(path: str, data: bytes) -> bool:
    return hashlib.sha256(data).hexdigest() in path


def _lines(document: Mapping[str, Any]) -> bytes:
    """A document with a line for each of its items, which a difference shows well."""
    lines = []
    for name, value in document.items():
        if isinstance(value, list):
            items = ",\n".join(f"  {json.dumps(item, ensure_ascii=False)}" for item in value)
            lines.append(f" {json.dumps(name)}: [\n{items}\n ]")
        else:
            lines.append(f" {json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}")
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


def difference(files: Mapping[str, bytes], folder: Path) -> list[str]:
    """What differs, a line each, between files and those in a folder."""
    there = {
        path.relative_to(folder).as_posix(): path
        for name in FOLDERS
        for path in (folder / name).rglob("*.*")
        if path.is_file()
    }
    return [
        *(f"missing: {path}" for path in files if path not in there),
        *(f"not made by this program: {path}" for path in there if path not in files),
        *(f"different: {path}" for path in files if path in there and there[path].read_bytes() != files[path]),
    ]


def write(files: Mapping[str, bytes], folder: Path) -> None:
    """Bring the files in a folder into this state."""
    for name in FOLDERS:
        for path in sorted((folder / name).rglob("*"), reverse=True):
            if path.is_dir():
                if not any(path.iterdir()):
                    path.rmdir()
            elif path.relative_to(folder).as_posix() not in files:
                path.unlink()
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_file() or path.read_bytes() != data:
            path.write_bytes(data)
