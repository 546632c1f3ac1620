"""The HTTP API: what each address answers. It knows requests and responses as values, and no connection."""

import functools
import hmac
import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from blocklist_sdk import times
from blocklist_sdk.errors import BlocklistError
from blocklist_sdk.lookup_server.answers import Answers
from blocklist_sdk.lookup_server.counters import Answer, Counters, DoorCounters
from blocklist_sdk.lookup_server.messages import (
    ARROW,
    JSON,
    Request,
    Response,
    decoded,
    json_response,
    parameters,
    problem_response,
)
from blocklist_sdk.lookup_server.paths import ONE, OPEN, TEMPLATE_OF_ONE, VERDICTS
from blocklist_sdk.lookup_server.problems import FAULT, Problem, problem_of
from blocklist_sdk.lookup_server.questions import (
    NUMBERS_MAX,
    BadQuestion,
    joined,
    read_question,
    read_scope,
    verdict_bytes,
    verdict_or_error,
)
from blocklist_sdk.lookup_server.readiness import described, readiness
from blocklist_sdk.lookup_server.seldom import Seldom
from blocklist_sdk.net.addresses import is_loopback

if TYPE_CHECKING:
    from blocklist_sdk.records import Scope

log: logging.Logger = logging.getLogger(__name__)

_AT_A_TIME: Final = 64
"""How many numbers of a list in JSON are answered before other clients have their turn: about a millisecond's work."""

_PORT_AFTER_HOST: Final = re.compile(r":[0-9]*\Z")

Work = Response | Iterator[Response | None]
"""A response; or what makes one in steps, the response last, so that other clients are not kept waiting."""

Route = Callable[[Request, DoorCounters], Work]

_ANSWER_OF_LEVEL: Final[dict[str | None, Answer]] = {"block": "block", "advisory": "advisory", None: "free"}


class Routes:
    """Answers the requests of one worker."""

    def __init__(
        self,
        answers: Answers,
        counters: Counters,
        *,
        token: str | None = None,
        needs_certificate: bool = False,
        require_fresh: bool = False,
        own_name: str | None = None,
    ) -> None:
        """See `ServeSettings`.

        Args:
            answers: the list.
            counters: of all workers, for ``/metrics``.
            token: what clients must show; None if they need not.
            needs_certificate: whether clients must have shown a certificate.
            require_fresh: whether a list past its expiry makes the service not ready.
            own_name: what `--host` says, if a request must name this machine; None if any Host passes.
        """
        self._answers = answers
        self._counters = counters
        self._token = None if token is None else token.encode()
        self._needs_certificate = needs_certificate
        self._require_fresh = require_fresh
        self._own_name = own_name
        self._openapi = b""
        self._unreadable = Seldom()
        self._of_one: dict[str, Route] = {"GET": self._verdict}
        self._routes: dict[str, dict[str, Route]] = {
            VERDICTS: {"POST": self._verdicts},
            "/healthz": {"GET": self._healthz},
            "/readyz": {"GET": self._readyz},
            "/metrics": {"GET": self._metrics},
            "/openapi.json": {"GET": self._document},
        }

    def early_problem(self, request: Request, *, is_trusted: bool, has_certificate: bool = False) -> Problem | None:
        """Why a request is refused whatever its body; None if it is not.

        Args:
            request: without its body.
            is_trusted: whether its client need not show a token or a certificate, as over the Unix socket.
            has_certificate: whether its client has shown a certificate.
        """
        own_name = None if is_trusted or request.path in OPEN else self._own_name
        if own_name is not None and not _is_here(request.headers.get("host", ""), own_name):
            # A web page whose name leads to this machine lets the browser ask here as if here were its own server.
            return Problem(
                "misdirected",
                "the Host header must be localhost, a loopback address or the address of --host: ask by one of them; "
                "behind a proxy, have it send Host: localhost; or start the service with --token-file",
            )
        if self._needs_certificate and not (is_trusted or has_certificate or request.path in OPEN):
            detail = "connect with a certificate that one of the authorities of this server's clients has signed"
            return Problem("certificate-required", detail)
        if not (is_trusted or self._token is None or request.path in OPEN or self._shows_token(request)):
            return Problem(
                "unauthenticated",
                "send the header Authorization: Bearer TOKEN, with the token of this server",
                headers=(("WWW-Authenticate", "Bearer"),),
            )
        methods = self._methods(request.path)
        if methods is None:
            return Problem("not-found", f"the addresses are {TEMPLATE_OF_ONE}, {', '.join(self._routes)}")
        if _reading(request.method) not in methods:
            allowed = ", ".join(sorted({*methods, *(("HEAD",) if "GET" in methods else ())}))
            return Problem("method-not-allowed", f"this address takes {allowed}", headers=(("Allow", allowed),))
        if request.method == "POST" and request.content_type not in (JSON, ARROW):
            return Problem("wrong-type", f"send the numbers as {JSON} or {ARROW}, and name it in Content-Type")
        return None

    def respond(self, request: Request, counters: DoorCounters) -> Work:
        """Answer a request that `early_problem` has let through."""
        methods = self._methods(request.path)
        assert methods is not None, "early_problem comes first"
        route = methods[_reading(request.method)]
        return self._guarded(request, counters, lambda: route(request, counters))

    def step(self, work: Iterator[Response | None], request: Request, counters: DoorCounters) -> Response | None:
        """Do the next step of some work; None if there are more."""
        found = self._guarded(request, counters, lambda: next(work) or iter(()))
        return found if isinstance(found, Response) else None

    def _guarded(self, request: Request, counters: DoorCounters, action: Callable[[], Work]) -> Work:
        """Do something; an error becomes a problem document."""
        try:
            return action()
        except BlocklistError as error:
            problem = problem_of(error)
            counters.numbers("invalid" if problem.kind == "not-a-number" else "refused")
            if problem is FAULT:
                log.error("%s: internal error", self.template(request.path), exc_info=error)
            elif problem.kind == "unavailable":
                self._report(error)
                if request.path in OPEN:  # which anybody reads, and the error may name a folder
                    problem = replace(problem, detail="the list cannot be read: the log of this server says why")
            return problem_response(problem)
        except Exception as error:
            # Without its text, which may contain a number; the traceback has places only.
            log.error("%s: internal error: unexpected %s", self.template(request.path), type(error).__name__)
            log.debug("%s: internal error", self.template(request.path), exc_info=True)
            counters.numbers("refused")
            return problem_response(FAULT)

    def _report(self, error: BlocklistError) -> None:
        if self._unreadable.is_due():
            log.error("the list cannot be read: %s", error)

    def template(self, path: str) -> str:
        """The template of a path, for logs: the path itself may hold a telephone number.

        >>> from blocklist_sdk.lookup_server.counters import Counters
        >>> Routes(Answers(None), Counters(workers=1)).template("/v1/verdicts/+6281234567890")
        '/v1/verdicts/{number}'
        """
        if path in self._routes:
            return path
        return TEMPLATE_OF_ONE if path.startswith(ONE) else "(no such path)"

    def _methods(self, path: str) -> dict[str, Route] | None:
        return self._of_one if path.startswith(ONE) and len(path) > len(ONE) else self._routes.get(path)

    def _shows_token(self, request: Request) -> bool:
        assert self._token is not None
        scheme, _, shown = request.headers.get("authorization", "").partition(" ")
        is_same = hmac.compare_digest(shown.strip().encode("latin-1", "replace"), self._token)
        return is_same and scheme.lower() == "bearer"

    # Look-ups

    def _verdict(self, request: Request, counters: DoorCounters) -> Work:
        found = parameters(request.query, ("scope",))
        if isinstance(found, str):
            return problem_response(Problem("invalid", found))
        text = decoded(request.path[len(ONE) :])
        if text is None:
            counters.numbers("invalid")
            return problem_response(Problem("not-a-number", "the number is not UTF-8", more=(("reason", "not UTF-8"),)))
        body, level = verdict_bytes(self._answers, text, read_scope(found.get("scope")))
        counters.numbers(_ANSWER_OF_LEVEL[level])
        return Response(200, body + b"\n")

    def _verdicts(self, request: Request, counters: DoorCounters) -> Work:
        found = parameters(request.query, ("scope",))
        if isinstance(found, str):
            return problem_response(Problem("invalid", found))
        if request.content_type == ARROW:
            return self._column(request.body, read_scope(found.get("scope")), counters)
        try:
            numbers, scope = read_question(request.body)
        except BadQuestion as error:
            return problem_response(Problem("invalid", str(error)))
        if len(numbers) > NUMBERS_MAX:
            return problem_response(_too_many())
        if scope is not None and "scope" in found:
            return problem_response(Problem("invalid", "the scope is in the address and in the body: give it once"))
        return self._list(numbers, read_scope(found.get("scope") if scope is None else scope), counters)

    def _list(
        self, numbers: "list[str | int]", scope: "Scope | None", counters: DoorCounters
    ) -> Iterator[Response | None]:
        lines: list[bytes] = []
        self._answers.check_ready()  # also where no number asks
        for start in range(0, len(numbers), _AT_A_TIME):
            for number in numbers[start : start + _AT_A_TIME]:
                line, level, is_number = verdict_or_error(self._answers, number, scope)
                lines.append(line)
                counters.numbers(_ANSWER_OF_LEVEL[level] if is_number else "invalid")
            yield None
        yield Response(200, joined(lines))

    def _column(self, body: bytes, scope: "Scope | None", counters: DoorCounters) -> Work:
        # Here, since a service that gets single numbers needs no Arrow.
        from blocklist_sdk.lookup_server.arrow_questions import NotAColumn, levels_in, read_numbers, write_answer

        try:
            column = read_numbers(body, rows_max=NUMBERS_MAX)
        except NotAColumn as error:
            return problem_response(error.problem)
        answer = self._answers.screen(column, scope)
        blocked, advisory, invalid = levels_in(answer)
        counters.numbers("block", blocked)
        counters.numbers("advisory", advisory)
        counters.numbers("invalid", invalid)
        counters.numbers("free", len(answer) - blocked - advisory - invalid)
        return Response(200, write_answer(answer), ARROW)

    # The service

    def _healthz(self, request: Request, counters: DoorCounters) -> Work:
        return json_response({"status": "ok"})

    def _readyz(self, request: Request, counters: DoorCounters) -> Work:
        status = self._answers.status()
        problem = readiness(status, require_fresh=self._require_fresh)
        if problem is not None:
            return problem_response(problem)
        return json_response({"status": "ready", **described(status)})

    def _metrics(self, request: Request, counters: DoorCounters) -> Work:
        from blocklist_sdk.lookup_server.figures import MEDIA_TYPE, figures

        text = figures(self._answers.status(), self._counters, now=times.now())
        return Response(200, text.encode(), MEDIA_TYPE)

    def _document(self, request: Request, counters: DoorCounters) -> Work:
        if not self._openapi:
            from blocklist_sdk.lookup_server.openapi import openapi_document

            self._openapi = json_response(openapi_document()).body
        return Response(200, self._openapi)


def _reading(method: str) -> str:
    """A method, GET for HEAD, which is answered without the body."""
    return "GET" if method == "HEAD" else method


@functools.lru_cache(64)
def _is_here(host: str, own_name: str) -> bool:
    """Whether the host that a request names, if it does, is this machine."""
    name = _PORT_AFTER_HOST.sub("", host).strip("[]").removesuffix(".").lower()
    return not name or name == own_name.lower() or is_loopback(name)


def _too_many() -> Problem:
    return Problem("too-large", f"a request may have {NUMBERS_MAX:,} numbers: ask in several requests")
