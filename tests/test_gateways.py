"""The examples for gateways name what the commands have, and the card for refused callers is as RFC 8688 asks.

`integration/` runs the examples themselves, on real gateways.
"""

import json
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from joserfc import jws
from joserfc.jwk import ECKey

from blocklist_sdk.cli.app import command_line
from blocklist_sdk.enforcement.sinks.redis import redis_keys

ROOT: Final = Path(__file__).parents[1]
GATEWAYS: Final = ROOT / "examples" / "gateways"
PAGE: Final = ROOT / "docs" / "how-to" / "block-callers-at-a-gateway.md"
TEXTS: Final = [PAGE, *sorted(path for path in GATEWAYS.rglob("*") if path.suffix in {".md", ".cfg", ".conf"})]


def test_commands_in_the_examples_have_the_options_that_they_are_called_with() -> None:
    serve = {word for parameter in command_line().commands["serve"].params for word in parameter.opts}
    enforce = {word for parameter in command_line().commands["enforce"].params for word in parameter.opts}
    known, seen = {"serve": serve, "enforce": enforce}, set()
    for path in TEXTS:
        for command, options in re.findall(r"blocklist (serve|enforce)((?: [-/.\w:…]+)*)", path.read_text()):
            for option in (word for word in shlex.split(options) if word.startswith("--")):
                assert option in known[command], f"{path.name}: blocklist {command} {option}"
                seen.add(option)
    assert {"--redis-port", "--watch", "--sink", "--require-fresh"} <= seen


def test_the_examples_ask_at_the_ports_that_the_documents_start_the_service_on() -> None:
    (port,) = (each for each in command_line().commands["serve"].params if each.name == "port")
    default = re.search(r"[Bb]y default (\d+)", getattr(port, "help", "") or "")
    assert default
    http = (GATEWAYS / "kamailio" / "blocklist-http.cfg").read_text() + (
        GATEWAYS / "asterisk/extensions.conf"
    ).read_text()
    assert re.findall(r"http://127\.0\.0\.1:(\d+)", http) == [default[1]] * 2
    door = re.search(r"addr=127\.0\.0\.1;port=(\d+)", (GATEWAYS / "kamailio" / "blocklist-redis.cfg").read_text())
    assert door
    assert f"--redis-port {door[1]}" in PAGE.read_text()


def test_the_example_asks_the_keys_that_the_sink_writes() -> None:
    text = (GATEWAYS / "kamailio" / "blocklist-sink.cfg").read_text()
    keys = re.search(r'#!trydef BLOCKLIST_KEYS "(.*)"', text)
    assert keys
    assert [f"{keys[1]}:{kind}" for kind in re.findall(r"\$var\(keys\):(\w+)", text)] == list(
        redis_keys(keys[1].partition(":")[2])[:2]
    )


def test_every_definition_that_is_named_exists() -> None:
    kamailio = "".join(path.read_text() for path in (GATEWAYS / "kamailio").glob("*.cfg"))
    asterisk = (GATEWAYS / "asterisk" / "extensions.conf").read_text()
    defined = set(re.findall(r"#!trydef (\w+)", kamailio)) | set(re.findall(r"(?m)^(BLOCKLIST_\w+)=", asterisk))
    defined |= set(re.findall(r"#!ifdef (\w+)", kamailio)) | {"BLOCKLIST_ASK"}
    defined |= set(re.findall(r"Set\((BLOCKLIST_\w+)", (GATEWAYS / "asterisk" / "blocklist.conf").read_text()))
    for path in TEXTS:
        assert set(re.findall(r"\bBLOCKLIST_[A-Z_]*[A-Z]\b", path.read_text())) <= defined, path.name


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "card.key"
    private = ec.generate_private_key(ec.SECP256R1())
    path.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
    )
    return path


def sign(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(GATEWAYS / "redress_card.py"), "--once", "--key", "card.key", "-o", "redress.jws"]
    command += ["--certificate", "https://exchange.example/card.cer", "--name", "Komplain Nomor", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def test_a_card_is_signed_now_and_says_where_to_complain(key: Path, tmp_path: Path) -> None:
    ran = sign(tmp_path, "--url", "https://exchange.example/public/", "--tel", "+622150000000")
    assert ran.returncode == 0, ran.stderr
    read = jws.deserialize_compact((tmp_path / "redress.jws").read_text(), ECKey.import_key(key.read_text()))
    assert read.headers() == {"alg": "ES256", "typ": "vcard+json", "x5u": "https://exchange.example/card.cer"}
    payload = json.loads(read.payload)
    assert abs(payload["iat"] - time.time()) < 60
    assert payload["jcard"] == [
        "vcard",
        [
            ["version", {}, "text", "4.0"],
            ["fn", {}, "text", "Komplain Nomor"],
            ["url", {"type": "work"}, "uri", "https://exchange.example/public/"],
            ["tel", {"type": "work"}, "uri", "tel:+622150000000"],
        ],
    ]


def test_a_card_without_a_place_to_complain_is_not_signed(key: Path, tmp_path: Path) -> None:
    ran = sign(tmp_path)
    assert ran.returncode == 2
    assert "--url" in ran.stderr
    assert not (tmp_path / "redress.jws").exists()
