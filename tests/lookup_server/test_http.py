"""The HTTP door of a service as an operator starts it: every address, and every question that cannot be answered."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pyarrow as pa
import pytest

from blocklist_sdk import Blocklist
from blocklist_sdk.lookup_server.figures import HELP
from blocklist_sdk.lookup_server.messages import ARROW
from blocklist_sdk.lookup_server.openapi import openapi_document
from blocklist_sdk.records import Scope
from support.command_line import run
from support.lookup_servers import Service, over_unix, serving
from support.mixed_list import ADVISED, BLOCKED, FREE, QUESTIONS, VOICE_ONLY, MixedList

TOO_MANY = [FREE] * 10_001


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> MixedList:
    return MixedList(tmp_path_factory.mktemp("published"))


@pytest.fixture(scope="module")
def synced(published: MixedList) -> Blocklist:
    recipient = published.recipient()
    recipient.sync()
    return recipient


@pytest.fixture(scope="module")
def service(published: MixedList, synced: Blocklist, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("service")
    with serving(
        published.settings(), folder / "log", "--uds", str(folder / "lookups.sock"), "--workers", "2"
    ) as service:
        yield service
        assert service.stop() == 0
        log = service.log.read_text()
        assert log == "blocklist: serving until Ctrl-C\n"


@pytest.fixture(scope="module")
def client(service: Service) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url) as client:
        yield client


def arrow(column: Any, **options: Any) -> bytes:
    table = column if isinstance(column, pa.Table) else pa.table({"number": column})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, **options) as stream:
        stream.write_table(table)
    written: bytes = sink.getvalue().to_pybytes()
    return written


def refused(response: httpx.Response, status: int, *words: str) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert problem["status"] == status
    assert problem["type"].startswith("urn:blocklist:problem:")
    for word in words:
        assert word in problem["detail"], problem
    return problem


@pytest.mark.parametrize("scope", [None, "voice", "sms", "messaging"])
def test_an_answer_is_that_of_check_in_json(client: httpx.Client, published: MixedList, scope: str | None) -> None:
    asked = () if scope is None else ("--scope", scope)
    ran = run("check", "--json", *QUESTIONS, *asked, env=published.settings())
    for text, wanted in zip(QUESTIONS, ran.lines, strict=True):
        response = client.get(f"/v1/verdicts/{quote(text)}", params={} if scope is None else {"scope": scope})
        assert response.status_code == 200
        assert response.headers["content-type"] == "application/json"
        assert response.headers["cache-control"] == "no-store"
        assert response.text == f"{wanted}\n"


def test_a_plus_needs_no_escape_and_spaces_do(client: httpx.Client) -> None:
    for text in (BLOCKED, quote(BLOCKED), BLOCKED.replace("+62812", "0812%20"), "0812-0000-0001"):
        assert client.get(f"/v1/verdicts/{text}").json()["blocked"] is True


def test_digits_of_other_scripts_are_read(service: Service) -> None:
    raw = f"GET /v1/verdicts/{BLOCKED.translate(str.maketrans('0123456789', '٠١٢٣٤٥٦٧٨٩'))} HTTP/1.1\r\n"
    answer = service.say(raw.encode() + b"Host: localhost\r\nConnection: close\r\n\r\n")
    assert b'"blocked": true' in answer or answer.startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize("text", ["GoPay", "112", "%20", "0812%F0%9F%98%80", "0812345678*", "'--", "0" * 900])
def test_what_is_no_number_gets_the_reason(client: httpx.Client, text: str) -> None:
    problem = refused(client.get(f"/v1/verdicts/{text}"), 422, "is not a telephone number")
    assert problem["title"] == "Not a telephone number"
    assert problem["reason"]


def test_bytes_that_are_not_utf_8_are_no_number(client: httpx.Client) -> None:
    assert refused(client.get("/v1/verdicts/%ff"), 422)["reason"] == "not UTF-8"


@pytest.mark.parametrize("query", ["scope=fax", "scope=", "scop=sms", "scope=sms&scope=voice", "scope=%ff"])
def test_a_wrong_parameter_is_no_question_without_it(client: httpx.Client, query: str) -> None:
    refused(client.get(f"/v1/verdicts/{FREE}?{query}"), 422)
    refused(client.post(f"/v1/verdicts?{query}", json={"numbers": []}), 422)


def test_wrong_addresses_and_methods(client: httpx.Client) -> None:
    refused(client.get("/v1/verdicts/"), 404, "/v1/verdicts/{number}", "/readyz")
    refused(client.get("/"), 404)
    response = client.delete(f"/v1/verdicts/{FREE}")
    refused(response, 405, "GET, HEAD")
    assert response.headers["allow"] == "GET, HEAD"
    assert client.get("/v1/verdicts").headers["allow"] == "POST"
    refused(client.post("/v1/verdicts", content=b"x", headers={"Content-Type": "text/csv"}), 415, "application/json")
    refused(client.post("/v1/verdicts", content=b"x"), 415)


def test_head_is_get_without_a_body(client: httpx.Client) -> None:
    for path in (f"/v1/verdicts/{BLOCKED}", "/healthz", "/readyz"):
        got, head = client.get(path), client.head(path)
        assert (head.status_code, head.text) == (200, "")
        assert head.headers["content-length"] == got.headers["content-length"]


def test_a_list_in_json(client: httpx.Client, synced: Blocklist) -> None:
    numbers: list[Any] = [*QUESTIONS, "GoPay", int(BLOCKED), 1, ""]
    for scope in (None, "voice"):
        response = client.post("/v1/verdicts", json={"numbers": numbers, "scope": scope})
        assert response.status_code == 200
        found = response.json()["verdicts"]
        assert [verdict["input"] for verdict in found] == [str(number) for number in numbers]
        for text, verdict in zip(QUESTIONS, found[: len(QUESTIONS)], strict=True):
            wanted = client.get(f"/v1/verdicts/{quote(text)}", params={"scope": scope} if scope else {}).json()
            assert verdict == wanted
        letters, integer, short, nothing = found[len(QUESTIONS) :]
        assert integer["blocked"] is True
        assert {each["error"]["type"] for each in (letters, short, nothing)} == {"InvalidNumber"}
    body = {"numbers": [VOICE_ONLY]}
    assert client.post("/v1/verdicts?scope=sms", json=body).json()["verdicts"][0]["blocked"] is False
    refused(client.post("/v1/verdicts?scope=sms", json=body | {"scope": "sms"}), 422, "once")


def test_halves_of_characters_come_back(client: httpx.Client) -> None:
    content = b'{"numbers": ["\\ud800"]}'
    response = client.post("/v1/verdicts", content=content, headers={"Content-Type": "application/json"})
    assert response.json()["verdicts"][0]["input"] == "\ud800"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"x",
        b"[]",
        b"{}",
        b'{"numbers": {}}',
        b'{"numbers": [true]}',
        b'{"numbers": [null]}',
        b'{"numbers": [1.5]}',
        b'{"numbers": [NaN]}',
        b'{"numbers": [], "scope": 1}',
        b'{"numbers": [], "scope": "fax"}',
        b'{"numbers": [], "scope": ""}',
        b'{"numbers": [], "numbers": []}',
        b'{"numbers": [], "number": []}',
        b'{"numbers": ["\xff"]}',
        b'{"numbers": [' + b"1" * 5000 + b"]}",
        b"[" * 100_000,
    ],
)
def test_a_body_that_is_no_question(client: httpx.Client, content: bytes) -> None:
    refused(client.post("/v1/verdicts", content=content, headers={"Content-Type": "application/json"}), 422)


def test_ten_thousand_numbers_and_no_more(client: httpx.Client) -> None:
    most = client.post("/v1/verdicts", json={"numbers": TOO_MANY[1:]}, timeout=60)
    assert len(most.json()["verdicts"]) == 10_000
    refused(client.post("/v1/verdicts", json={"numbers": TOO_MANY}), 413, "10,000")
    for column in (pa.array(TOO_MANY), pa.array([int(each) for each in TOO_MANY])):
        response = client.post("/v1/verdicts", content=arrow(column), headers={"Content-Type": ARROW})
        refused(response, 413, "10,000")
    response = client.post("/v1/verdicts", content=b"x" * (3 << 20), headers={"Content-Type": ARROW})
    refused(response, 413, "bytes")


@pytest.mark.parametrize("scope", [None, "voice", "sms"])
@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view(), pa.int64(), pa.uint64()])
def test_a_column_in_arrow(client: httpx.Client, synced: Blocklist, scope: Scope | None, kind: Any) -> None:
    texts = [*QUESTIONS, "GoPay", None]
    if pa.types.is_integer(kind):
        column = pa.array([int(text) for text in texts if text and text.startswith("+")] + [None, 1], kind)
    else:
        column = pa.array(texts).cast(kind)
    response = client.post(
        "/v1/verdicts",
        content=arrow(column),
        headers={"Content-Type": f"{ARROW}; x=y"},
        params={"scope": scope} if scope else {},
    )
    assert response.status_code == 200
    assert response.headers["content-type"] == ARROW
    assert pa.ipc.open_stream(response.content).read_all().equals(synced.screen(column, scope=scope))


COLUMN = pa.array([BLOCKED, FREE])


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 400),
        (b"x" * 1000, 400),
        (arrow(COLUMN)[:-200], 400),
        (arrow(COLUMN)[: len(arrow(COLUMN)) // 2], 400),
        (arrow(COLUMN.dictionary_encode()), 422),
        (arrow(COLUMN, options=pa.ipc.IpcWriteOptions(compression="zstd")), 422),
        (arrow(pa.array([1.5])), 422),
        (arrow(pa.array([[BLOCKED]])), 422),
        (arrow(pa.table({"a": COLUMN, "b": COLUMN})), 422),
        (arrow(pa.table({})), 422),
    ],
)
def test_a_body_that_is_no_column(client: httpx.Client, content: bytes, status: int) -> None:
    refused(client.post("/v1/verdicts", content=content, headers={"Content-Type": ARROW}), status)


def test_an_empty_column_has_an_empty_answer(client: httpx.Client) -> None:
    response = client.post("/v1/verdicts", content=arrow(pa.array([], pa.string())), headers={"Content-Type": ARROW})
    assert pa.ipc.open_stream(response.content).read_all().num_rows == 0


def test_health_and_readiness(client: httpx.Client, synced: Blocklist) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    ready = client.get("/readyz").json()
    status = synced.status()
    assert ready["status"] == "ready"
    assert (ready["feed"], ready["serial"], ready["stale"]) == (status.feed, status.serial, False)
    assert ready["last_sync_error"] is None


def test_figures_are_of_all_workers(service: Service) -> None:
    def counted() -> dict[str, float]:
        text = httpx.get(f"{service.url}/metrics").text
        assert "# HELP blocklist_up" in text
        assert {f"# HELP blocklist_{name} " in text for name in HELP} == {True}
        return {name: float(value) for name, value in re.findall(r"^(\w+\{[^}]*\}) (\S+)$", text, re.MULTILINE)}

    labels = 'feed="id-telkomsel",door="http"'
    before = counted()
    for _ in range(20):  # each over a connection of its own, so that both workers get some
        httpx.get(f"{service.url}/v1/verdicts/{BLOCKED}")
        httpx.get(f"{service.url}/v1/verdicts/{ADVISED}")
        httpx.get(f"{service.url}/v1/verdicts/GoPay")
    with over_unix(Path(service.addresses[1])) as client:
        assert client.get(f"/v1/verdicts/{FREE}").json()["blocked"] is False
    after = counted()

    def more(name: str) -> float:
        return after[name] - before[name]

    assert more(f'blocklist_lookup_numbers_total{{{labels},answer="block"}}') == 20
    assert more(f'blocklist_lookup_numbers_total{{{labels},answer="advisory"}}') == 20
    assert more(f'blocklist_lookup_numbers_total{{{labels},answer="invalid"}}') == 20
    assert more(f'blocklist_lookup_requests_total{{{labels},status="422"}}') == 20
    assert more(f"blocklist_lookup_seconds_count{{{labels}}}") >= 60
    assert more('blocklist_lookup_numbers_total{feed="id-telkomsel",door="unix",answer="free"}') == 1
    assert after['blocklist_lookup_workers{feed="id-telkomsel"}'] == 2


def test_the_service_describes_itself(client: httpx.Client) -> None:
    assert client.get("/openapi.json").json() == json.loads(json.dumps(openapi_document()))
