"""Texts, and the numbers that they are. All are generated, or of ranges that regulators keep for examples."""

from typing import Any, Final


def _is(text: str, number: int, region: str | None = None, form: str = "national") -> dict[str, Any]:
    return {"text": text, "region": region, "form": form, "number": number}


def _is_not(text: str, kind: str, region: str | None = "ID", form: str = "national") -> dict[str, Any]:
    return {"text": text, "region": region, "form": form, "invalid": kind}


NUMBERS: Final = [
    _is("+6281234567890", 6281234567890),
    _is("+62 812-3456-7890", 6281234567890),
    _is("tel:+62-812-3456-7890;ext=7", 6281234567890),
    _is("sms:+6281234567890", 6281234567890),
    _is("whatsapp:+6281234567890", 6281234567890),
    _is("6281234567890@s.whatsapp.net", 6281234567890),
    _is("sip:+6281234567890@gateway.example;user=phone", 6281234567890),
    _is("+44 (0)20 7946 0958", 442079460958),
    _is("+1 202-555-0143", 12025550143),
    _is("＋６２ ８１２ ３４５６ ７８９０", 6281234567890),
    _is("+٦٢٨١٢٣٤٥٦٧٨٩٠", 6281234567890),
    _is("\u202a+62\u00a0812\u00a03456\u00a07890\u202c", 6281234567890),
    _is("0812-3456-7890", 6281234567890, "ID"),
    _is("(0812) 3456.7890", 6281234567890, "ID"),
    _is("6281234567890", 6281234567890, "ID"),
    _is("62811811234", 62811811234, "ID"),
    _is("006281234567890", 6281234567890, "ID"),
    _is("81234567890", 6281234567890, "ID"),
    _is("020 7946 0958", 442079460958, "GB"),
    _is("202-555-0143", 12025550143, "US"),
    _is("0234/123456", 49234123456, "DE"),
    _is("+52 1 55 1234 5678", 525512345678),
    _is("+55 11 9876-5432", 5511998765432),
    _is("85512345678", 6285512345678, "ID", "national"),
    _is("85512345678", 85512345678, "ID", "international"),
    _is("855 12 345 678", 85512345678, None, "international"),
    _is("0812-3456-7890", 6281234567890, "ID", "international"),
    _is_not("0812-3456-7890", "no region", None),
    _is_not("", "no digits"),
    _is_not("-", "no digits"),
    _is_not("GoPay", "letters"),
    _is_not("0812-3456-789O", "letters"),
    _is_not("0812 3456 7890 penipu", "letters"),
    _is_not("112", "too short"),
    _is_not("1500123", "too short"),
    _is_not("+62112", "too short"),
    _is_not("+621234567890123456", "too long"),
    _is_not("+62812345678*", "pattern"),
    _is_not("0812######", "pattern"),
    _is_not("0812[3-5]", "pattern"),
    _is_not("021-5551234/35", "several numbers"),
    _is_not("081234567890, 081234567891", "several numbers"),
    _is_not("081234567890\n081234567891", "several numbers"),
    _is_not("2026-11-20", "date"),
    _is_not("20.11.2026 10:15", "date"),
    _is_not("192.168.100.200", "address"),
    _is_not("1.500.000", "amount"),
    _is_not("6281234567890.0", "decimal"),
    _is_not("6.28E+12", "exponent"),
    _is_not("+999 1234 5678", "no such country"),
    _is_not("nan", "letters"),
]
