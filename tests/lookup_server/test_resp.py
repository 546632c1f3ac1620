"""Requests are read the same however their bytes are cut, and nothing that a client sends raises or piles up."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocklist_sdk.lookup_server import resp
from blocklist_sdk.lookup_server.resp import Request, RequestReader, plain_keys

LENGTHS = st.one_of(st.integers(-2, 12), st.sampled_from([4096, 4097, 10_001, 10_002, 10**9]))
PIECES = st.one_of(
    st.sampled_from([b"\r\n", b"\n", b"\r", b"*2\r\n$3\r\nGET\r\n", b"*1\r\n$4\r\nPING\r\n", b"ping\r\n", b'get "0'])
    | st.sampled_from([b"*", b"$", b" ", b"'", b'"', b"*-1\r\n", b"*0\r\n", b"$-1\r\n", b"+OK\r\n", b"x" * 1030]),
    st.builds(lambda kind, n: b"%b%d\r\n" % (kind, n), st.sampled_from([b"*", b"$"]), LENGTHS),
    st.builds(lambda text: b"$%d\r\n%b\r\n" % (len(text), text), st.binary(max_size=12)),
    st.binary(max_size=8),
)
BYTES = st.lists(PIECES, max_size=24).map(b"".join)
REQUESTS = st.lists(st.lists(st.binary(max_size=30), min_size=1, max_size=6), max_size=6)


def packed(*arguments: bytes) -> bytes:
    """A request as clients send it."""
    return b"*%d\r\n%b" % (len(arguments), b"".join(b"$%d\r\n%b\r\n" % (len(each), each) for each in arguments))


def packed_gets(keys: list[str]) -> bytes:
    return b"".join(packed(b"get" if len(key) % 3 == 0 else b"GET", key.encode()) for key in keys)


def read(pieces: Sequence[bytes], arguments_max: int = resp.ARGUMENTS_MAX) -> tuple[list[Request], str | None]:
    reader, found = RequestReader(arguments_max), []
    for piece in pieces:
        reader.feed(piece)
        while (request := reader.next()) is not None:
            found.append(request)
    return found, reader.problem


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    ends = sorted({place % (len(data) + 1) for place in places} | {len(data)})
    return [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]


@given(BYTES, st.lists(st.integers(0, 10_000), max_size=8))
def test_any_bytes_are_read_the_same_however_they_are_cut(data: bytes, places: list[int]) -> None:
    whole = read([data])
    assert read(cut(data, places)) == whole
    assert read([data[i : i + 1] for i in range(len(data))]) == whole


@given(REQUESTS, st.lists(st.integers(0, 1000), max_size=4))
def test_what_a_client_packs_is_read_as_it_was(requests: list[Request], places: list[int]) -> None:
    data = b"".join(packed(*request) for request in requests)
    assert read(cut(data, places)) == (requests, None)


@given(st.one_of(BYTES, st.lists(st.text("GETget08+-: \r\n$*25\u0664", max_size=20)).map(packed_gets)))
def test_the_quick_way_reads_what_the_other_reads(data: bytes) -> None:
    keys = plain_keys(data)
    if keys:
        requests, problem = read([data])
        assert [[name.upper(), key] for name, key in requests] == [[b"GET", key.encode()] for key in keys]
        assert problem is None


def test_the_quick_way_is_taken_for_what_clients_send() -> None:
    keys = ["+6281234567890", "0812", "voice:62811", ""]
    assert plain_keys(packed_gets(keys)) == keys
    assert plain_keys(packed_gets(keys[:1])) == keys[:1]
    assert plain_keys(packed_gets(keys)[:-1]) is None
    assert not plain_keys(b"")


@given(BYTES)
def test_what_is_kept_of_a_request_has_a_bound(data: bytes) -> None:
    reader = RequestReader()
    for _ in range(3):
        reader.feed(data)
        while reader.next() is not None:
            pass
    kept = sum(map(len, reader._request)) + len(reader._buffer) - reader._at
    assert kept <= resp.REQUEST_BYTES_MAX + resp.TEXT_BYTES_MAX + resp.LINE_BYTES_MAX


def texts(count: int, length: int) -> bytes:
    return b"$%d\r\n%b\r\n" % (length, b"1" * length) * count


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"*10002\r\n", "a request may have 10,000 numbers: send several requests"),
        (b"*99999999999999999999\r\n", "a request may have 10,000 numbers: send several requests"),
        (b"*" + b"1" * 40, "the count of a request's texts is not a number"),
        (b"*x\r\n", "the count of a request's texts is not a number"),
        (b"*1\r\n:1\r\n", "expected '$' and the length of a text"),
        (b"*1\r\n$-1\r\n", "a text may have 0 to 4,096 bytes"),
        (b"*1\r\n$4097\r\n", "a text may have 0 to 4,096 bytes"),
        (b"*1\r\n$2\r\nabc\r\n", "a text is longer than its length says"),
        (b"*10001\r\n" + texts(257, 4096), "a request may have 1,048,576 bytes: send several requests"),
        (b"x" * 1025, "a line may have 1,024 bytes"),
        (b"get '0812\r\n", "the quotes of a line do not close"),
    ],
)
def test_each_limit_ends_the_conversation_with_its_reason(data: bytes, problem: str) -> None:
    assert read([data]) == ([], problem)
    assert read([b"*1\r\n$4\r\nPING\r\n", data, b"PING\r\n"]) == ([[b"PING"]], problem)


def test_the_largest_request_is_read() -> None:
    found, problem = read([b"*10001\r\n$4\r\nMGET\r\n", texts(10_000, 100)])
    assert problem is None
    assert [len(request) for request in found] == [10_001]


def test_a_stranger_may_send_short_requests_only() -> None:
    assert read([b"*10\r\n"], resp.STRANGERS_ARGUMENTS_MAX) == ([], None)
    assert read([b"*11\r\n"], resp.STRANGERS_ARGUMENTS_MAX)[1] == "authenticate first: send AUTH with the token"


def test_lines_are_read_as_people_type_them() -> None:
    assert read([b'\r\n get  0812\t\nGET "0812 345"\r\n'])[0] == [[b"get", b"0812"], [b"GET", b"0812 345"]]


def test_replies_are_as_a_client_reads_them() -> None:
    assert resp.mapping([("a", resp.nil(3)), ("b", resp.array([]))], 3) == b"%2\r\n$1\r\na\r\n_\r\n$1\r\nb\r\n*0\r\n"
    assert resp.error("ERR two\r\nlines") == b"-ERR two lines\r\n"
