"""The HTTP API: what each address answers. Pure but for the list that is asked."""

import hmac
import logging
from collections.abc import Callable
from typing import Final

from blocklist_sdk.errors import BlocklistError
from blocklist_sdk.lookup_server.answers import Answers
from blocklist_sdk.lookup_server.counters import Answer, DoorCounters
from blocklist_sdk.lookup_server.messages import Request, Response, decoded, json_response, parameters, problem_response
from blocklist_sdk.lookup_server.problems import FAULT, Problem, problem_of
from blocklist_sdk.lookup_server.questions import read_scope, verdict_bytes

log: logging.Logger = logging.getLogger(__name__)

VERDICTS: Final = "/v1/verdicts"
_ONE: Final = VERDICTS + "/"

_TEMPLATE_OF_ONE: Final = _ONE + "{number}"
_OPEN: Final = frozenset({"/healthz", "/readyz"})
"""What needs no credentials: whoever watches a service has none."""

Route = Callable[[Request, DoorCounters], Response]

_ANSWER_OF_LEVEL: Final[dict[str | None, Answer]] = {"block": "block", "advisory": "advisory", None: "free"}


class Routes:
    """Answers requests of one worker."""

    def __init__(self, answers: Answers, *, token: str | None = None) -> None:
        """See `ServeSettings`.

        Args:
            answers: the list.
            token: what clients must show; None if they need not.
        """
        self._answers = answers
        self._token = None if token is None else token.encode()
        self._routes: dict[str, dict[str, Route]] = {"/healthz": {"GET": self._healthz}}

    def early_problem(self, request: Request, *, is_trusted: bool) -> Problem | None:
        """Why a request is refused whatever its body; None if it is not.

        Args:
            request: without its body.
            is_trusted: whether its client need not show a token, as over the Unix socket.
        """
        methods = self._methods(request.path)
        if request.path not in _OPEN and not is_trusted and not self._has_token(request):
            return Problem(
                "unauthenticated",
                "send the header Authorization: Bearer TOKEN with the token of this server",
                headers=(("WWW-Authenticate", "Bearer"),),
            )
        if methods is None:
            return Problem("not-found", f"the addresses are {_TEMPLATE_OF_ONE}, {', '.join(sorted(self._routes))}")
        if _reading(request.method) not in methods:
            allowed = ", ".join(sorted({*methods, *(("HEAD",) if "GET" in methods else ())}))
            return Problem("method-not-allowed", f"this address takes {allowed}", headers=(("Allow", allowed),))
        return None

    def _methods(self, path: str) -> dict[str, Route] | None:
        if path.startswith(_ONE) and len(path) > len(_ONE):
            return {"GET": self._verdict}
        return self._routes.get(path)

    def _has_token(self, request: Request) -> bool:
        if self._token is None:
            return True
        scheme, _, shown = request.headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(shown.strip().encode("utf-8", "replace"), self._token)

    def respond(self, request: Request, counters: DoorCounters) -> Response:
        """Answer a request that `early_problem` has let through."""
        methods = self._methods(request.path)
        assert methods is not None, "early_problem comes first"
        try:
            return methods[_reading(request.method)](request, counters)
        except BlocklistError as error:
            problem = problem_of(error)
            counters.numbers("invalid" if problem.kind == "not-a-number" else "refused")
            if problem is FAULT:
                log.error("%s: internal error", self.template(request.path), exc_info=error)
            return problem_response(problem)
        except Exception:
            # Its text may contain a number, but the traceback is what mends it.
            log.exception("%s: internal error", self.template(request.path))
            return problem_response(FAULT)

    def template(self, path: str) -> str:
        """The template of a path, for logs: the path itself may hold a telephone number."""
        if path in self._routes:
            return path
        return _TEMPLATE_OF_ONE if path.startswith(_ONE) else "(no such path)"

    def _verdict(self, request: Request, counters: DoorCounters) -> Response:
        found = parameters(request.query, ("scope",))
        if isinstance(found, str):
            return problem_response(Problem("invalid", found))
        text = decoded(request.path[len(_ONE) :])
        if text is None:
            return problem_response(Problem("not-a-number", "the number is not UTF-8", more=(("reason", "not UTF-8"),)))
        body, level = verdict_bytes(self._answers, text, read_scope(found.get("scope")))
        counters.numbers(_ANSWER_OF_LEVEL[level])
        return Response(200, body)

    def _healthz(self, request: Request, counters: DoorCounters) -> Response:
        return json_response({"status": "ok"})


def _reading(method: str) -> str:
    """A method, GET for HEAD, which is answered without the body."""
    return "GET" if method == "HEAD" else method
