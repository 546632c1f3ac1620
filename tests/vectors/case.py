"""A case: what is served, step after step, and what a reader must make of it."""

from dataclasses import dataclass, field
from typing import Any, Final

from vectors.repository import FEED, Repository
from vectors.sample import NOW, Sample

FIRST: Final = ("sample", "sample-1")
"""The layers of the sample at its first release."""

SHARED: Final = "shared"
"""The layer of what several cases have."""

STANDING: Final = [
    {"number": 6281200000001, "scope": None, "blocked": True, "reason": "listed"},
    {"number": 6281200000099, "scope": None, "blocked": False, "reason": "not-listed"},
]
"""What the first release says, also after a sync that had to be refused. 6281200000099 is what bad releases add."""

Step = dict[str, Any]


@dataclass
class Case:
    """A case.

    Attributes:
        name: its name, which is that of its layer if it has one.
        about: what it shows, in a sentence.
        group: ``sync``, ``refuse``, ``limits`` or ``look-ups``.
        required: whether a reader that fails it fails the kit.
        steps: what is asked, in order.
        files: what its layer has over the sample's.
        reason: of a case that must be refused, what is wrong, to go behind "must be refused: ".
    """

    name: str
    about: str
    steps: list[Step]
    group: str = "refuse"
    required: bool = True
    reason: str | None = None
    files: dict[str, bytes] = field(default_factory=dict)

    def share(self) -> None:
        """Have the layer of files that several cases have served wherever this case's own is."""
        for step in self.steps:
            layers = step.get("layers", [])
            if self.name in layers and SHARED not in layers:
                layers.insert(layers.index(self.name), SHARED)

    def document(self) -> dict[str, Any]:
        shown = {"name": self.name, "group": self.group, "required": self.required, "about": self.about}
        return {**shown, **({"reason": self.reason} if self.reason else {}), "steps": self.steps}


def sync(*layers: str, expect: dict[str, Any], **others: Any) -> Step:
    return (
        {"do": "sync", "layers": list(layers), "feed": FEED, "root": "sample.root.json", "now": NOW}
        | others
        | {"expect": expect}
    )


def check(expect: list[dict[str, Any]], *, serial: int = 1, **others: Any) -> Step:
    return {"do": "check", "feed": FEED, "now": NOW, "serial": serial, "stale": False} | others | {"answers": expect}


def in_force(sample: Sample, serial: int) -> dict[str, Any]:
    """What a sync answers that put a release of the sample in force."""
    return {"serial": serial, "digest": sample.releases[serial - 1].digest}


def refused(
    sample: Sample,
    name: str,
    reason: str,
    repository: Repository,
    *kinds: str,
    required: bool = True,
    group: str = "refuse",
    base: int = 1,
    **others: Any,
) -> Case:
    """A case whose repository must be refused, after a release of the sample came into force.

    Args:
        sample: the sample.
        name: the case's name.
        reason: what is wrong.
        repository: what must be refused.
        kinds: the kinds of error that may be told of.
        required: whether a reader that fails it fails the kit.
        group: the case's group.
        base: the release that is in force before.
        others: fields of the step that must be refused.
    """
    before = (FIRST[0], f"sample-{base}")
    steps = [
        sync(*before, expect=in_force(sample, base)),
        sync(*before, name, expect={"error": list(kinds)}, **others),
        check(STANDING, serial=base),
    ]
    files = repository.beside(sample.stages[base - 1])
    about = f"After a sync that must fail, release {base} goes on answering."
    return Case(name, about, steps, group, required, reason, files)
