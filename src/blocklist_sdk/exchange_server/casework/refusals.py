"""Why something that was asked of an exchange is not done."""

from collections.abc import Sequence

from blocklist_sdk.exchange.models import FieldProblem


class Refusal(Exception):
    """A request is not fulfilled; nothing was stored.

    Attributes:
        kind: what kind of refusal it is: ``not-found``, ``conflict``, ``forbidden``, ``invalid`` and so on; the problem
            documents of `blocklist_sdk.exchange_server.http.problems` have them all.
        detail: why, for the account that asked.
        errors: the fields that are to blame.
    """

    def __init__(self, kind: str, detail: str, *, errors: Sequence[FieldProblem] = ()) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.errors = tuple(errors)


def invalid(field: str, reason: str) -> Refusal:
    """One field cannot be used."""
    return Refusal("invalid", f"{field}: {reason}", errors=[FieldProblem(field=field, reason=reason)])
