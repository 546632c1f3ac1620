"""Write docs/openapi.json, the exchange's HTTP API, from the models that the server and the client share."""

import json
import sys
from pathlib import Path

from blocklist_sdk.exchange_server.app import openapi_document

PATH = Path(__file__).parent / "openapi.json"


def render() -> str:
    """The document, so that a change shows line by line."""
    return json.dumps(openapi_document(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    PATH.write_text(render(), encoding="utf-8")
    sys.stderr.write(f"wrote {PATH}\n")
