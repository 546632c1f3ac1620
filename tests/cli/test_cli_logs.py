"""What commands write of the log while they run."""

import logging

import pytest

from blocklist_sdk.cli.logs import DeferredWarnings, log_to_stderr


def test_a_bug_is_written_with_its_kind_and_place_and_not_with_what_it_quotes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    log = logging.getLogger("blocklist_sdk.exchange_server.http.request_log")
    with log_to_stderr():
        try:
            int("+6281234567890 said that I had won")
        except ValueError as error:
            log.error("request abc failed", exc_info=error)
    written = capsys.readouterr().err.splitlines()
    assert written[0] == "blocklist: request abc failed"
    assert written[1].startswith("blocklist: internal error: ValueError in ")
    assert "628" not in "".join(written)


def test_nothing_is_kept_until_the_end_whichever_logger_it_is_from(capsys: pytest.CaptureFixture[str]) -> None:
    root, deferred = logging.getLogger(), DeferredWarnings()
    root.addHandler(deferred)
    try:
        with log_to_stderr({"blocklist_sdk.exchange_server": logging.INFO}):
            logging.getLogger("sqlalchemy.pool").warning("a connection is gone")
            logging.getLogger("blocklist_sdk.exchange_server.serving").info("published")
            logging.getLogger("blocklist_sdk.recipient.sync").info("not asked for")
        assert capsys.readouterr().err == "blocklist: a connection is gone\nblocklist: published\n"
        logging.getLogger("blocklist_sdk.exchange_server.serving").info("not asked for any more")
        logging.getLogger("blocklist_sdk").warning("later")
    finally:
        root.removeHandler(deferred)
    deferred.write()
    assert capsys.readouterr().err == "blocklist: later\n"


def test_what_was_kept_is_written_before_a_command_that_runs_for_long(capsys: pytest.CaptureFixture[str]) -> None:
    """As that every user of the machine can read the token."""
    root, deferred = logging.getLogger(), DeferredWarnings()
    root.addHandler(deferred)
    try:
        logging.getLogger("blocklist_sdk").warning("everybody can read it")
        with log_to_stderr():
            assert capsys.readouterr().err == "blocklist: everybody can read it\n"
    finally:
        root.removeHandler(deferred)
    deferred.write()
    assert capsys.readouterr().err == ""


def test_the_journal_gets_the_priority_of_each_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", "8:1")
    log = logging.getLogger("blocklist_sdk.exchange")
    with log_to_stderr({log.name: logging.DEBUG}):
        for level in (logging.CRITICAL, logging.ERROR, logging.WARNING, logging.INFO, logging.DEBUG):
            log.log(level, "a line")
    assert [line[:3] for line in capsys.readouterr().err.splitlines()] == ["<3>", "<3>", "<4>", "<6>", "<7>"]
