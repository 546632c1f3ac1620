"""The addresses of the HTTP API that more than one module names."""

from typing import Final

VERDICTS: Final = "/v1/verdicts"
ONE: Final = VERDICTS + "/"
"""Before a number."""

TEMPLATE_OF_ONE: Final = ONE + "{number}"
OPEN: Final = frozenset({"/healthz", "/readyz"})
"""What needs no credentials: whoever watches a service has none."""
