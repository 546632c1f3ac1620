"""Texts of one line: refused if they hold more, and shown so that they forge no line, whatever an older row holds."""

import itertools
import types
import typing
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter, ValidationError

from blocklist_sdk.cli import appeal as appeal_views
from blocklist_sdk.cli import case as case_views
from blocklist_sdk.cli import report as report_views
from blocklist_sdk.cli.output import indented, write_line, write_lines
from blocklist_sdk.cli.text_tables import table_lines
from blocklist_sdk.exchange import models
from blocklist_sdk.exchange.models import Appeal, CaseState, Event, Line, LongText, NumberText, Report
from blocklist_sdk.texts import quoted

AT = datetime(2026, 1, 2, tzinfo=UTC)
MANY_LINES = {("NewReport", "text"), ("NewDecision", "reason"), ("NewReceipt", "detail"), ("NewAppeal", "grounds")}
MANY_LINES |= {("NewAnswer", "reason"), ("NewRecycledAnswer", "reason")}
"""Texts of several lines. They are shown indented."""

INVISIBLE = "\n\r\x00\x1b\x7f\x85\u200b\u200e\u202a\u202e\u2028\u2029\u2066\u2060\ufeff\U000e0041"


def requests() -> list[type[BaseModel]]:
    return [each for each in vars(models).values() if isinstance(each, type) and issubclass(each, models.RequestModel)]


def texts_of(annotation: Any, metadata: typing.Sequence[Any] = ()) -> typing.Iterator[Any]:
    """The annotated text types in a field's annotation."""
    if annotation is str:
        yield typing.Annotated[(str, *metadata)] if metadata else str
    elif typing.get_origin(annotation) is typing.Annotated:
        first, *more = typing.get_args(annotation)
        yield from texts_of(first, more) if first is str else texts_of(first)
    elif typing.get_origin(annotation) in (types.UnionType, typing.Union, tuple):
        for part in typing.get_args(annotation):
            yield from texts_of(part)


def single_line_fields() -> list[tuple[str, str, Any]]:
    found = []
    for model in requests():
        for name, field in model.model_fields.items():
            if (model.__name__, name) not in MANY_LINES:
                found += [(model.__name__, name, text) for text in texts_of(field.annotation, field.metadata)]
    return found


FIELDS = single_line_fields()


def test_every_text_of_a_request_is_known() -> None:
    assert {("NewReport", "reporter"), ("NewReport", "app"), ("NewAppeal", "appellant")} <= {row[:2] for row in FIELDS}
    assert all(text is not str for _, _, text in FIELDS), "a text without a limit"


@pytest.mark.parametrize(("model", "name", "text"), FIELDS, ids=[f"{row[0]}.{row[1]}" for row in FIELDS])
def test_a_text_of_one_line_takes_no_other(model: str, name: str, text: Any) -> None:
    adapter: TypeAdapter[str] = TypeAdapter(text)
    is_number = name == "number"
    for character in INVISIBLE:
        if is_number and character in "\u200b\u200e\u202a\u202e\u2066\u2060\ufeff\U000e0041":
            continue  # numbers are pasted with such marks, and only their digits are kept
        with pytest.raises(ValidationError):
            adapter.validate_python(f"a{character}b")


@given(st.text(min_size=1))
def test_what_a_line_takes_is_one_line(text: str) -> None:
    for kind in (Line, NumberText):
        try:
            taken = TypeAdapter(kind).validate_python(text)
        except ValidationError:
            continue
        assert len(taken.splitlines()) == 1


def test_texts_of_several_lines_and_names_of_people_are_taken() -> None:
    assert TypeAdapter(LongText).validate_python("satu\r\ndua\ttiga") == "satu\r\ndua\ttiga"
    for name in ("Nur Aisyah", "می\u200cخواهم", "👩\u200d🔧", "O'Brien (2)"):
        assert TypeAdapter(Line).validate_python(name) == name


STRANGE = st.text(st.sampled_from('x 1;:"\\,' + INVISIBLE) | st.characters(), min_size=1, max_size=30)


def report(text: str) -> Report:
    return Report(
        id=7, case=3, number=6281234567890, category="fraud", channel="messaging", app=text, text=text, happened_at=AT,
        received_at=AT, reporter=text, repeats=None, evidence=(), case_state=CaseState.RECEIVED, missing=(),
    )  # fmt: skip


def appeal(text: str) -> Appeal:
    return Appeal(
        id=7, case=3, number=6281234567890, grounds=text, appellant=text, state="open", received_at=AT,
        answered_at=None, reason=text, evidence=(), lifted=(),
    )  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(text=STRANGE)
def test_no_view_shows_a_line_that_a_stranger_wrote(text: str) -> None:
    event = Event(sequence=1, at=AT, actor="anna", event="decided", detail={"reason": text}, hash="0" * 64)
    lines = [
        report_views.report_line(report(text)),
        appeal_views.appeal_line(appeal(text)),
        case_views._event_line(event),
    ]
    shown = capture(lambda: write_lines(lines))
    assert len(shown) == len(lines)
    assert [line.split()[0] for line in shown] == ["report", "appeal", shown[2].split()[0]]
    tables = [table_lines(report_views._COLUMNS, [report_views._row(report(text))], whole=4, width=None)]
    tables += [table_lines(appeal_views._COLUMNS, [appeal_views._row(appeal(text))], whole=4, width=None)]
    assert len(capture(lambda: write_lines(itertools.chain(*tables)))) == 4
    for line in capture(lambda: write_lines(indented(text, "    "))):
        assert line.startswith("    ") or not line
    for line in shown:
        assert not any(character in line for character in "\r\x00\x1b\x7f\u202e\u2066\u2028")


@given(STRANGE)
def test_a_part_of_a_line_ends_where_its_quotation_marks_end(text: str) -> None:
    part = quoted(text)
    if part.startswith('"'):
        inner = part[1:-1].replace("\\\\", "")
        assert '"' not in inner.replace('\\"', "")
    else:
        assert " " not in part
        assert ";" not in part


def capture(write: typing.Callable[[], None]) -> list[str]:
    import contextlib
    import io

    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        write()
    return out.getvalue().split("\n")[:-1]


def test_a_reference_of_two_lines_shows_as_one_in_quotation_marks() -> None:
    forged = "x; case 1: retracted\r\nreport 999 +62811811234"
    (line,) = capture(lambda: write_line(report_views.report_line(report(forged))))
    assert f'by "{forged}"'.replace("\r\n", " ") in line
