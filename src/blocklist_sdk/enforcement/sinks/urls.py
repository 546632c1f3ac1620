"""What sinks' URLs say after the question mark."""

from urllib.parse import SplitResult, unquote, urlsplit

from blocklist_sdk.errors import InvalidInput

_WORDS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def split(url: str, *own: str) -> tuple[SplitResult, dict[str, str]]:
    """Take a sink's own parameters out of its URL; what is left is the driver's.

    Args:
        url: the sink's.
        own: names of the sink's own parameters.

    Raises:
        InvalidInput: a parameter of the sink's own is there twice, or it is no URL.

    >>> split("redis://127.0.0.1/0?prefix=lists&health_check_interval=9", "prefix")[0].query
    'health_check_interval=9'
    """
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise InvalidInput(f"the sink's URL cannot be used: {error}") from error
    found: dict[str, str] = {}
    left: list[str] = []
    for pair in parts.query.split("&"):
        name, _, value = pair.partition("=")
        if name not in own:
            left.append(pair)  # as it stands: whether a plus means a blank is for the driver to say
        elif name in found:
            raise InvalidInput(f"the sink's URL says {name!r} twice")
        else:
            found[name] = unquote(value)
    return parts._replace(query="&".join(left)), found


def truth(name: str, text: str) -> bool:
    """A parameter that is true or false.

    Raises:
        InvalidInput: it is neither.

    >>> truth("create", "false")
    False
    """
    if text.lower() not in _WORDS:
        raise InvalidInput(f"the sink's URL says {name}={text!r}: say true or false")
    return _WORDS[text.lower()]
