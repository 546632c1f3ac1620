"""The TOML file that refers to existing keys, in hardware modules or key management services.

::

    [[root]]
    uri = "hsm:2?label=root-1"
    public_key = "root-1.pub.pem"

    [[feed.id-messaging]]
    uri = "awskms:alias/id-messaging"
    public_key = "id-messaging.pub.pem"
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from blocklist_sdk.encodings import decoded
from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.places import expanded

if TYPE_CHECKING:
    from blocklist_sdk.publisher import KeyUri

KeysOption = Annotated[
    Path | None,
    typer.Option(
        "--keys",
        metavar="FILE",
        help="TOML file that refers to existing keys, such as in a hardware module: for each key a table root, "
        "targets, online or feed.NAME with uri and public_key. All other keys are made.",
    ),
]

_FIELDS = {"uri", "public_key"}


def read_keys(path: Path) -> dict[str, list["KeyUri"]]:
    """References to keys, by the keys' names; paths of public keys are relative to the file's folder.

    Raises:
        InvalidInput: the file cannot be read, is not TOML, or has other contents than references to keys.
    """
    import tomllib

    from blocklist_sdk.publisher import KeyUri

    try:
        document = tomllib.loads(decoded(path.read_bytes(), f"the file of keys {path}"))
    except OSError as error:
        raise InvalidInput(f"cannot read the file of keys {path}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InvalidInput(f"the file of keys {path} is not TOML: {error}") from error
    return {
        name: [KeyUri(uri, path.parent / public_key) for uri, public_key in _references(path, name, tables)]
        for name, tables in _named(document)
    }


def _named(document: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Each list of tables with the name of its key, as in `Publisher.init`."""
    for name, value in document.items():
        if name == "feed" and isinstance(value, dict):
            yield from ((f"feed.{feed}", tables) for feed, tables in value.items())
        else:
            yield name, value


def _references(path: Path, name: str, tables: Any) -> Iterator[tuple[str, Path]]:
    for table in tables if isinstance(tables, list) else [None]:
        if not isinstance(table, dict) or set(table) != _FIELDS or not all(isinstance(v, str) for v in table.values()):
            raise InvalidInput(
                f"{name} in the file of keys {path} must be a table [[{name}]] with uri and public_key, each a text in "
                "quotes, and nothing else"
            )
        yield table["uri"], expanded(table["public_key"], what=f"public_key of {name} in the file of keys {path}")
