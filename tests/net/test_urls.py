"""URLs are read in one place, and no password in one is ever shown: in messages, logs, JSON and representations."""

import asyncio
import json
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from blocklist_sdk import AsyncExchangeClient, Blocklist, BlocklistError, ClientCredentials, ExchangeClient
from blocklist_sdk.enforcement import SinkUnavailable, open_sink
from blocklist_sdk.errors import InvalidInput, foreign_text
from blocklist_sdk.fetch.transport import Transport, TransportSettings
from blocklist_sdk.mirror import mirror
from blocklist_sdk.net.addresses import origin_of, read_url, shown

WORDS = "QqZzXxJj0123456789Ωж"
"""Letters that are in none of our own words, so that four of them in a text come from the password."""

MARKS = "#/@:?%\\ &=,;[]\"'+"


@st.composite
def passwords(draw: st.DrawFn) -> str:
    """Pieces that can be recognised, with marks between them."""
    pieces = draw(st.lists(st.text(alphabet=WORDS, min_size=4, max_size=8), min_size=1, max_size=4))
    marks = [draw(st.text(alphabet=MARKS, min_size=1, max_size=2)) for _ in range(len(pieces) + 1)]
    edges = draw(st.tuples(st.booleans(), st.booleans()))
    text = "".join(mark + piece for mark, piece in zip(marks, pieces, strict=False))
    return (text if edges[0] else text.lstrip(MARKS)) + (marks[-1] if edges[1] else "")


def parts(password: str) -> set[str]:
    """Every part of four characters that could give it away: not marks alone."""
    found = {password[at : at + 4] for at in range(len(password) - 3)}
    return {part for part in found if sum(letter in WORDS for letter in part) > 2}


URLS = (
    "redis://me:{}@127.0.0.1:9/0",
    "rediss://:{}@127.0.0.1:9/0?prefix=a",
    "redis://127.0.0.1:9/0?password={}",
    "postgresql://me:{}@127.0.0.1:9/hlr?connect_timeout=1",
    "postgresql://me@127.0.0.1:9/hlr?connect_timeout=1&password={}",
    "kafka://me:{}@127.0.0.1:9/blocked",
    "kafka://127.0.0.1:9/blocked?sasl.username=me&sasl.password={}",
    "https://me:{}@127.0.0.1:9/lists",
    "http://127.0.0.1:9/lists?token={}",
    "file:///nowhere/drop?password={}",
    "nonsense://me:{}@127.0.0.1:9/x",
    "me:{}@127.0.0.1",
)

FAST = TransportSettings(attempts=1, connect_timeout_s=1.0)


def _transport(url: str) -> object:
    with Transport(settings=FAST) as transport:
        transport.get(url, max_bytes=9)
        return transport


def _exchange(url: str) -> object:
    with ExchangeClient(url, auth=ClientCredentials.for_exchange(url, "me", "x")) as client:
        return client


def _token(url: str) -> object:
    return repr(ClientCredentials("me", "x", token_url=url))


def _async_exchange(url: str) -> object:
    client = AsyncExchangeClient(url)
    asyncio.run(client.close())
    return client


def _sink(url: str) -> object:
    sink: Any = open_sink(url, feed="id-all")
    try:
        said = [repr(sink), repr(getattr(sink, "_client", "")), repr(sink.identity())]
        if not url.startswith(("kafka:", "postgresql:")):  # these wait for seconds
            said.append(str(sink.is_empty()) if hasattr(sink, "is_empty") else "")
        return said
    finally:
        sink.close()


WAYS: tuple[Callable[[str], object], ...] = (
    read_url,
    shown,
    origin_of,
    _transport,
    _exchange,
    _async_exchange,
    _token,
    _sink,
    lambda url: Blocklist.open(url, feed="id-all", root=b"{}"),
    lambda url: mirror(url, "/nowhere/mirror", root=b"{}"),
)


def _texts(error: BaseException | None) -> list[str]:
    """All that a traceback would show of an error and of its causes."""
    texts: list[str] = []
    while error is not None:
        texts += [str(error), repr(error), json.dumps({"error": str(error)}), str(getattr(error, "url", ""))]
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return texts


@pytest.mark.parametrize("way", range(len(WAYS)))
@given(password=passwords(), template=st.sampled_from(URLS), is_encoded=st.booleans())
@example(password="Zz12#Jj34", template=URLS[0], is_encoded=False)
@example(password="123/JjXx", template=URLS[7], is_encoded=False)
@example(password="1234#JjXx", template=URLS[7], is_encoded=False)
@example(password="99?JjXx=1", template=URLS[3], is_encoded=False)
@example(password="'0000:0000:0000", template=URLS[8], is_encoded=False)
@example(password="'0000:0000:0000", template=URLS[9], is_encoded=False)
@example(password="JjXx&ZzQq=1", template=URLS[6], is_encoded=False)
def test_no_part_of_a_password_is_shown(way: int, password: str, template: str, is_encoded: bool) -> None:
    # In the URL of a webhook, whose options are its owner's, a & that is not encoded begins another option.
    assume(is_encoded or "&" not in password or not template.startswith("http://"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BLOCKLIST_WEBHOOK_SECRET", "whsec_" + "QUFB" * 8)
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
            patch.delenv(name, raising=False)
        records: list[str] = []
        handler = logging.Handler()
        handler.emit = lambda record: records.append(  # type: ignore[method-assign]
            record.getMessage() + (logging.Formatter().formatException(record.exc_info) if record.exc_info else "")
        )
        root = logging.getLogger()
        level = root.level
        root.addHandler(handler)
        root.setLevel(logging.DEBUG)
        try:
            result = WAYS[way](template.format(quote(password, safe="") if is_encoded else password))
            texts = [repr(result), str(result)]
        except (BlocklistError, SinkUnavailable, ValueError) as error:
            texts = _texts(error)
        finally:
            root.setLevel(level)
            root.removeHandler(handler)
    forms = parts(password) | parts(quote(password, safe=""))
    # The name of a character that may not be in a password says nothing of the rest, and looks like digits of it.
    said = [re.sub(r"U\+[0-9A-F]{4}", "", text) for text in [*texts, *records]]
    leaks = [(part, text) for text in said for part in forms if part in text]
    assert not leaks


def test_what_was_given_wrong_says_how_to_write_it() -> None:
    with pytest.raises(InvalidInput) as caught:
        open_sink("redis://u:S3cret#x@127.0.0.1:6379/0", feed="id-all")
    for word in ("the sink's URL", "redis://user:password@host:6379/0", "# as %23", "/ as %2F", "% as %25"):
        assert word in str(caught.value)


@given(user=st.text(alphabet=WORDS, min_size=1), password=passwords())
def test_what_is_percent_encoded_is_read_as_it_was(user: str, password: str) -> None:
    read = read_url(f"redis://{quote(user, safe='')}:{quote(password, safe='')}@[::1]:6380/0?a=b%26c&d=")
    assert (read.user, read.password, read.host, read.port, read.path) == (user, password, "::1", 6380, "/0")
    assert read.options == (("a", "b&c"), ("d", ""))
    assert read.shown == str(read) == "redis://[::1]:6380/0"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://lists.example/", "https://lists.example/"),
        ("https://me:pw@Lists.Example:8443/a?b=c", "https://Lists.Example:8443/a"),
        ("https://[2001:db8::1]:8443/a", "https://[2001:db8::1]:8443/a"),
        ("file:///srv/a@b/%41", "file:///srv/a@b/%41"),
        ("file:drop", "file:drop"),
        ("https://exchange.example/v1/numbers/+6281234567890", "https://exchange.example/v1/numbers/+6281…890"),
        ("/v1/numbers/%2B6281234567890?token=x", "/v1/numbers/%2B6281…890"),
        ("//me:pw@host/x", "the URL"),
        ("https://host/@scope", "the URL"),
        ("https://u:80/secret@host", "the URL"),
    ],
)
def test_what_is_shown_of_a_url(url: str, expected: str) -> None:
    assert shown(url) == expected


@pytest.mark.parametrize(
    ("url", "known"),
    [
        ("kafka://127.0.0.1:9/t?plugin.library.paths=/tmp/evil.so", "ssl.ca.location"),
        ("kafka://127.0.0.1:9/t?enable.ssl.certificate.verification=false", "ssl.ca.location"),
        ("kafka://127.0.0.1:9/t?sasl.kerberos.kinit.cmd=id", "sasl.kerberos.keytab"),
        ("rediss://127.0.0.1:9/0?ssl_cert_reqs=none", "ssl_ca_certs"),
        ("rediss://127.0.0.1:9/0?ssl_check_hostname=false", "ssl_ca_certs"),
        ("redis://127.0.0.1:9/0?protocol=9", "health_check_interval"),
        ("postgresql://127.0.0.1:9/d?sslpassword=x", "sslrootcert"),
        ("postgresql://127.0.0.1:9/d?sslsni=1&nonsense=1", "target_session_attrs"),
        ("file:///nowhere?mode=7", "file_mode, format, group, responses, wait"),
    ],
)
def test_only_options_that_are_known_are_taken(url: str, known: str) -> None:
    with pytest.raises(InvalidInput, match="does not take the option") as caught:
        open_sink(url, feed="id-all")
    assert known in str(caught.value)


def test_a_file_of_properties_takes_no_others(tmp_path: Path) -> None:
    file = tmp_path / "kafka.properties"
    file.write_text("\ufeff# ours\nsasl.username = me\nsasl.password=JjXx=QqZz\nsecurity.protocol=sasl_plaintext\n")
    url = f"kafka://127.0.0.1:9/t?sasl.mechanism=PLAIN&properties={file}"
    sink: Any = open_sink(url, feed="id-all")
    assert (sink._settings["sasl.username"], sink._settings["sasl.password"]) == ("me", "JjXx=QqZz")
    sink.close()
    file.write_text("sasl.password=JjXx\nplugin.library.paths=/tmp/evil.so\n")
    with pytest.raises(InvalidInput, match=r"kafka\.properties does not take"):
        open_sink(url, feed="id-all")
    file.write_text("JjXxQqZz")
    with pytest.raises(InvalidInput, match="line 1, must be like name=value") as caught:
        open_sink(url, feed="id-all")
    assert "JjXx" not in str(caught.value)
    with pytest.raises(InvalidInput, match="cannot read the properties file"):
        open_sink(f"{url}x", feed="id-all")


@pytest.mark.parametrize(
    "kind", ["redis://me@127.0.0.1:9/0", "postgresql://me@127.0.0.1:9/d", "kafka://me@127.0.0.1:9/t"]
)
def test_a_password_need_not_stand_in_the_url(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def password(url: str, **options: str) -> str | None:
        found: str | None
        sink: Any = open_sink(url, feed="id-all", **options)
        try:
            if kind.startswith("redis"):
                found = sink._client.connection_pool.connection_kwargs.get("password")
                return found
            found = sink._settings.get("password" if kind.startswith("postgresql") else "sasl.password")
            return found
        finally:
            sink.close()

    assert password(kind) is None
    assert password(kind, password="given") == "given"
    monkeypatch.setenv("BLOCKLIST_SINK_PASSWORD", "from-environment")
    assert password(kind) == "from-environment"
    assert password(kind, password="given") == "given"
    own = kind.replace("me@", "me:own@")
    assert password(own) == "own"
    with pytest.raises(InvalidInput, match="two passwords"):
        password(own, password="given")


def test_a_sink_without_a_password_takes_none(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="takes no password"):
        open_sink(tmp_path.as_uri(), feed="id-all", password="x")


@given(password=passwords(), before=st.text(), after=st.text())
def test_what_others_say_is_shown_without_secrets(password: str, before: str, after: str) -> None:
    said = foreign_text(ValueError(f"{before} {password} {after}"), password)
    assert password not in said
    said = foreign_text(f"cannot open redis://me:{quote(password, safe='')}@h/0?token=JjXxQqZz for +6281234567890")
    assert not any(part in said for part in parts(quote(password, safe="")) | {"JjXx", "4567"})
