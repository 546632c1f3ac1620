"""Refusals: errors with the reason why a request was not fulfilled."""

from collections.abc import Sequence

from blocklist_sdk.exchange.models import FieldProblem


class Refusal(Exception):
    """A request is not fulfilled; nothing was stored.

    Attributes:
        kind: ``not-found``, ``conflict``, ``forbidden``, ``invalid`` and so on; all kinds are in
            `blocklist_sdk.exchange_server.http.problems`.
        detail: why, for the client.
        errors: the fields that are wrong.
    """

    def __init__(self, kind: str, detail: str, *, errors: Sequence[FieldProblem] = ()) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.errors: tuple[FieldProblem, ...] = tuple(errors)


def invalid(field: str, reason: str) -> Refusal:
    """A refusal because of one field."""
    return Refusal("invalid", f"{field}: {reason}", errors=[FieldProblem(field=field, reason=reason)])
