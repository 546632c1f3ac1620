"""Arrow data in and out, as types.

pyarrow ships no types: to a type checker `pyarrow.Table` is `Any`, which would hide every mistake in what is done with
an answer. So the types here say what this library relies on and promises: Arrow's PyCapsule interface
(https://arrow.apache.org/docs/format/CDataInterface/PyCapsuleInterface.html), and the parts of a table that most
programs use. The day pyarrow ships types, `ArrowTable` can be `pyarrow.Table`, which every one of them is.
"""

from typing import Any, Protocol


class ArrowArray(Protocol):
    """An array in memory, such as a `pyarrow.Array`."""

    def __arrow_c_array__(self, requested_schema: object = None) -> tuple[object, object]: ...


class ArrowStream(Protocol):
    """Arrays one after the other, such as a Polars series, a pandas series (from 3.0) or a DuckDB result."""

    def __arrow_c_stream__(self, requested_schema: object = None) -> object: ...


class ArrowColumn(ArrowStream, Protocol):
    """A column of a table; a `pyarrow.ChunkedArray`.

    Attributes:
        null_count: the number of null rows.
    """

    null_count: int

    def __len__(self) -> int: ...

    def to_pylist(self) -> list[Any]:
        """The rows as Python objects, None for null."""


class ArrowTable(ArrowStream, Protocol):
    """A `pyarrow.Table`. A type checker lets ``pyarrow.table(answer)`` use every method of it; nothing is copied.

    Attributes:
        schema: the names and types of the columns, as a `pyarrow.Schema`.
        num_rows: the number of rows.
        column_names: the names of the columns.
    """

    schema: Any
    num_rows: int
    column_names: list[str]

    def __len__(self) -> int: ...

    def column(self, i: str | int) -> ArrowColumn:
        """One column, by name or position."""

    def __getitem__(self, key: str | int) -> ArrowColumn: ...

    def equals(self, other: object) -> bool:
        """Whether another table has the same columns and rows."""

    def to_pylist(self) -> list[dict[str, Any]]:
        """The rows as dictionaries."""

    def to_pandas(self) -> Any:
        """A `pandas.DataFrame`; pandas must be installed."""
