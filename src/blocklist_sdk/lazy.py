"""Public names of a package, loaded when they are first used, so that importing the package costs next to nothing."""

import sys
from collections.abc import Mapping
from importlib import import_module
from types import FunctionType
from typing import Any


def attach(package: str, homes: Mapping[str, str]) -> None:
    """Give a package its public names.

    A class or function then says in `help` and in errors that it belongs to the package, which is where users import
    it from, and not to the module that defines it.

    Args:
        package: the package's name.
        homes: for each public name, the module that defines it: its full name, or what follows the package's.
    """
    module = sys.modules[package]
    outer = package.partition(".")[0]

    def load(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        home = homes[name]
        value = getattr(import_module(home if home.startswith(f"{outer}.") else f"{package}.{home}"), name)
        if isinstance(value, type | FunctionType):
            # What two packages offer belongs to the outer one, whichever is asked first.
            value.__module__ = outer if name in vars(sys.modules[outer]).get("__all__", ()) else package
        setattr(module, name, value)
        return value

    public = sorted({*homes, *vars(module).keys() & {"__version__"}})
    vars(module).update(__all__=public, __getattr__=load, __dir__=lambda: public)
