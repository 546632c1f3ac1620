"""The digits of a text, and what the way they are written says about them.

No numbering plan is needed here. A text consists of digits, known separators, at most one leading ``+``, at most a
scheme such as ``tel:`` in front and an extension at the end; any other text is not a number. Nothing is dropped
silently, and what lists and regular expressions mean by brackets is never taken for a separator.
"""

import re
import unicodedata
from typing import Final, Literal, NamedTuple, cast, get_args
from urllib.parse import unquote

from blocklist_sdk.errors import InvalidInput, InvalidNumber

Form = Literal["auto", "international", "national"]
"""How digits without a plus are read: ``international`` takes them as a country code and a number, ``national`` as
dialled in the region. ``auto`` decides for a whole column; a single text it reads like ``national``."""

MAX_TEXT_CHARS = 250
"""Longer texts are not numbers; libphonenumber has the same limit (``MAX_INPUT_STRING_LENGTH``)."""

SEPARATORS = " ().-/"
"""Characters between the digits of one number. Parentheses stand in pairs around digits, and a slash stands behind an
area code. Of libphonenumber's punctuation, brackets are left out, since lists write choices of digits with them, and
``x`` and ``~``, which it reads as the start of an extension as well."""

_OTHER_SEPARATORS = {"\u2212": "-", "\u30fc": "-", "\ufe62": "+", "\u2044": "/", "\u2215": "/"}
"""Minus sign, katakana long-vowel mark, small plus, fraction and division slash: by their category they are symbols or
letters, and in pasted numbers they stand for the sign they look like."""

_FULLWIDTH_SHIFT = 0xFEE0
"""Distance from a fullwidth form (U+FF01..U+FF5E) to the ASCII character it shows."""

_DELETE_SEPARATORS = str.maketrans("", "", SEPARATORS)

_PAIR = re.compile(r"\(([ ]*\+?[0-9][0-9 .\-]*)\)")
"""Parentheses around digits."""

_SHAPE = re.compile(r"[ .\-]*(\+?)([0-9 .\-]*)(?:/([0-9 .\-]*))?")

_EXTENSION = re.compile(
    r"(?:;ext=|[ ,]*(?:extensi[oó]n|extn|ext|anexo|доб)[.:]?[ ]*)[0-9]{1,20}$|[ ,]*(?:x|int)[.:]?[ ]*[0-9]{1,9}$",
    re.IGNORECASE,
)
"""Labels and digit counts as libphonenumber takes them. Its bare ``,``, ``;``, ``#`` and ``~`` are left out: in lists
they separate two numbers or mean a digit."""

_TEL_SCHEMES = ("tel", "sms", "whatsapp")
"""Schemes of URIs that hold a number: RFC 3966, RFC 5724, and what messaging gateways write."""

_SIP = re.compile(r"(?P<user>[^@:]*)(?::[^@]*)?@[^@;?]+(?P<parameters>[^?@]*)")
"""RFC 3261, 19.1.1, without the scheme."""

_CONTEXT = re.compile(r"\+[0-9.\-]{1,20}")
"""RFC 3966, 5.1.5: the leading digits that make a local number global."""

_WHATSAPP = re.compile(
    r"(?:([0-9]{6,15})(?:[:_.][0-9]{1,3})*@(?:s\.whatsapp\.net|c\.us)"
    r"|(?:https?://)?(?:wa\.me/|(?:api|web)\.whatsapp\.com/send/?\?phone=)\+?([0-9]{6,15})/?)",
    re.IGNORECASE,
)
"""WhatsApp's names for an account, and links to one. Their digits begin with the country code."""


class Written(NamedTuple):
    """What a text says before any numbering plan is asked.

    Attributes:
        digits: its digits, as ASCII.
        international: whether they begin with a country code for certain.
        looks_like: a key of `LOOKALIKES`, if the text looks like something else; then it is a number only if its
            country groups the digits as it does.
        groups: the digits as the text groups them.
        after_slash: how many digits follow a slash, which must be all behind the area code; None without a slash.
    """

    digits: str
    international: bool
    looks_like: str | None
    groups: tuple[str, ...]
    after_slash: int | None


def check_form(form: str) -> Form:
    """Return a form.

    Raises:
        InvalidInput: it is not one.
    """
    if form not in get_args(Form):
        raise InvalidInput(f"form must be auto, international or national, not {form!r}", argument="form")
    return cast("Form", form)


def digits_of(text: str) -> tuple[str, bool]:
    """Read the digits of a text, as ASCII, and whether they begin with a country code for certain.

    Raises:
        InvalidNumber, InvalidInput: as for `read_text`.

    >>> digits_of("+62 (0)812-3456-7890 ext. 12")
    ('62081234567890', True)
    """
    found = read_text(text)
    return found.digits, found.international


def read_text(text: str) -> Written:
    """Read what a text says by itself.

    Digits of any script are digits; format characters (bidi marks, zero-width characters, soft hyphens) are ignored;
    any kind of space or dash is a separator. An extension is dropped.

    Raises:
        InvalidNumber: the text holds anything else, or no digit at all.
        InvalidInput: it is not a text.

    >>> read_text("20.11.2026").looks_like, read_text("0234/123456").after_slash
    ('date', 6)
    """
    if not isinstance(text, str):
        raise InvalidInput(
            f"a number is read from text, not from {type(text).__name__}; an E.164 integer goes to check_e164"
        )
    if len(text) > MAX_TEXT_CHARS:
        raise InvalidNumber(text, f"longer than {MAX_TEXT_CHARS} characters")
    body = _without_scheme(text, to_ascii(text).strip())
    looks_like = lookalike(body)
    if found := _EXTENSION.search(body):
        body = body[: found.start()]
        looks_like = looks_like or lookalike(body)
    shape = _SHAPE.fullmatch(_PAIR.sub(r" \1 ", body).strip())
    if shape is None:
        raise InvalidNumber(text, LOOKALIKES[looks_like] if looks_like else _why_not(body))
    plus, before, after = shape.groups()
    digits = (before + (after or "")).translate(_DELETE_SEPARATORS)
    if not digits:
        raise InvalidNumber(text, "it has no digits")
    return Written(
        digits,
        bool(plus),
        looks_like,
        tuple(re.findall("[0-9]+", body)) if looks_like else (),
        None if after is None else len(after.translate(_DELETE_SEPARATORS)),
    )


def to_ascii(text: str) -> str:
    """Write digits, spaces, dashes and fullwidth forms in ASCII and leave out format characters; the rest stays.

    >>> to_ascii("\u202a＋٦٢\u00a0812\u202c")
    '+62 812'
    """
    return text if text.isascii() else "".join(map(_character_to_ascii, text))


def _character_to_ascii(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Nd":
        return str(unicodedata.decimal(character))
    if category == "Cf":
        return ""
    if category == "Zs":
        return " "
    if category == "Pd":
        return "-"
    if "\uff01" <= character <= "\uff5e":
        return chr(ord(character) - _FULLWIDTH_SHIFT)
    return _OTHER_SEPARATORS.get(character, character)


# Numbers as addresses


def _without_scheme(text: str, body: str) -> str:
    """The number in a URI or an address, with a plus where its digits begin with a country code."""
    if found := _WHATSAPP.fullmatch(body):
        return f"+{found[1] or found[2]}"
    scheme, colon, rest = body.partition(":")
    if not colon:
        return body
    if scheme.lower() in _TEL_SCHEMES:
        return _of_tel(text, rest.strip())
    if scheme.lower() in ("sip", "sips"):
        address = _SIP.fullmatch(rest)
        if address is None or "user=phone" not in address["parameters"].lower().split(";"):
            raise InvalidNumber(text, "a SIP address of a telephone number has ;user=phone at its end")
        return _of_tel(text, unquote(address["user"]))
    return body


def _of_tel(text: str, rest: str) -> str:
    """The number in front of the parameters of RFC 3966; of these, only ``phone-context`` matters."""
    number, *parameters = rest.split(";")
    context = ""
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if not re.fullmatch("[A-Za-z][A-Za-z0-9-]*", name):
            raise InvalidNumber(text, "what follows its semicolon is not a parameter: write one number only")
        if name.lower() == "phone-context":
            context = value
    if not context or number.startswith("+"):
        return number
    if not _CONTEXT.fullmatch(context):
        raise InvalidNumber(text, "a number that can be dialled in its own network only")
    return context + number


# What looks like something else

LOOKALIKES: Final = {
    "date": "it looks like a date",
    "time": "it looks like a time",
    "address": "it looks like an IP address",
    "place": "it looks like coordinates",
    "amount": "it looks like an amount",
    "decimal": "it looks like a decimal number, as spreadsheets make them: keep the column as text",
    "negative": "it looks like a negative number",
    "power": "it looks like a number with an exponent, whose last digits are gone: keep the column as text",
}
"""The reasons for refusing texts that look like something else, by what they look like."""

_OCTET = r"(?:25[0-5]|2[0-4][0-9]|[01]?[0-9]?[0-9])"
_FIGURE = r"[1-9][0-9]{0,2}(?:(?:\.[0-9]{3})+(?:,[0-9]+)?|(?:,[0-9]{3})+(?:\.[0-9]+)?)|[0-9]+,[0-9]{1,2}"
_CURRENCY = r"(?:Rp\.?|[A-Z]{3}|[A-Z]{0,2}[$€£¥₹])"
_YEAR, _MONTH = r"(?:19|20)[0-9]{2}", r"(?:0?[1-9]|1[0-2])"
_HOUR = r"[0-2]?[0-9]"
_PLACE = r"-?[0-9]{1,3}\.[0-9]+[ ]*[,; ][ ]*[+\-]?[0-9]{1,3}\.[0-9]+"

_LOOKALIKE = re.compile(
    "|".join(
        f"(?P<{name}>{pattern})"
        for name, pattern in {
            "date": r"([0-9]{1,4})([ ./\-])([0-9]{1,2})[ ./\-]([0-9]{1,4})"
            r"(?:[ T,]+([0-9]{1,2}[.:][0-9]{2}.*|[0-9]{2}-?[0-9]{2}(?:-?[0-9]{2})?))?",
            "month": rf"{_YEAR}[./\-](?:{_MONTH}|{_YEAR})|{_MONTH}[./\-]{_YEAR}",
            "time": rf"{_HOUR}:[0-5][0-9](?::[0-5][0-9])?(?:[ ]?[AaPp][Mm])?|[0-2][0-9]\.[0-5][0-9](?:\.[0-5][0-9])?",
            "address": rf"{_OCTET}(?:\.{_OCTET}){{3}}(?:[:/ \-][0-9]{{1,5}})?",
            "place": _PLACE,
            "amount": rf"-?{_CURRENCY}?[ ]?-?(?:{_FIGURE})|{_CURRENCY}[ ]?-?[0-9]+(?:[.,][0-9]+)?(?:,-)?",
            "decimal": r"[0-9]+\.[0-9]{1,2}|(?:0|[1-9][0-9]*)?\.[0-9]+",
            "power": r"-?[0-9]+(?:[.,][0-9]+)?[Ee][+\-]?[0-9]+",
        }.items()
    )
)

_NEGATIVE = re.compile(r"-(?:[1-9]|0?[.,])")
_DECIMAL_WITH_PLUS = re.compile(r"\+[0-9]+\.0{1,2}")
_AROUND_SEPARATORS = re.compile(r"[ ]*([./\-])[ ]*")
_DASHES_MAX = 6

_FIRST_YEAR, _LAST_YEAR = 1900, 2099


def lookalike(body: str) -> str | None:
    """What a text looks like, a key of `LOOKALIKES`, if it looks like something else than a number.

    Punctuation around it, space around separators and parentheses make no difference, and two such things with a dash
    between them are one as well.

    Args:
        body: the text in ASCII, without white space around it.

    >>> lookalike("2026-11-20"), lookalike("192.168.0.1"), lookalike("0812-3456-7890")
    ('date', 'address', None)
    >>> lookalike("(20. 11. 2026)"), lookalike("08.30-17.00")
    ('date', 'time')
    """
    if body[:1] == "+":
        return "decimal" if _DECIMAL_WITH_PLUS.fullmatch(body) else None
    if _NEGATIVE.match(body):
        return "place" if re.fullmatch(_PLACE, body) else "negative"
    bare = " ".join(body.replace("(", " ").replace(")", " ").split()) if "(" in body else body
    bare = _AROUND_SEPARATORS.sub(r"\1", bare).strip(" .-")
    if found := _kind_of(bare):
        return found
    if 0 < bare.count("-") <= _DASHES_MAX:
        for at in (place for place, character in enumerate(bare) if character == "-"):
            first, second = bare[:at].strip(" ."), bare[at + 1 :].strip(" .")
            kind = _kind_of(second)
            if kind and (_kind_of(first) or (kind == "date" and len(first) <= 2 and first.isdigit())):
                return kind
    return None


def _kind_of(bare: str) -> str | None:
    found = _LOOKALIKE.fullmatch(bare)
    if found is None:
        return None
    if found["month"] is not None:
        return "date"
    if found["date"] is not None and not _is_date(*found.group(2, 3, 4, 5, 6)):
        return "time" if re.fullmatch(r"[0-2][0-9]\.[0-5][0-9]\.[0-5][0-9]", bare) else None
    return found.lastgroup


def _is_date(first: str, separator: str, middle: str, last: str, time: str | None) -> bool:
    """Whether three groups of digits are a day, a month and a year, in any usual order."""
    if len(first) == 4:
        year, pair = int(first), (middle, last)
    elif len(last) == 4:
        year, pair = int(last), (first, middle)
    elif separator != " " and len(last) == 2 and len(first) <= 2:
        year, pair = _LAST_YEAR, (first, middle)
    else:
        return False
    if max(map(len, pair)) > 2:
        return False
    if time and set(time) <= set("0123456789-") and (len(first), len(middle), len(last)) != (4, 2, 2):
        return False
    low, high = sorted(map(int, pair))
    return _FIRST_YEAR <= year <= _LAST_YEAR and 1 <= low <= 12 and high <= 31


def _why_not(body: str) -> str:
    """Say which character spoils it: the person who wrote the list wants to know."""
    if any(character in "[]{}|\\^$" for character in body):
        return "it contains brackets or other signs of a pattern, which only a range pattern may"
    if any(character in "#*%_?" for character in body):
        return "it contains a wildcard, which only a range pattern may"
    if any(character.isalpha() for character in body):
        return "it contains letters"
    if body.count("/") > 1:
        return SEVERAL
    if "+" in body:
        return "a plus sign may only be the first character"
    if "(" in body or ")" in body:
        return "parentheses must stand in pairs around digits"
    return "it contains something that is neither a digit nor a separator"


SEVERAL: Final = "a slash may only follow the area code of one valid number: write each number by itself"
"""The reason for refusing two numbers with a slash between them."""
