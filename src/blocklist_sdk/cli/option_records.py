"""Options that several commands share, declared once as the fields of a dataclass."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, TypeVar, get_type_hints

T = TypeVar("T")


def with_records(command: Callable[..., T]) -> Callable[..., T]:
    """Give a command an option for each field of its arguments that are dataclasses; it gets each as one argument.

    The options stand where the argument stands. A field is annotated as a parameter of a command is, and has a default.

    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Size:
    ...     width: int = 80
    ...     height: int = 24
    >>> @with_records
    ... def show(text: str, size: Size) -> str:
    ...     return f"{text} {size.width} x {size.height}"
    >>> [*inspect.signature(show).parameters], show(text="a page", width=100, height=24)
    (['text', 'width', 'height'], 'a page 100 x 24')
    """
    signature = inspect.signature(command, eval_str=True)
    records: dict[str, Any] = {
        name: each.annotation for name, each in signature.parameters.items() if is_dataclass(each.annotation)
    }
    records.pop("settings", None)  # those are `settings.with_settings`'s
    parameters: list[inspect.Parameter] = []
    for name, parameter in signature.parameters.items():
        parameters += _parameters_of(records[name]) if name in records else [parameter]

    @functools.wraps(command)
    def run(**values: Any) -> T:
        for name, record in records.items():
            values[name] = record(**{field.name: values.pop(field.name) for field in fields(record)})
        return command(**values)

    keyword_only = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in parameters]
    run.__annotations__ = {each.name: each.annotation for each in keyword_only}
    run.__signature__ = signature.replace(parameters=keyword_only)  # type: ignore[attr-defined]
    return run


def _parameters_of(record: Any) -> list[inspect.Parameter]:
    hints = get_type_hints(record, include_extras=True)
    return [
        inspect.Parameter(
            each.name, inspect.Parameter.KEYWORD_ONLY, default=_default_of(each), annotation=hints[each.name]
        )
        for each in fields(record)
    ]


def _default_of(each: "Field[Any]") -> Any:
    return inspect.Parameter.empty if each.default is MISSING else each.default
