"""What the Redis door answers to each command: a conversation with one client, without I/O.

``GET``, ``MGET`` and ``EXISTS`` ask about numbers. The rest is what clients of Redis send when they connect, and when
people look around. What would write is refused: the list comes from the authority.
"""

import hmac
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from blocklist_sdk import times
from blocklist_sdk.errors import BlocklistError, InvalidInput, InvalidNumber, NotSynced, Stale
from blocklist_sdk.lookup_server import resp
from blocklist_sdk.lookup_server.answers import Answers
from blocklist_sdk.lookup_server.counters import DoorCounters
from blocklist_sdk.lookup_server.questions import NUMBERS_MAX
from blocklist_sdk.lookup_server.resp import ProtocolVersion, Request
from blocklist_sdk.lookup_server.seldom import Seldom
from blocklist_sdk.recipient.cache.kinds import Found
from blocklist_sdk.records import SCOPES, Scope, Status

log: logging.Logger = logging.getLogger(__name__)

REDIS_VERSION: Final = "7.0.0"
"""The version of Redis whose commands are spoken: clients look at it to know what they may send."""

QUEUED_TEXTS_MAX: Final = 2 * NUMBERS_MAX
"""Most texts of all commands between ``MULTI`` and ``EXEC``: a name and a number each."""

WRONG_TOKENS_MAX: Final = 5
"""Wrong tokens after which the server hangs up."""

_NAME_BYTES_MAX: Final = 128
"""Longest name that a client may give itself or its library; longer ones are cut."""

_PRINTABLE: Final = b"!~"
"""The first and the last letter that names may have, as with Redis."""

Reply = bytes | Iterator[bytes | None]
"""A reply; or what makes one little by little: None as long as there is more to do, and then the reply."""

_AT_A_TIME: Final = 16
"""How many numbers are read before others may have their turn; some take a tenth of a millisecond each."""

_REPLIES: Final[dict[ProtocolVersion, dict[Found, bytes]]] = {
    version: {"block": resp.text("block"), "advisory": resp.text("advisory"), "": resp.nil(version)}
    for version in (2, 3)
}
"""The reply for each level."""

_SCOPED: Final[dict[str, Scope]] = {scope: scope for scope in SCOPES}

_ADDRESSES: Final = frozenset({"tel", "sip", "sips", "whatsapp"})
"""With what addresses begin that the reader of numbers takes; what begins with sms: has a scope here."""

_NOAUTH: Final = "NOAUTH Authentication required: send AUTH with the token of the look-up server"
_WRONGPASS: Final = "WRONGPASS the token is wrong"
_READ_ONLY: Final = (
    "READONLY this list is read-only: only the authority changes it; blocklist override makes decisions of your own"
)
_WRITES: Final = (
    "append bitfield bitop blmove blmpop blpop brpop brpoplpush bzmpop bzpopmax bzpopmin copy decr decrby del expire "
    "expireat flushall flushdb geoadd geosearchstore getdel getex getset hdel hexpire hincrby hincrbyfloat hmset hset "
    "hsetnx incr incrby incrbyfloat linsert lmove lmpop lpop lpush lpushx lrem lset ltrim move mset msetnx persist "
    "pexpire pexpireat pfadd pfmerge psetex publish rename renamenx restore rpop rpoplpush rpush rpushx sadd "
    "sdiffstore set setbit setex setnx setrange sinterstore smove sort spop srem sunionstore swapdb unlink xack xadd "
    "xautoclaim xclaim xdel xgroup xreadgroup xsetid xtrim zadd zdiffstore zincrby zinterstore zmpop zpopmax zpopmin "
    "zrangestore zrem zremrangebylex zremrangebyrank zremrangebyscore zunionstore"
)
"""Commands of Redis 7 that write."""

_WRITING: Final = frozenset(_WRITES.split())


def split_key(key: str) -> tuple[str, Scope | None]:
    """The number that a key asks about, and the scope before it.

    >>> split_key("voice:0812-3456-7890"), split_key("tel:+6281234567890")
    (('0812-3456-7890', 'voice'), ('tel:+6281234567890', None))

    Raises:
        InvalidInput: there is a word before a colon that is not a scope, or there are two scopes.
    """
    name, colon, number = key.partition(":")
    if not colon:
        return key, None
    scope = _SCOPED.get(name.lower())
    if scope is not None:
        # The reader of numbers would take sms: for the beginning of an address.
        if number.partition(":")[0].strip().lower() in _SCOPED:
            raise InvalidInput("a key may have one scope before the number: ask about each by itself")
        return number, scope
    if name.isalpha() and name.lower() not in _ADDRESSES:
        raise InvalidInput(f"{name[:20]!r} is not a scope; the scopes are {', '.join(SCOPES)}")
    return key, None


@dataclass(slots=True)
class RedisDoor:
    """What all conversations of a worker share.

    Attributes:
        answers: what answers questions.
        counters: where answers are counted.
        token: what clients must show first; None if they need not.
        version: the version of this library.
        port: where clients connect.
        clients: how many are connected.
        started: when the worker began, by the monotonic clock.
        next_id: the id of the next conversation.
    """

    answers: Answers
    counters: DoorCounters
    token: bytes | None
    version: str
    port: int = 0
    clients: int = 0
    started: float = field(default_factory=time.monotonic)
    next_id: int = 1
    _unreadable: Seldom = field(default_factory=Seldom)

    def error_reply(self, error: BlocklistError, *, place: str = "") -> bytes:
        """The error of a question, with a code that programs can tell apart. Never a number.

        Args:
            error: what the question raised.
            place: which one of several questions it was.
        """
        if isinstance(error, InvalidNumber):
            return resp.error(f"ERR {place}not a telephone number: {error.reason}")
        if isinstance(error, InvalidInput):
            return resp.error(f"ERR {place}{error}")
        if isinstance(error, NotSynced):
            return resp.error(f"NOTSYNCED {error}")
        if isinstance(error, Stale):
            return resp.error(f"STALE {error}")
        if self._unreadable.is_due():
            log.error("the list cannot be read: %s", error)
        return resp.error("ERR the list cannot be read now: the log of the look-up server says why")

    def about_list(self) -> list[str]:
        """The lines of ``INFO`` about the list, at most a second old."""
        try:
            return _lines_about(self.answers.status())
        except BlocklistError as error:
            return [f"feed:{self.answers.blocklist.feed}", "synced:unknown", f"problem:{error}"]


def _lines_about(status: Status) -> list[str]:
    known = {
        "feed": status.feed,
        "synced": int(status.serial is not None),
        "release": status.serial,
        "era": status.era,
        "rows": status.rows,
        "published_at": times.iso(status.as_of) if status.as_of else None,
        "expires_at": times.iso(status.expires) if status.expires else None,
        "stale": int(status.stale) if status.serial is not None else None,
        "clock_behind_seconds": status.clock_behind_s,
        "overrides": status.overrides,
    }
    return [f"{name}:{value}" for name, value in known.items() if value is not None]


class Conversation:
    """One client's conversation.

    Attributes:
        is_trusted: whether the client has shown the token, or need not.
        is_over: whether the server hangs up after the last reply.
        version: the version of the protocol.
    """

    def __init__(self, door: RedisDoor) -> None:
        self.door = door
        self.id: int = door.next_id
        door.next_id += 1
        self.is_trusted: bool = door.token is None
        self.is_over: bool = False
        self.version: ProtocolVersion = 2
        self._since = time.monotonic()
        self._name, self._library, self._library_version = b"", b"", b""
        self._wrong_tokens = 0
        self._queue: list[Request] | None = None
        self._queued_texts, self._queued_bytes = 0, 0
        self._is_queue_wrong = False

    @property
    def is_plain(self) -> bool:
        """Whether keys may be looked up without a look at the state of the conversation."""
        return self.is_trusted and self._queue is None

    def plain_replies(self, keys: Sequence[str]) -> bytes | None:
        """The replies to so many ``GET``; None if one of them is an error, since to say why takes a while."""
        reply_of = _REPLIES[self.version]
        try:
            if len(keys) == 1 and ":" not in keys[0]:
                level = self.door.answers.level(keys[0])
                self.door.counters.numbers(level or "free")
                return reply_of[level]
            if ":" in "".join(keys):
                levels = self._levels([split_key(key) for key in keys])
            else:
                levels = self.door.answers.levels(keys)
                self._count(levels)
        except BlocklistError:
            return None
        return b"".join(map(reply_of.__getitem__, levels))

    def _levels(self, questions: Sequence[tuple[str | int, Scope | None]]) -> list[Found]:
        """The levels in force for some numbers, by one look at the list for each scope; counted.

        Raises:
            BlocklistError: one of them has no answer.
        """
        found: list[Found] = [""] * len(questions)
        for scope in {scope for _, scope in questions}:
            places = [place for place, question in enumerate(questions) if question[1] == scope]
            levels = self.door.answers.levels([questions[place][0] for place in places], scope)
            for place, level in zip(places, levels, strict=True):
                found[place] = level
        self._count(found)
        return found

    def _count(self, levels: Sequence[Found]) -> None:
        counted = self.door.counters.numbers
        blocks, advisories = levels.count("block"), levels.count("advisory")
        counted("block", blocks)
        counted("advisory", advisories)
        counted("free", len(levels) - blocks - advisories)

    def _get_one(self, key: str) -> bytes:
        try:
            level = self._level(key)
        except BlocklistError as error:
            return self.door.error_reply(error)
        return _REPLIES[self.version][level]

    def _level(self, key: str) -> Found:
        """The level in force for a key's number; counted.

        Raises:
            BlocklistError: it has no answer.
        """
        counted = self.door.counters.numbers
        try:
            number, scope = split_key(key)
            level = self.door.answers.level(number, scope)
        except InvalidInput:
            counted("invalid")
            raise
        except BlocklistError:
            counted("refused")
            raise
        counted(level or "free")
        return level

    def reply(self, request: Request) -> Reply:
        """The reply to a request; empty for an empty one."""
        if not request:
            return b""
        name = request[0].decode("ascii", "replace").lower()
        if not self.is_trusted and name not in _BEFORE_TOKEN:
            return resp.error(_NOAUTH)
        command = COMMANDS.get(name)
        if command is None:
            problem = self._unknown(name)
        elif not command.takes(len(request)):
            problem = f"ERR wrong number of arguments for '{name}' command"
        elif self._queue is not None and name not in _AMID_MULTI:
            return self._enqueue(name, request)
        else:
            return command.run(self, request)
        self._is_queue_wrong = self._queue is not None
        return resp.error(problem)

    def _unknown(self, name: str) -> str:
        if name in _WRITING:
            return _READ_ONLY
        if name in ("post", "host:"):
            # A browser that was made to send a form here would send more after it.
            self.is_over = True
            return "ERR this port speaks the protocol of Redis, not HTTP"
        return f"ERR unknown command '{name[:40]}': this server answers {_ANSWERED}"

    # Questions

    def _get(self, request: Request) -> bytes:
        return self._get_one(_key(request[1]))

    def _mget(self, request: Request) -> Reply:
        replies = _REPLIES[self.version]
        return self._each(request[1:], lambda levels: resp.array([replies[level] for level in levels]))

    def _exists(self, request: Request) -> Reply:
        return self._each(request[1:], lambda levels: resp.integer(levels.count("block")))

    def _each(self, keys: Sequence[bytes], answer: Callable[[Sequence[Found]], bytes]) -> Iterator[bytes | None]:
        """Read the numbers a few at a time, and look them up at once: reading is what may take long."""
        questions: list[tuple[int, Scope | None]] = []
        try:
            for key in keys:
                text, scope = split_key(_key(key))
                questions.append((self.door.answers.read(text), scope))
                if not len(questions) % _AT_A_TIME:
                    yield None
            levels = self._levels(questions)
        except BlocklistError as error:
            is_question = isinstance(error, InvalidInput)
            self.door.counters.numbers("invalid" if is_question else "refused")
            place = f"number {len(questions) + 1} of {len(keys)}: " if is_question and len(keys) > 1 else ""
            yield self.door.error_reply(error, place=place)
            return
        yield answer(levels)

    # The connection

    def _ping(self, request: Request) -> bytes:
        return resp.text(request[1]) if len(request) > 1 else resp.status("PONG")

    def _echo(self, request: Request) -> bytes:
        return resp.text(request[1])

    def _quit(self, request: Request) -> bytes:
        self.is_over = True
        return resp.OK

    def _reset(self, request: Request) -> bytes:
        self.is_trusted = self.door.token is None
        self.version = 2
        self._name = b""
        self._drop_queue()
        return resp.status("RESET")

    def _select(self, request: Request) -> bytes:
        if request[1] == b"0":
            return resp.OK
        return resp.error("ERR there is one database only: SELECT 0")

    def _auth(self, request: Request) -> bytes:
        return self._show(request[-1]) or resp.OK

    def _show(self, token: bytes) -> bytes | None:
        """Take a token that a client shows; an error if it is wrong. The name of a user does not matter."""
        if self.door.token is None:
            return resp.error("ERR this look-up server has no token: connect without a password")
        self.is_trusted = hmac.compare_digest(token, self.door.token)
        if self.is_trusted:
            return None
        self._wrong_tokens += 1
        self.is_over = self._wrong_tokens >= WRONG_TOKENS_MAX
        return resp.error(_WRONGPASS)

    def _hello(self, request: Request) -> bytes:
        version, rest = self.version, request[1:]
        if rest:
            if rest[0] == b"2":
                version = 2
            elif rest[0] == b"3":
                version = 3
            else:
                return resp.error("NOPROTO this server speaks the versions 2 and 3 of the protocol")
            rest = rest[1:]
        name: bytes | None = None
        refused: bytes | None = None
        while rest:
            option = rest[0].lower()
            if option == b"auth" and len(rest) >= 3:
                refused, rest = self._show(rest[2]), rest[3:]
            elif option == b"setname" and len(rest) >= 2:
                name, rest = rest[1], rest[2:]
            else:
                return resp.error("ERR HELLO takes 2 or 3, then AUTH user token and SETNAME name")
        if refused is not None:
            return refused
        if not self.is_trusted:
            return resp.error("NOAUTH HELLO must come with the token: HELLO 3 AUTH default TOKEN")
        self.version = version
        if name is not None:
            self._name = name[:_NAME_BYTES_MAX]
        about = {
            "server": resp.text("blocklist"),
            "version": resp.text(REDIS_VERSION),
            "proto": resp.integer(version),
            "id": resp.integer(self.id),
            "mode": resp.text("standalone"),
            "role": resp.text("master"),
            "modules": resp.array([]),
        }
        return resp.mapping(about.items(), version)

    # About clients and the server

    def _client(self, request: Request) -> bytes:
        part, rest = request[1].lower(), request[2:]
        if part == b"id" and not rest:
            return resp.integer(self.id)
        if part == b"getname" and not rest:
            return resp.text(self._name) if self._name else resp.nil(self.version)
        if part == b"setname" and len(rest) == 1:
            if _has_space(rest[0]):
                return resp.error("ERR names of clients have no spaces and no line ends")
            self._name = rest[0][:_NAME_BYTES_MAX]
            return resp.OK
        if part == b"setinfo" and len(rest) == 2:
            return self._client_library(rest[0].lower(), rest[1])
        if part == b"info" and not rest:
            return resp.verbatim(self._line(), self.version)
        if part == b"list":
            # Each client sees itself alone.
            return resp.verbatim(self._line(), self.version)
        if part in (b"no-evict", b"no-touch") and len(rest) == 1:
            return resp.OK
        return resp.error("ERR CLIENT answers ID, GETNAME, SETNAME, SETINFO, INFO, LIST, NO-EVICT and NO-TOUCH here")

    def _client_library(self, attribute: bytes, value: bytes) -> bytes:
        if _has_space(value):
            return resp.error("ERR names of libraries have no spaces and no line ends")
        if attribute == b"lib-name":
            self._library = value[:_NAME_BYTES_MAX]
        elif attribute == b"lib-ver":
            self._library_version = value[:_NAME_BYTES_MAX]
        else:
            return resp.error("ERR CLIENT SETINFO takes LIB-NAME or LIB-VER")
        return resp.OK

    def _line(self) -> str:
        names = (self._name, self._library, self._library_version)
        name, library, version = (each.decode("ascii", "replace") for each in names)
        age = int(time.monotonic() - self._since)
        return f"id={self.id} name={name} age={age} db=0 resp={self.version} lib-name={library} lib-ver={version}\n"

    def _command(self, request: Request) -> bytes:
        part = request[1].lower() if len(request) > 1 else b""
        names = [name.decode("ascii", "replace").lower() for name in request[2:]]
        if part == b"count":
            return resp.integer(len(COMMANDS))
        if part == b"docs":
            docs = [(name, COMMANDS[name].document(self.version)) for name in names or COMMANDS if name in COMMANDS]
            return resp.mapping(docs, self.version)
        if part == b"list":
            return resp.array([resp.text(name) for name in COMMANDS])
        if part in (b"", b"info"):
            wanted = names if part and names else list(COMMANDS)
            nil = resp.nil(self.version) if self.version == 3 else b"*-1\r\n"
            return resp.array([COMMANDS[name].about() if name in COMMANDS else nil for name in wanted])
        return resp.error("ERR COMMAND answers COUNT, DOCS, INFO and LIST here")

    def _info(self, request: Request) -> bytes:
        """The sections that are asked for; clients read ``loading`` and ``role`` when they connect."""
        door = self.door
        sections: Mapping[str, Callable[[], list[str]]] = {
            "server": lambda: [
                f"redis_version:{REDIS_VERSION}",
                "redis_mode:standalone",
                f"blocklist_version:{door.version}",
                f"tcp_port:{door.port}",
                f"uptime_in_seconds:{int(time.monotonic() - door.started)}",
            ],
            "clients": lambda: [f"connected_clients:{door.clients}"],
            "persistence": lambda: ["loading:0"],
            "replication": lambda: ["role:master", "connected_slaves:0"],
            "blocklist": door.about_list,
        }
        asked = {part.decode("ascii", "replace").lower() for part in request[1:]}
        every = not asked or asked & {"all", "default", "everything"}
        wanted = [name for name in sections if every or name in asked]
        parts = ["\r\n".join([f"# {name.capitalize()}", *sections[name](), ""]) for name in wanted]
        return resp.verbatim("\r\n".join(parts), self.version)

    # Several commands in one, which clients send around pipelines

    def _multi(self, request: Request) -> bytes:
        if self._queue is not None:
            return resp.error("ERR MULTI calls can not be nested")
        self._queue = []
        return resp.OK

    def _enqueue(self, name: str, request: Request) -> bytes:
        assert self._queue is not None
        self._queued_bytes += sum(map(len, request))
        self._queued_texts += len(request)
        if name not in _MAY_WAIT:
            problem = f"ERR {name.upper()} cannot wait for EXEC: send it before MULTI"
        elif self._queued_texts > QUEUED_TEXTS_MAX or self._queued_bytes > resp.REQUEST_BYTES_MAX:
            problem = f"ERR at most {NUMBERS_MAX:,} questions may wait for EXEC: send several MULTI"
        else:
            self._queue.append(request)
            return resp.QUEUED
        self._is_queue_wrong = True
        return resp.error(problem)

    def _exec(self, request: Request) -> Reply:
        queue, is_wrong = self._queue, self._is_queue_wrong
        if queue is None:
            return resp.error("ERR EXEC without MULTI")
        self._drop_queue()
        if is_wrong:
            return resp.error("EXECABORT Transaction discarded because of previous errors")
        return self._all(queue)

    def _all(self, queue: Sequence[Request]) -> Iterator[bytes | None]:
        replies = []
        for each in queue:
            reply = self.reply(each)
            for part in (reply,) if isinstance(reply, bytes) else reply:
                if part is not None:
                    replies.append(part)
                yield None
        yield resp.array(replies)

    def _discard(self, request: Request) -> bytes:
        if self._queue is None:
            return resp.error("ERR DISCARD without MULTI")
        self._drop_queue()
        return resp.OK

    def _drop_queue(self) -> None:
        self._queue, self._queued_texts, self._queued_bytes, self._is_queue_wrong = None, 0, 0, False


def _key(key: bytes) -> str:
    # A byte that is no UTF-8 becomes a character that no number has.
    return key.decode("utf-8", "replace")


def _has_space(name: bytes) -> bool:
    """Whether a name would break the line that shows it."""
    return any(not _PRINTABLE[0] <= byte <= _PRINTABLE[-1] for byte in name)


@dataclass(frozen=True, slots=True)
class Command:
    """A command of the door.

    Attributes:
        name: in small letters.
        run: answers it.
        arity: how many texts it has, its name included; at least so many if negative, as Redis writes it.
        summary: what it does.
        takes_keys: whether its arguments are keys; else none is.
    """

    name: str
    run: Callable[[Conversation, Request], Reply]
    arity: int
    summary: str
    takes_keys: bool = False

    def takes(self, count: int) -> bool:
        """Whether a request with so many texts is complete."""
        return count == self.arity if self.arity > 0 else count >= -self.arity

    def about(self) -> bytes:
        """As ``COMMAND INFO`` describes it: name, arity, flags, and which arguments are keys."""
        flags = resp.array([resp.status("readonly" if self.takes_keys else "loading"), resp.status("fast")])
        last = 0 if not self.takes_keys else 1 if self.arity > 0 else -1
        keys = [resp.integer(int(self.takes_keys)), resp.integer(last), resp.integer(int(self.takes_keys))]
        return resp.array([resp.text(self.name), resp.integer(self.arity), flags, *keys])

    def document(self, version: ProtocolVersion) -> bytes:
        """As ``COMMAND DOCS`` describes it."""
        return resp.mapping([("summary", resp.text(self.summary)), ("group", resp.text("connection"))], version)


def _table(*commands: Command) -> dict[str, Command]:
    return {command.name: command for command in commands}


COMMANDS: Final[dict[str, Command]] = _table(
    Command("get", Conversation._get, 2, "block, advisory or nil for [SCOPE:]NUMBER", takes_keys=True),
    Command("mget", Conversation._mget, -2, "The same for up to 10,000 numbers", takes_keys=True),
    Command("exists", Conversation._exists, -2, "How many of the numbers are blocked", takes_keys=True),
    Command("ping", Conversation._ping, -1, "PONG, or the text given"),
    Command("echo", Conversation._echo, 2, "The text given"),
    Command("auth", Conversation._auth, -2, "Show the token, with or without the name of a user"),
    Command("hello", Conversation._hello, -1, "Choose version 2 or 3 of the protocol, and show the token"),
    Command("select", Conversation._select, 2, "Choose database 0, the only one"),
    Command("client", Conversation._client, -2, "About this connection: ID, SETNAME, GETNAME, SETINFO, INFO, LIST"),
    Command("command", Conversation._command, -1, "About the commands: COUNT, DOCS, INFO, LIST"),
    Command("info", Conversation._info, -1, "About the server and the list: feed, release, whether it is stale"),
    Command("multi", Conversation._multi, 1, "Let the commands that follow wait for EXEC"),
    Command("exec", Conversation._exec, 1, "Answer the commands that wait"),
    Command("discard", Conversation._discard, 1, "Forget the commands that wait"),
    Command("reset", Conversation._reset, 1, "Begin anew on the same connection"),
    Command("quit", Conversation._quit, -1, "Hang up"),
)
"""Every command that is answered."""

_BEFORE_TOKEN: Final = frozenset({"auth", "hello", "quit", "reset"})
_AMID_MULTI: Final = frozenset({"multi", "exec", "discard", "reset", "quit"})
_MAY_WAIT: Final = frozenset({"get", "mget", "exists", "ping", "echo", "select"})
_ANSWERED: Final = ", ".join(name.upper() for name in COMMANDS)
