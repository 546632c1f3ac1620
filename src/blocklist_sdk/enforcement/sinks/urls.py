"""The options in a sink's URL, after the question mark."""

from urllib.parse import SplitResult, unquote, urlsplit

from blocklist_sdk.errors import InvalidInput

_WORDS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def split(url: str, *names: str) -> tuple[SplitResult, dict[str, str]]:
    """Take a sink's own options out of its URL; what is left is for the driver.

    Args:
        url: the sink's URL.
        names: the sink's own options.

    Raises:
        InvalidInput: `url` is not a URL, or has one of the options twice.

    >>> split("redis://127.0.0.1/0?prefix=lists&health_check_interval=9", "prefix")[0].query
    'health_check_interval=9'
    """
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise InvalidInput(f"the sink's URL cannot be used: {error}") from error
    options: dict[str, str] = {}
    others: list[str] = []
    for pair in parts.query.split("&"):
        name, _, value = pair.partition("=")
        if name not in names:
            others.append(pair)  # unchanged: the driver decides whether a plus means a blank
        elif name in options:
            raise InvalidInput(f"the sink's URL has the option {name!r} twice")
        else:
            options[name] = unquote(value)
    return parts._replace(query="&".join(others)), options


def truth(name: str, text: str) -> bool:
    """The value of an option that is true or false.

    Raises:
        InvalidInput: it is neither.

    >>> truth("create", "false")
    False
    """
    if text.lower() not in _WORDS:
        raise InvalidInput(f"{name} must be true or false in the sink's URL, not {text!r}")
    return _WORDS[text.lower()]
