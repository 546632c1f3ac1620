"""Write docs/lookup-openapi.json, the HTTP API of look-ups, as `blocklist serve` describes it."""

import json
import sys
from pathlib import Path

from blocklist_sdk.lookup_server.openapi import openapi_document

PATH = Path(__file__).parent / "lookup-openapi.json"


def render() -> str:
    """The document, so that a change shows line by line."""
    return json.dumps(openapi_document(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    PATH.write_text(render(), encoding="utf-8")
    sys.stderr.write(f"wrote {PATH}\n")
