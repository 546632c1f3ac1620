"""What is in `docs/protocol/vectors` is what `python -m vectors` makes, and small."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from blocklist_sdk import InvalidNumber, normalize
from blocklist_sdk.conformance.vectors import PLACES, file_of
from support.import_plan import PACKAGE
from vectors.files import FOLDERS, difference, made, write
from vectors.keys import REMARK
from vectors.numbers import NUMBERS
from vectors.rows import VECTORS

BYTES_MAX = 600_000
BINARY_BYTES_MAX = 300_000

KINDS = {
    "region": "no region",
    "it has no digits": "no digits",
    "letters": "letters",
    "too short": "too short",
    "a short code": "too short",
    "more than 15 digits": "too long",
    "wildcard": "pattern",
    "a pattern": "pattern",
    "a slash": "several numbers",
    "neither a digit nor a separator": "several numbers",
    "a date": "date",
    "an IP address": "address",
    "an amount": "amount",
    "a decimal number": "decimal",
    "an exponent": "exponent",
    "no country has this code": "no such country",
}
"""The kinds of the vectors by words of this library's reasons."""


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    return made()


def test_the_committed_vectors_are_what_the_program_makes(files: dict[str, bytes]) -> None:
    assert difference(files, VECTORS) == []


def test_the_vectors_are_written_where_they_are_not(files: dict[str, bytes], tmp_path: Path) -> None:
    for folder in FOLDERS:
        (tmp_path / folder / "old" / "metadata").mkdir(parents=True)
        (tmp_path / folder / "old" / "metadata" / "1.root.json").write_text("{}")
    write(files, tmp_path)
    assert difference(files, tmp_path) == []
    assert not (tmp_path / "repositories" / "old").exists()
    (tmp_path / "readers" / "plans.json").write_text("{}")
    (tmp_path / "repositories" / "sample.root.json").unlink()
    assert difference(files, tmp_path) == ["missing: repositories/sample.root.json", "different: readers/plans.json"]


def test_the_vectors_are_small(files: dict[str, bytes]) -> None:
    assert sum(map(len, files.values())) <= BYTES_MAX
    assert sum(len(data) for path, data in files.items() if path.endswith(".parquet")) <= BINARY_BYTES_MAX


def test_the_keys_are_marked(files: dict[str, bytes]) -> None:
    roots = [data for path, data in files.items() if path.endswith("root.json")]
    assert {json.loads(root)["signed"]["remark"] for root in roots} == {REMARK}


def test_the_sample_is_written_as_publishers_should() -> None:
    for path in (VECTORS / "repositories" / "sample").rglob("*.parquet"):
        group = pq.ParquetFile(path).metadata.row_group(0)
        columns = {group.column(at).path_in_schema: group.column(at) for at in range(group.num_columns)}
        assert {column.compression for column in columns.values()} == {"ZSTD"}
        assert all("DELTA_BINARY_PACKED" in columns[name].encodings for name in ("number", "last", "entry"))


@pytest.mark.parametrize("vector", NUMBERS, ids=lambda vector: repr(vector["text"]))
def test_texts_are_read_as_the_vectors_say(vector: dict[str, Any]) -> None:
    text, region, form = vector["text"], vector["region"], vector["form"]
    if "number" in vector:
        assert normalize(text, region=region, form=form) == vector["number"]
        return
    with pytest.raises(InvalidNumber) as caught:
        normalize(text, region=region, form=form)
    assert next(kind for word, kind in KINDS.items() if word in caught.value.reason) == vector["invalid"]


@pytest.mark.parametrize("path", ["", "metadata/../1.root.json", "/metadata", "metadata//timestamp.json"])
def test_nothing_beside_the_layers_is_served(path: str) -> None:
    assert file_of(["sample", "sample-1"], path) is None


def test_the_last_layer_that_has_a_file_serves_it() -> None:
    one, two = (file_of(["sample", f"sample-{serial}"], "metadata/timestamp.json") for serial in (1, 2))
    assert file_of(["sample", "sample-1", "sample-2"], "metadata/timestamp.json") == two != one
    assert file_of(["sample", "sample-1"], "metadata/2.root.json") is None


def test_a_wheel_has_the_vectors_where_the_kit_looks_for_them() -> None:
    root = VECTORS.parents[2]
    wheel = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"]["targets"]
    included = {root / source: target for source, target in wheel["wheel"]["force-include"].items()}
    assert PLACES[0].relative_to(PACKAGE.parent).as_posix() == included[VECTORS]
    assert PLACES[1].resolve() == VECTORS
