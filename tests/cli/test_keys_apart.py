"""Root and targets keys of an exchange have a passphrase of their own, and the server does without them."""

import contextlib
import hashlib
import os
import pty
import select
import shutil
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from blocklist_sdk import InvalidInput
from blocklist_sdk.exchange_server.exchange import Exchange
from blocklist_sdk.exchange_server.serving import publishing
from support.command_line import assert_fails, run

SERVING = {"BLOCKLIST_PASSPHRASE": "generated for a test"}
OFFLINE = {"BLOCKLIST_OFFLINE_PASSPHRASE": "of root and targets"}
OFFLINE_NAMES = ["root.1.pem", "root.2.pem", "root.3.pem", "targets.pem"]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("apart") / "exchange"
    made = run("exchange", "init", folder, env=SERVING | OFFLINE)
    assert made.code == 0, made.err
    assert f"mv {folder}/publisher/keys/offline /media/SAFE/" in made.err
    return folder


@pytest.fixture
def folder(template: Path, tmp_path: Path) -> Path:
    shutil.copytree(template, tmp_path / "exchange")
    return tmp_path / "exchange"


def encrypt_again(file: Path, old: str, new: str) -> None:
    private = load_pem_private_key(file.read_bytes(), old.encode())
    data = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(new.encode()))
    file.write_bytes(data)


def test_init_names_the_three_ways_to_the_second_passphrase(tmp_path: Path) -> None:
    ran = run("exchange", "init", tmp_path / "x", env=SERVING)
    assert_fails(ran, 2, "root and targets keys")
    for way in ("BLOCKLIST_OFFLINE_PASSPHRASE", "--offline-passphrase-file", "at a terminal"):
        assert way in ran.err
    same = {"BLOCKLIST_OFFLINE_PASSPHRASE": SERVING["BLOCKLIST_PASSPHRASE"]}
    assert_fails(run("exchange", "init", tmp_path / "x", env=SERVING | same), 2, "give them another one")
    short = tmp_path / "short"
    short.write_text("short\n")
    short.chmod(0o600)
    ran = run("exchange", "init", tmp_path / "x", "--offline-passphrase-file", short, env=SERVING)
    assert_fails(ran, 2, "at least 12 characters")
    assert list(tmp_path.iterdir()) == [short]


def test_root_and_targets_keys_lie_apart_and_the_serving_passphrase_opens_none(folder: Path) -> None:
    keys = folder / "publisher" / "keys"
    assert sorted(path.name for path in (keys / "offline").iterdir()) == OFFLINE_NAMES
    assert (keys / "offline").stat().st_mode & 0o777 == 0o700
    assert not {path.name for path in keys.iterdir()} & set(OFFLINE_NAMES)
    with Exchange.open(folder, passphrase=SERVING["BLOCKLIST_PASSPHRASE"]) as exchange:
        assert exchange.publisher.offline_keys_opened() == ()
        assert len(exchange.publisher.offline_keys_here()) == 4
        exchange.check_keys_apart()


def test_an_exchange_publishes_without_root_and_targets_keys(folder: Path, tmp_path: Path) -> None:
    shutil.move(folder / "publisher" / "keys" / "offline", tmp_path / "safe")
    ran = run("exchange", "publish", folder, "--everything", env=SERVING)
    assert ran.code == 0, ran.err
    assert "warning" not in ran.err
    shown = run("publish", "keys", "show", folder / "publisher").out
    assert shown.count("(not available)") == 4


@pytest.mark.parametrize("place", ["offline", "."])
def test_keys_are_found_when_they_are_brought_back_into_either_folder(folder: Path, tmp_path: Path, place: str) -> None:
    keys = folder / "publisher" / "keys"
    shutil.move(keys / "offline", tmp_path / "safe")
    absent = run("publish", "protect", "add", folder / "publisher", "+6281234567000", env=SERVING | OFFLINE)
    assert_fails(absent, 2, "put back offline/targets.pem")
    (keys / place).mkdir(exist_ok=True)
    shutil.copy(tmp_path / "safe" / "targets.pem", keys / place)
    unasked = run("publish", "protect", "add", folder / "publisher", "+6281234567000", env=SERVING)
    assert_fails(unasked, 2, "BLOCKLIST_OFFLINE_PASSPHRASE")
    done = run("publish", "protect", "add", folder / "publisher", "+6281234567000", env=SERVING | OFFLINE)
    assert done.code == 0, done.err


def test_new_root_and_targets_keys_lie_apart_as_well(folder: Path) -> None:
    rotated = run("publish", "keys", "rotate", folder / "publisher", "--role", "targets", env=SERVING | OFFLINE)
    assert rotated.code == 0, rotated.err
    keys = folder / "publisher" / "keys"
    assert (keys / "offline" / "targets.2.pem").is_file()
    assert (keys / "offline" / "targets.pem.replaced").is_file()
    with Exchange.open(folder, passphrase=SERVING["BLOCKLIST_PASSPHRASE"]) as exchange:
        exchange.check_keys_apart()


@pytest.mark.parametrize("name", ["root.2.pem", "targets.pem"])
def test_serving_is_refused_where_its_passphrase_opens_a_root_or_targets_key(folder: Path, name: str) -> None:
    file = folder / "publisher" / "keys" / "offline" / name
    passphrase = SERVING["BLOCKLIST_PASSPHRASE"]
    encrypt_again(file, OFFLINE["BLOCKLIST_OFFLINE_PASSPHRASE"], passphrase)
    refused = run("exchange", "serve", folder, "--port", "0", env=SERVING)
    assert_fails(refused, 2, f"mv {file} /media/SAFE/")
    assert "could replace every key" in refused.err
    with Exchange.open(folder, passphrase=passphrase) as exchange:
        with pytest.raises(InvalidInput, match="take them off"), publishing(exchange):
            pass
        with publishing(exchange, allow_root_key=True, every_s=60):
            pass
    told = run("exchange", "publish", folder, env=SERVING)
    assert told.code == 0, "nothing keeps a retraction"
    assert f"also opens {file}" in told.err


def test_at_a_terminal_both_passphrases_are_asked_for(tmp_path: Path) -> None:
    answers = {"root and targets keys (": "of root and targets", "of the keys (": "generated for a test"}
    program = "import sys; from blocklist_sdk.cli import main; sys.exit(main())"
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("BLOCKLIST_")}
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", program, "exchange", "init", tmp_path / "exchange"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=inherited,
        start_new_session=True,  # so that its terminal is this one and no other
    ) as process:
        os.close(theirs)
        shown, answer = "", ""
        with contextlib.suppress(OSError):  # at its end
            while select.select([ours], [], [], 60)[0]:
                new = os.read(ours, 4096).decode()
                shown += new
                answer = next((text for prompt, text in answers.items() if prompt in new), answer)
                if new.endswith(": "):
                    os.write(ours, f"{answer}\n".encode())
        os.close(ours)
    assert process.returncode == 0, shown
    assert shown.count("The same again") == 2


def test_accounts_are_bound_to_certificates(folder: Path, tmp_path: Path) -> None:
    authority = trustme.CA()
    files = [tmp_path / name for name in ("old.pem", "new.pem")]
    prints = []
    for file in files:
        made = authority.issue_cert(f"{file.stem}.example").cert_chain_pems[0]
        made.write_to_path(str(file))
        prints.append(hashlib.sha256(ssl.PEM_cert_to_DER_cert(made.bytes().decode())).hexdigest())
    added = run("exchange", "user", "add", folder, "telkomsel", "--scope", "receipt", "--certificate", files[0])
    assert added.code == 0, added.err
    assert f"(by secret, certificate {prints[0]})" in run("exchange", "user", "list", folder).out
    both = [word for file in files for word in ("--certificate", file)]
    assert run("exchange", "user", "certificate", folder, "telkomsel", *both).code == 0
    accounts = run("exchange", "user", "list", folder, "--json").document["accounts"]
    (account,) = [each for each in accounts if each["name"] == "telkomsel"]
    assert account["certificates"] == sorted(prints)
    assert_fails(run("exchange", "user", "certificate", folder, "telkomsel"), 2, "--none")
    assert run("exchange", "user", "certificate", folder, "telkomsel", "--none").code == 0
    assert "certificate" not in run("exchange", "user", "list", folder).out
