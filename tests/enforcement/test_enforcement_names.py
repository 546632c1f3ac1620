"""The public names of enforcement: each can be imported from its package, whatever was imported before."""

import importlib
import pkgutil
from types import ModuleType

import pytest

import blocklist_sdk.enforcement
import blocklist_sdk.enforcement.sinks


@pytest.mark.parametrize("package", [blocklist_sdk.enforcement, blocklist_sdk.enforcement.sinks])
def test_no_public_name_is_hidden_by_a_module(package: ModuleType) -> None:
    """Importing a module sets its name in the package: a function of the same name would be out of reach."""
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
    for name in vars(package)["__all__"]:
        value = getattr(package, name)
        assert not isinstance(value, ModuleType), name
        assert not callable(value) or value.__module__ == package.__name__, name
