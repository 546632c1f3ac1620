"""The sandbox: it goes on where it was left, and has work for two officers. Numbers are generated."""

import contextlib
import json
import logging
import socket
import stat
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import support.quick_secrets  # noqa: F401
from blocklist_sdk import ExchangeError, InvalidInput, Locked
from blocklist_sdk.sandbox import sandbox


def test_it_goes_on_with_its_keys_secrets_and_data_at_another_port_if_the_one_of_before_is_taken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "box"
    with sandbox(folder, cases=2) as first:
        assert not first.resumed
        root = first.root.read_bytes()
        with first.client("officer") as officer:
            case = next(each for each in officer.cases() if each.state == "received")
            officer.decide(case.id, "reject", reason="no evidence of fraud")
        with pytest.raises(Locked, match="a sandbox runs in"), sandbox(folder):
            pass
    assert stat.S_IMODE((folder / "sandbox.json").stat().st_mode) == 0o600, "it has the secrets"
    port = urlsplit(first.url).port
    with (
        contextlib.closing(socket.create_server(("127.0.0.1", port or 0))),
        caplog.at_level(logging.WARNING),
        sandbox(folder, cases=99) as second,
    ):
        assert second.resumed
        assert second.url != first.url
        assert (second.secrets, second.root.read_bytes()) == (first.secrets, root)
        settings = tomllib.loads((folder / "chat" / "blocklist.toml").read_text())
        assert settings["exchange"] == second.url
        with second.client("officer") as officer:
            assert officer.get_case(case.id).state == "rejected"
        with second.blocklist("chat") as blocklist:
            assert blocklist.sync().after == 1
    assert f"port {port}, where the sandbox was before, is in use" in caplog.text


def test_work_waits_for_each_of_two_officers() -> None:
    with sandbox(cases=2) as box, box.client("officer") as officer, box.client("second-officer") as second:
        cases = list(officer.cases())
        proposed = [each for case in cases for each in case.decisions if each.state == "proposed"]
        assert {each.officer for each in proposed} == {"officer", "second-officer"}
        for decision in proposed:
            confirms, other = (second, officer) if decision.officer == "officer" else (officer, second)
            version = confirms.get_case(decision.case).version
            with pytest.raises(ExchangeError, match="made this decision"):
                other.confirm_decision(decision.id, version=version)
            assert confirms.confirm_decision(decision.id, version=version).state == "effective"
        (appeal,) = second.appeals(state="open")
        assert appeal.case is not None
        version = second.get_case(appeal.case).version
        assert second.answer_appeal(appeal.id, grant=False, reason="no", version=version).state == "dismissed"


def test_one_officer_is_enough_where_that_is_wanted() -> None:
    with sandbox(cases=1, two_person=False) as box, box.client("officer") as officer:
        assert not [each for case in officer.cases() for each in case.decisions if each.state == "proposed"]
        case = next(each for each in officer.cases() if each.state == "received")
        assert officer.decide(case.id, "block", reason="seen", version=case.version).state == "effective"


@pytest.mark.parametrize("missing", ["passphrase", "exchange"])
def test_a_folder_that_was_half_deleted_says_what_is_missing(tmp_path: Path, missing: str) -> None:
    (tmp_path / "sandbox.json").write_text(json.dumps({"format": 1, "port": 1, "secrets": {}}))
    if missing == "exchange":
        (tmp_path / "passphrase").touch()
    with pytest.raises(InvalidInput, match=rf"{missing} is missing: give a new folder"), sandbox(tmp_path):
        pass


def test_a_folder_that_was_not_finished_is_not_gone_on_with(tmp_path: Path) -> None:
    (tmp_path / "passphrase").touch()
    (tmp_path / "exchange").mkdir()
    with pytest.raises(InvalidInput, match="has no sandbox that could go on: give a new folder"), sandbox(tmp_path):
        pass
