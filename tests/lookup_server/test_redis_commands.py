"""What the Redis door answers to each command, without a connection."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocklist_sdk import Blocklist
from blocklist_sdk.lookup_server.answers import Answers
from blocklist_sdk.lookup_server.counters import Counters
from blocklist_sdk.lookup_server.redis_commands import COMMANDS, WRONG_TOKENS_MAX, Conversation, RedisDoor, Reply
from support.mixed_list import ADVISED, BLOCKED, BOTH, ENDED, FREE, RANGE, MixedList

NIL = b"$-1\r\n"
BLOCK, ADVISORY = b"$5\r\nblock\r\n", b"$8\r\nadvisory\r\n"


@pytest.fixture(scope="module")
def synced(tmp_path_factory: pytest.TempPathFactory) -> Blocklist:
    published = MixedList(tmp_path_factory.mktemp("published"))
    recipient = published.recipient()
    recipient.sync()
    return recipient


def talking(blocklist: Blocklist, token: bytes | None = None) -> tuple[Conversation, Counters]:
    counters = Counters(workers=1)
    return Conversation(RedisDoor(Answers(blocklist), counters.of(0, "redis"), token, "1.0", 6044)), counters


def ask(talk: Conversation, line: str) -> bytes:
    return whole(talk.reply([word.encode() for word in line.split()]))


def whole(reply: Reply) -> bytes:
    """A reply that may be made little by little."""
    if isinstance(reply, bytes):
        return reply
    *pauses, last = reply
    assert last is not None
    assert not any(pauses)
    return last


@pytest.fixture
def talk(synced: Blocklist) -> Conversation:
    return talking(synced)[0]


def test_numbers_are_looked_up_by_scope_or_for_all(talk: Conversation) -> None:
    assert ask(talk, f"GET {BLOCKED}") == BLOCK
    assert ask(talk, "get 0812-0000-0001") == BLOCK
    assert [ask(talk, f"GET {number}") for number in (ADVISED, FREE, ENDED, RANGE)] == [ADVISORY, NIL, NIL, BLOCK]
    assert [ask(talk, f"GET {scope}:{BOTH}") for scope in ("voice", "SMS", "data")] == [ADVISORY, BLOCK, NIL]
    for address in ("tel:{}", "sip:{}@example;user=phone", "SIPS:{}@example;user=phone", "whatsapp:{}", "sms:tel:{}"):
        assert ask(talk, f"GET {address.format(BLOCKED)}") == BLOCK
    assert ask(talk, f"MGET {BLOCKED} voice:{BOTH} {FREE}") == b"*3\r\n" + BLOCK + ADVISORY + NIL
    assert ask(talk, f"EXISTS {BLOCKED} {ADVISED} {FREE} {BLOCKED}") == b":2\r\n"


def test_many_at_once_are_answered_as_each_alone(synced: Blocklist) -> None:
    talk, counters = talking(synced)
    assert talk.plain_replies(["GoPay", BLOCKED]) is None
    for keys in ([BLOCKED], [BLOCKED, ADVISED, FREE], [BLOCKED, f"sms:{BOTH}"], [f"voice:{BOTH}"]):
        assert talk.plain_replies(keys) == b"".join(ask(talk, f"GET {key}") for key in keys)
    ask(talk, "HELLO 3")
    assert talk.plain_replies([FREE, FREE]) == b"_\r\n_\r\n"
    found = {answer: count for door, answer, count in counters.answered() if count}
    assert found == {"block": 8, "advisory": 4, "free": 4}


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("GET GoPay", "ERR not a telephone number: "),
        ("GET fax:0812", "ERR 'fax' is not a scope; the scopes are data, messaging, sms, voice"),
        (f"GET voice:sms:{BLOCKED}", "ERR a key may have one scope before the number"),
        (f"GET voice:voice:{BLOCKED}", "ERR a key may have one scope before the number"),
        (f"GET vioce:{BLOCKED}", "ERR 'vioce' is not a scope"),
        (f"MGET {BLOCKED} 110", "ERR number 2 of 2: not a telephone number: "),
        ("GET", "ERR wrong number of arguments for 'get' command"),
        ("SET a b", "READONLY this list is read-only"),
        ("DEL 0812", "READONLY this list is read-only"),
        ("HGETALL a", "ERR unknown command 'hgetall': this server answers GET, MGET, EXISTS, PING"),
        ("SELECT 1", "ERR there is one database only: SELECT 0"),
        ("AUTH secret", "ERR this look-up server has no token"),
        ("HELLO 3 AUTH default secret", "ERR this look-up server has no token"),
        ("HELLO 4", "NOPROTO "),
        ("HELLO 3 AUTH", "ERR HELLO takes 2 or 3"),
        ("CLIENT KILL 1", "ERR CLIENT answers ID, "),
        ("CLIENT SETINFO LIB-COLOUR red", "ERR CLIENT SETINFO takes LIB-NAME or LIB-VER"),
        ("EXEC", "ERR EXEC without MULTI"),
    ],
)
def test_what_has_no_answer_gets_an_error_that_says_why(talk: Conversation, line: str, error: str) -> None:
    reply = ask(talk, line)
    assert reply.startswith(f"-{error}".encode())
    assert reply.endswith(b"\r\n")
    assert reply.count(b"\n") == 1
    assert not talk.is_over


def test_no_number_is_repeated_in_an_error(talk: Conversation) -> None:
    for text in ("0812-3456-789O", "62812345678*", "+0812345678901234", "62812345678;ext"):
        reply = ask(talk, f"GET {text}")
        assert reply.startswith(b"-ERR")
        assert b"812345" not in reply
        assert b"0812" not in reply


def test_a_list_that_was_never_synced_says_what_to_do(synced: Blocklist, tmp_path: Path) -> None:
    empty = Blocklist.open(
        synced.url, feed=synced.feed, root=(Path(synced.url[7:]).parent / "root.json"), region="ID", cache_dir=tmp_path
    )
    talk, counters = talking(empty)
    error = b"-NOTSYNCED feed 'id-telkomsel' was never synced on this machine: run blocklist sync first\r\n"
    assert ask(talk, f"GET {BLOCKED}") == ask(talk, f"MGET {BLOCKED}") == error
    assert talk.plain_replies([BLOCKED]) is None
    assert b"\r\nsynced:0\r\n" in ask(talk, "INFO")
    assert ask(talk, "PING") == b"+PONG\r\n"
    assert {answer: count for door, answer, count in counters.answered() if count} == {"refused": 2}


def test_a_client_shows_the_token_first(synced: Blocklist) -> None:
    talk, _ = talking(synced, b"sesame")
    assert not talk.is_plain
    for line in (f"GET {BLOCKED}", "PING", "INFO", "CLIENT ID", "SET a b", "NONSENSE"):
        assert ask(talk, line).startswith(b"-NOAUTH ")
    assert ask(talk, "HELLO 3").startswith(b"-NOAUTH HELLO must come with the token")
    assert ask(talk, "AUTH wrong").startswith(b"-WRONGPASS ")
    assert ask(talk, "AUTH anybody sesame") == b"+OK\r\n"
    assert ask(talk, f"GET {BLOCKED}") == BLOCK
    assert ask(talk, "RESET") == b"+RESET\r\n"
    assert ask(talk, f"GET {BLOCKED}").startswith(b"-NOAUTH ")
    assert ask(talk, "HELLO 3 AUTH default wrong SETNAME a").startswith(b"-WRONGPASS ")
    assert ask(talk, "HELLO 3 AUTH default sesame SETNAME a").startswith(b"%7\r\n")
    assert ask(talk, "CLIENT GETNAME") == b"$1\r\na\r\n"
    assert ask(talk, f"GET {FREE}") == b"_\r\n"


def test_after_some_wrong_tokens_the_server_hangs_up(synced: Blocklist) -> None:
    talk, _ = talking(synced, b"sesame")
    for _ in range(WRONG_TOKENS_MAX):
        assert not talk.is_over
        ask(talk, "AUTH wrong")
    assert talk.is_over


def test_a_wrong_token_takes_trust_away(synced: Blocklist) -> None:
    talk, _ = talking(synced, b"sesame")
    ask(talk, "AUTH sesame")
    ask(talk, "AUTH wrong")
    assert not talk.is_trusted


def test_commands_wait_for_exec(talk: Conversation) -> None:
    assert ask(talk, "SET a b").startswith(b"-READONLY ")  # an error of before does not count
    assert ask(talk, "MULTI") == b"+OK\r\n"
    assert not talk.is_plain
    assert ask(talk, f"GET {BLOCKED}") == ask(talk, "GET GoPay") == b"+QUEUED\r\n"
    reply = ask(talk, "EXEC")
    assert reply.startswith(b"*2\r\n" + BLOCK + b"-ERR not a telephone number")
    assert talk.is_plain
    for wrong in ("SET a b", "INFO", "GET"):
        ask(talk, "MULTI")
        assert ask(talk, wrong).startswith(b"-")
        assert ask(talk, "EXEC").startswith(b"-EXECABORT ")
    ask(talk, "MULTI")
    assert ask(talk, "MULTI").startswith(b"-ERR")
    assert ask(talk, "DISCARD") == b"+OK\r\n"
    ask(talk, "MULTI")
    replies = {ask(talk, f"MGET {' '.join([FREE] * 1000)}")[:8] for _ in range(30)}
    assert replies == {b"+QUEUED\r", b"-ERR at "}


def test_the_server_tells_about_itself(talk: Conversation) -> None:
    info = ask(talk, "INFO").decode()
    for line in ("redis_version:7.0.0", "loading:0", "role:master", "feed:id-telkomsel", "synced:1", "release:1"):
        assert f"\r\n{line}\r\n" in info
    assert "\r\nstale:0\r\n" in info
    assert "# Server" not in ask(talk, "INFO blocklist").decode()
    assert ask(talk, "COMMAND COUNT") == b":%d\r\n" % len(COMMANDS)
    assert ask(talk, "COMMAND INFO get nonsense").endswith(b"*-1\r\n")
    assert ask(talk, "COMMAND").startswith(b"*%d\r\n*6\r\n$3\r\nget\r\n:2\r\n" % len(COMMANDS))
    assert ask(talk, "COMMAND DOCS get").startswith(b"*2\r\n$3\r\nget\r\n")
    assert ask(talk, "CLIENT SETNAME gateway-1") == b"+OK\r\n"
    assert ask(talk, "CLIENT SETINFO LIB-NAME redis-py") == b"+OK\r\n"
    assert b" name=gateway-1 " in ask(talk, "CLIENT INFO")
    assert ask(talk, "PING hello") == ask(talk, "ECHO hello") == b"$5\r\nhello\r\n"
    assert ask(talk, "QUIT") == b"+OK\r\n"
    assert talk.is_over


def test_a_form_of_a_browser_ends_the_conversation(talk: Conversation) -> None:
    assert ask(talk, "POST / HTTP/1.1").startswith(b"-ERR this port speaks the protocol of Redis, not HTTP")
    assert talk.is_over


WORDS = st.one_of(
    st.sampled_from(
        [*COMMANDS, "set", "3", "auth", "setname", "docs", "info", "setinfo", "lib-name", BLOCKED, "sesame"]
    ),
    st.text(max_size=6),
).map(lambda word: word.encode("utf-8", "surrogatepass"))


@given(requests=st.lists(st.lists(WORDS, max_size=5) | st.lists(st.binary(max_size=6), max_size=3), max_size=12))
def test_whatever_is_asked_gets_one_reply_and_nothing_is_raised(synced: Blocklist, requests: list[list[bytes]]) -> None:
    for token in (None, b"sesame"):
        talk, _ = talking(synced, token)
        for request in requests:
            reply = whole(talk.reply(request))
            assert (reply[:1] in b"+-:$*%_=" and reply.endswith(b"\r\n")) if request else not reply


HANDSHAKES = {
    "Lettuce 6, version 3": [
        ("HELLO 3 AUTH default sesame SETNAME gateway-1", b"%7\r\n"),
        ("CLIENT SETINFO lib-name Lettuce", b"+OK\r\n"),
        ("CLIENT SETINFO lib-ver 6.8.1.RELEASE/e7c1ea0", b"+OK\r\n"),
        ("PING", b"+PONG\r\n"),
    ],
    "Lettuce 6, version 2": [("AUTH sesame", b"+OK\r\n"), ("PING", b"+PONG\r\n"), ("SELECT 0", b"+OK\r\n")],
    "Jedis 5": [
        ("AUTH default sesame", b"+OK\r\n"),
        ("CLIENT SETNAME gateway-1", b"+OK\r\n"),
        ("CLIENT SETINFO LIB-NAME jedis", b"+OK\r\n"),
        ("CLIENT SETINFO LIB-VER 5.2.0", b"+OK\r\n"),
        ("SELECT 0", b"+OK\r\n"),
        ("PING", b"+PONG\r\n"),
    ],
    "Jedis 5, version 3": [("HELLO 3 AUTH default sesame", b"%7\r\n"), ("CLIENT SETINFO LIB-NAME jedis", b"+OK\r\n")],
    "hiredis, as in Kamailio": [("AUTH sesame", b"+OK\r\n"), ("PING", b"+PONG\r\n"), ("SELECT 0", b"+OK\r\n")],
}
"""What clients send when they connect, by their documentation, where they themselves are not at hand."""


@pytest.mark.parametrize("client", HANDSHAKES)
def test_a_client_connects(synced: Blocklist, client: str) -> None:
    talk, _ = talking(synced, b"sesame")
    for line, reply in HANDSHAKES[client]:
        assert ask(talk, line).startswith(reply)
    assert ask(talk, f"GET {BLOCKED}") == BLOCK
