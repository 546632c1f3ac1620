"""Keys in a hardware module sign as files do: a real PKCS#11 module, SoftHSM, where it is installed."""

import os
from pathlib import Path

import pytest

from blocklist_sdk import Blocklist, Publisher
from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.publisher import KeyUri, Proposal
from support.command_line import assert_fails, run
from support.holders import PASSPHRASE
from support.hsm import PIN, Module, softhsm_missing

PINS = {"BLOCKLIST_PASSPHRASE": PIN}


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Module:
    """One for all tests: a process reads the module's settings once."""
    if (missing := softhsm_missing()) is not None:
        if os.environ.get("CI_REQUIRES_SERVERS") == "1":
            pytest.fail(missing)
        pytest.skip(missing)
    patch = pytest.MonkeyPatch()
    made = Module.make(tmp_path_factory.mktemp("module"), patch)
    for token in ("root-1", "root-2", "exchange"):
        made.token(token)
    return made


def test_a_folder_whose_root_and_feed_are_in_modules(module: Module, tmp_path: Path) -> None:
    """The label is the token's; the number is the key's id on it, decimal: 16 is --id 10 of pkcs11-tool."""
    keys = {
        "root": [KeyUri(f"hsm:2?label=root-{i}", module.key(f"root-{i}", 2)) for i in (1, 2)],
        "feed.id-all": [KeyUri("hsm:16?label=exchange", module.key("exchange", 16))],
    }

    def secret(name: str) -> str:
        return PIN if "pin" in name else PASSPHRASE

    publisher = Publisher.init(tmp_path / "p", feeds=["id-all"], passphrase=secret, region="ID", key_uris=keys)
    publisher.add("id-all", ["0812-3456-7890"])
    publisher.rotate_keys("online")
    on_token = KeyUri("hsm:3?label=exchange", module.key("exchange", 3))
    change = publisher.rotate_keys("feed.id-all", uri=on_token)
    assert len(change.added) == len(change.removed) == 1
    with pytest.raises(InvalidInput, match="one key cannot take the place of 2"):
        publisher.rotate_keys("root", uri=on_token)
    publisher.add("id-all", ["0812-3456-7891"])
    with Blocklist.open(
        publisher.repository.as_uri(),
        feed="id-all",
        root=publisher.root,
        cache_dir=tmp_path / "cache",
        state_dir=tmp_path / "state",
    ) as blocklist:
        assert blocklist.sync().after == 2


def test_holders_sign_with_their_tokens(module: Module, tmp_path: Path) -> None:
    public = {name: module.key(name, 5) for name in ("root-1", "root-2")}
    folder, file = tmp_path / "p", tmp_path / "p" / "proposal.json"
    options = [option for path in public.values() for option in ("--root-key", path)]
    secret = {"BLOCKLIST_PASSPHRASE": PASSPHRASE}
    assert run("publish", "init", folder, "--feed", "id-all", *options, env=secret).code == 0
    for name, path in public.items():
        signed = ("--key-uri", f"hsm:5?label={name}", "--public-key", path, "--yes")
        ran = run("publish", "keys", "sign", file, *signed, "-o", tmp_path / f"{name}.json", env=PINS)
        assert (ran.code, ran.err) == (0, "")
    ran = run("publish", "keys", "install", folder, *(tmp_path / f"{name}.json" for name in public), env=secret)
    assert ran.code == 0, ran.err
    assert Publisher.open(folder, passphrase=PASSPHRASE).add("id-all", ["+6281234567890"]).serial == 1


@pytest.mark.parametrize(
    ("uri", "pin", "why"),
    [
        ("hsm:9?label=root-1", "99999999", "PinIncorrect"),
        ("hsm:8?label=root-1", PIN, "could not find ECDSA private key"),
        ("hsm:9?label=root-7", PIN, "No PKCS#11 token found for label root-7"),
        ("hsm:9", PIN, "Multiple PKCS#11 tokens found"),
        ("hsm:nine", PIN, "cannot use the key at hsm:nine"),
    ],
)
def test_a_token_that_cannot_sign_says_why(module: Module, tmp_path: Path, uri: str, pin: str, why: str) -> None:
    public = module.directory / "root-1.9.pub.pem"
    if not public.exists():
        module.key("root-1", 9)
    proposal = Publisher.begin(
        tmp_path / "p",
        feeds=["id-all"],
        public_keys={"root": [public, module.key("root-2", 9)]},
        passphrase=PASSPHRASE,
    )
    (tmp_path / "file.json").write_bytes(proposal.to_json())
    ran = run(
        *("publish", "keys", "sign", tmp_path / "file.json", "--key-uri", uri, "--public-key", public, "--yes"),
        *("--json",),
        env={"BLOCKLIST_PASSPHRASE": pin},
    )
    assert_fails(ran, 2, why)
    assert Proposal.from_json((tmp_path / "file.json").read_bytes()) == proposal
