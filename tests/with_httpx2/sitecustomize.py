"""Puts httpx2 in the place of httpx in every process that has this folder in PYTHONPATH: `make test-httpx2`.

It waits until a process asks for httpx, so that what loads nothing of httpx loads nothing of httpx2 either.
"""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


class _OnFirstUse(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] not in ("httpx", "httpcore"):
            return None
        import httpx2

        sys.meta_path.remove(self)
        httpx2.alias_httpx()
        specs = (finder.find_spec(fullname, path, target) for finder in sys.meta_path)
        return next(filter(None, specs), None)


sys.meta_path.insert(0, _OnFirstUse())
