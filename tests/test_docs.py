"""Every example in the documents and docstrings runs; what they refer to exists."""

import doctest
import importlib
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

import blocklist_sdk
from blocklist_sdk import ExchangeClient, Publisher
from blocklist_sdk.exchange_server.store.trail import Act
from blocklist_sdk.release.index import FeedIndex
from support.forked_command import forked_command
from support.import_plan import MODULES, PACKAGE

if TYPE_CHECKING:
    from support.talking import Clock, Talk

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAPERS = [*(ROOT / name for name in ("README.md", "SECURITY.md", "CONTRIBUTING.md")), *sorted(DOCS.rglob("*.md"))]
PAGES = [paper for paper in PAPERS if paper.parent.name != "adr"]

SKIP = "<!-- skip -->"
"""Stands before an example that cannot run here: it needs a hardware module, a server of somebody's, or a shell."""

PLACEHOLDER = "https://lists.example"
"""The documents' repository; examples meet the one that `published` makes instead."""

EXCHANGE = "https://exchange.example"
"""The documents' exchange; examples meet the one that `exchange` serves instead."""

WAITING, LISTED = 6281234567000, 6281234567890
"""Generated numbers: the exchange has a complete case of the first, and lists the second."""

BLOCK = re.compile(
    r"(?:(?P<skip><!-- skip -->\s*)?^```python|<!-- run -->\s*^```(?P<shell>console))\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
"""Python runs unless it says `skip`; what a shell is told runs where it says `run`."""

GENERATED_LIST = """\
number,last,level,category,scope,until
0812-3456-7890,,block,phishing,sms+voice,2099-01-01T00:00:00Z
0821-5555-0101,,advisory,spam,sms,
+62 812 0000 0000,+62 812 0000 9999,block,fraud,voice,
"""
"""Generated numbers."""


def name_of(paper: Path) -> str:
    return paper.relative_to(ROOT).as_posix()


@dataclass(frozen=True)
class Example:
    page: Path
    line: int
    code: str
    is_shell: bool


def examples_of(page: Path) -> list[Example]:
    text = page.read_text(encoding="utf-8")
    return [
        Example(page, text.count("\n", 0, found.start("code")) + 1, found["code"], bool(found["shell"]))
        for found in BLOCK.finditer(text)
        if not found["skip"]
    ]


@pytest.fixture(scope="module")
def programs() -> Iterator[Path]:
    """A folder with the command."""
    with tempfile.TemporaryDirectory(prefix="bin-") as name, forked_command(Path(name)) as folder:
        yield folder


@pytest.fixture(scope="module")
def publisher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a publisher with a list, for each page to copy."""
    folder = tmp_path_factory.mktemp("documents")
    publisher = Publisher.init(
        folder / "publisher", feeds=["id-messaging"], passphrase="correct horse battery", region="ID"
    )
    source = folder / "list.csv"
    source.write_text(GENERATED_LIST, encoding="utf-8")
    publisher.release("id-messaging", source, published_at=datetime(2026, 1, 2, 6, tzinfo=UTC))
    return publisher.directory


@pytest.fixture
def published(publisher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory with `root.json`, `fraud.csv` and the documents, for a repository beside it."""
    folder = tmp_path / "publisher"
    shutil.copytree(publisher, folder, symlinks=True)
    work = tmp_path / "work"
    work.mkdir()
    (work / "root.json").write_bytes((folder / "root.json").read_bytes())
    (work / "fraud.csv").write_text(GENERATED_LIST, encoding="utf-8")
    (work / "docs").symlink_to(ROOT / "docs")
    monkeypatch.chdir(work)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return folder / "repository"


@pytest.fixture
def exchange(
    published: Path, clock: "Clock", start: "Callable[[], Talk]", monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> str:
    """The address of an exchange that has the documents' account; what they read lies in the working directory."""
    from joserfc.jwk import OKPKey

    from blocklist_sdk.exchange_server.casework.accounts import add_account
    from blocklist_sdk.sandbox import screenshot

    clock.moment = datetime(2026, 11, 24, 12, tzinfo=UTC)
    talk = start()
    with talk.exchange.database.writing(by=Act("command line", "prepared")) as session:
        secret = add_account(session, "gopay", "report officer receipt feed:id-telkomsel", key=None, now=clock())
    assert secret is not None
    monkeypatch.setenv("EXCHANGE_SECRET", secret)
    work = tmp_path / "work"
    (work / "gopay.pem").write_bytes(OKPKey.generate_key("Ed25519").as_pem(private=True))
    (work / "screenshot.png").write_bytes(screenshot())
    talk.complete(WAITING)
    talk.listed(LISTED)
    return talk.url


def complaints() -> list[dict[str, object]]:
    """Stands for a reader's own; the second number is nobody's."""
    common = {"category": "fraud", "channel": "sms", "text": "You have won", "reporter": "customer-19"}
    at = datetime(2026, 11, 24, 9, tzinfo=UTC)
    return [{**common, "number": number, "happened_at": at} for number in ("0812-3456-7891", "112")]


class Shell:
    """One bash, in which commands run one after the other.

    Args:
        programs: the folder that comes first on its PATH.
    """

    def __init__(self, programs: Path) -> None:
        path = os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.environ["PATH"]])
        self._process = subprocess.Popen(
            ["bash", "--norc"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PATH": path, "NO_COLOR": "1"},
            text=True,
        )

    def run(self, command: str) -> str:
        """What a command writes, to either stream; its exit code is the next one's `$?`."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{command}\ncode=$?; echo; echo '{END}'; (exit $code)\n")
        self._process.stdin.flush()
        lines = iter(self._process.stdout.readline, f"{END}\n")
        return "".join(lines).removesuffix("\n")

    def close(self) -> None:
        self._process.communicate(timeout=60)


END = "== end of output =="


def commands_in(code: str) -> list[tuple[str, str]]:
    """Each command after a `$`, whole, and the output that follows it; `…` stands for anything."""
    found: list[tuple[str, str]] = []
    for line in code.splitlines(keepends=True):
        command, output = found[-1] if found else ("", "")
        if line.startswith("$ "):
            found.append((line[2:], ""))
        elif not output and (line.startswith("> ") or command.endswith("\\\n")):
            found[-1] = (command + line.removeprefix("> "), "")
        else:
            found[-1] = (command, output + line)
    return [(command.rstrip("\n"), output.replace("…", "...")) for command, output in found]


def check_shell(shell: Shell, example: Example) -> None:
    for command, wanted in commands_in(example.code):
        got = shell.run(command)
        is_right = doctest.OutputChecker().check_output(wanted, got, doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
        assert is_right, f"{example.page.name}, line {example.line}: {command}\n{got}"


@pytest.mark.parametrize("page", [page for page in PAGES if examples_of(page)], ids=name_of)
def test_the_examples_of_a_page_run(page: Path, published: Path, request: pytest.FixtureRequest) -> None:
    """In order, in one namespace and one shell, as a reader would type them."""
    examples = examples_of(page)
    shell = None
    if any(example.is_shell for example in examples):
        shell = Shell(request.getfixturevalue("programs"))
        request.addfinalizer(shell.close)
    names: dict[str, object] = {"__name__": "__main__"}
    places = {PLACEHOLDER: published.as_uri()}
    if any(EXCHANGE in example.code for example in examples):
        places[EXCHANGE] = request.getfixturevalue("exchange")
        names["read_your_complaints"] = complaints
    for example in examples:
        if shell is not None and example.is_shell:
            check_shell(shell, example)
            continue
        code = example.code
        for placeholder, place in places.items():
            code = code.replace(placeholder, place)
        if ">>> " in code:
            found = doctest.DocTestParser().get_doctest(code, names, page.name, str(page), example.line)
            runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
            runner.run(found, clear_globs=False)
            assert not runner.failures, f"{page.name}, line {example.line}: see above"
            names = found.globs
        else:
            exec(compile("\n" * (example.line - 1) + code, str(page), "exec"), names)
    if isinstance(client := names.get("exchange"), ExchangeClient):
        client.close()


def test_the_readme_has_an_example_that_runs() -> None:
    assert examples_of(ROOT / "README.md")


def modules() -> list[str]:
    """Modules with examples in their docstrings."""
    return [
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
        for path in MODULES
        if ">>> " in path.read_text(encoding="utf-8")
    ]


class Finder(doctest.DocTestFinder):
    """Knows a module's functions and classes, also public ones, which say that they belong to the package."""

    def _from_module(self, module: ModuleType, object: object) -> bool:
        if inspect.isfunction(object):
            return vars(module) is inspect.unwrap(object).__globals__
        if inspect.isclass(object):
            return re.search(rf"^ *class {object.__name__}\b", inspect.getsource(module), re.MULTILINE) is not None
        return bool(super()._from_module(module, object))  # type: ignore[misc]


@pytest.mark.parametrize("name", modules())
def test_the_examples_of_a_module_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    found = Finder(exclude_empty=True).find(module)
    assert any(each.examples for each in found), "no example was found, though the module has some"
    for each in found:
        runner.run(each)
    assert not runner.failures, "see above"


def test_the_index_in_the_protocol_is_one() -> None:
    text = (DOCS / "reference" / "protocol.md").read_text(encoding="utf-8")
    found = re.search(r"<!-- index -->\n```json\n(.*?)```", text, re.DOTALL)
    assert found
    index = FeedIndex.from_json(found[1].encode(), feed="id-messaging")
    ranges = json.loads((DOCS / "protocol" / "vectors" / "ranges.json").read_text(encoding="utf-8"))
    assert index.releases[0].digest == ranges["digest"]


def test_every_vector_is_named_in_the_protocol() -> None:
    text = (DOCS / "reference" / "protocol.md").read_text(encoding="utf-8")
    for path in (DOCS / "protocol" / "vectors").glob("*.json"):
        assert f"`{path.stem}`" in text


def test_tests_that_a_paper_names_exist() -> None:
    for paper in PAPERS:
        for path, name in re.findall(r"`(tests/[\w/.-]+)(?:::(\w+))?`", paper.read_text(encoding="utf-8")):
            assert (ROOT / path).exists(), f"{name_of(paper)}: {path}"
            if name:
                assert f"def {name}(" in (ROOT / path).read_text(encoding="utf-8"), f"{name_of(paper)}: {path}::{name}"


def test_links_between_papers_lead_somewhere() -> None:
    """To files; `make docs` checks the headings that they name."""
    links = [
        (paper, target)
        for paper in PAPERS
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[\w-]+)?\)", paper.read_text(encoding="utf-8"))
    ]
    assert links
    assert not [(name_of(paper), target) for paper, target in links if not (paper.parent / target).exists()]


def test_every_public_name_is_in_the_reference() -> None:
    reference = "".join(page.read_text(encoding="utf-8") for page in sorted((DOCS / "reference").rglob("*.md")))
    names = set(dir(blocklist_sdk)) - {"__version__"}
    assert not {name for name in names if f":: blocklist_sdk.{name}\n" not in reference}


def test_every_setting_of_an_exchange_is_in_the_reference() -> None:
    from blocklist_sdk.exchange_server.settings import ExchangeSettings

    page = (DOCS / "reference" / "exchange-settings.md").read_text(encoding="utf-8").partition("## Scopes")[0]
    assert re.findall(r"^\| `(\w+)`", page, re.MULTILINE) == list(ExchangeSettings.model_fields)


def test_pages_that_the_code_names_exist() -> None:
    folders = [ROOT / name for name in ("src", "packaging", "benchmarks", "examples", "integration")]
    files = [file for folder in folders for file in folder.rglob("*") if file.suffix in {".py", ".toml", ".service"}]
    named = {
        page for file in files for page in re.findall(r"(?<![\w/])docs/[\w/.-]+\.\w+", file.read_text(encoding="utf-8"))
    }
    assert named
    assert not {page for page in named if not (ROOT / page).exists()}
