"""The files for containers: hardened, without compilers and hosts, and calling commands and flags that exist."""

import contextlib
import importlib.util
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer
import yaml  # type: ignore[import-untyped]

from blocklist_sdk.cli.app import command_line
from blocklist_sdk.cli.settings import NAMES, variable
from blocklist_sdk.lookup_server.paths import OPEN
from support import quick_secrets  # noqa: F401 -- accounts are made in no time
from support.command_line import run

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "packaging" / "containers"
CONTAINERFILE = (FOLDER / "Containerfile").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text(encoding="utf-8"))
SIDECAR: list[dict[str, Any]] = list(
    yaml.safe_load_all((ROOT / "packaging" / "kubernetes" / "sidecar.yaml").read_text(encoding="utf-8"))
)
TARGETS = ("recipient", "lookup", "exchange")
OURS = {name: each for name, each in COMPOSE["services"].items() if "build" in each}
KNOWN = {variable(name) for name in (*NAMES, "config")}


def loaded(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def replay() -> ModuleType:
    return loaded("replay")


@pytest.fixture(scope="module")
def stages(replay: ModuleType) -> dict[str, list[tuple[str, str]]]:
    """The instructions of each stage, by its name."""
    found: dict[str, list[tuple[str, str]]] = {}
    name = ""
    for instruction, rest in replay.instructions(CONTAINERFILE):
        if instruction == "FROM":
            name = rest.partition(" AS ")[2]
        found.setdefault(name, []).append((instruction, rest))
    return found


def given_to(words: list[str]) -> dict[str, Any]:
    """What a command is given; it fails if there is no such command or flag."""
    command: Any = command_line()
    words = [str(word) for word in words]
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    context: typer.Context = command.make_context(command.name, words)
    return dict(context.params)


def test_the_base_is_an_argument_and_no_host_is_named() -> None:
    assert set(re.findall(r"(?m)^FROM (\S+)", CONTAINERFILE)) == {"${BASE}", "common"}
    images = [*re.findall(r"(?m)^ARG BASE=(\S+)$", CONTAINERFILE)]
    images += [each["image"] for each in COMPOSE["services"].values()]
    assert not [image for image in images if re.match(r"[^/]*[.:][^/]*/", image)]
    assert "://" not in re.sub(r"http://127\.0\.0\.1", "", CONTAINERFILE)


def test_every_package_has_a_pinned_hash_and_none_is_compiled(stages: dict[str, list[tuple[str, str]]]) -> None:
    installs = [rest for each in stages.values() for name, rest in each if name == "RUN" and " install " in rest]
    installs = [rest for rest in installs if " pip " in rest]
    assert len(installs) == 7
    for rest in installs:
        flags = set(rest.split())
        assert {"--require-hashes", "--only-binary"} <= flags or {"--no-deps", "--no-index"} <= flags, rest
        assert all(
            (ROOT / path.lstrip("/")).is_file()
            for path in re.findall(r"-r (/requirements/\w+\.txt)", rest)
            if path != "/requirements/sinks.txt"
        )
    assert not re.search(r"apt-get|gcc|build-essential|curl ", CONTAINERFILE)


def test_what_the_wheel_is_made_of_is_copied(stages: dict[str, list[tuple[str, str]]]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = [*wheel["packages"], *wheel["force-include"], "pyproject.toml", project["project"]["readme"]]
    copied = [path for name, rest in stages["wheel"] if name == "COPY" for path in rest.split()[:-1]]
    assert [path for path in needed if not any(Path(path).is_relative_to(each) for each in copied)] == []

    ignored, *sent = (FOLDER / "Containerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    assert ignored == "*"
    sent = [line.removeprefix("!") for line in sent if line.startswith("!")]
    copies = [rest.split() for each in stages.values() for name, rest in each if name == "COPY"]
    paths = [path for words in copies if not words[0].startswith("--from=") for path in words[:-1]]
    assert [path for path in paths if not any(Path(path).is_relative_to(each) for each in sent)] == []


def test_pins_are_taken_whole_or_not_at_all(stages: dict[str, list[tuple[str, str]]]) -> None:
    taken = [rest.split()[1:] for each in stages.values() for name, rest in each if name == "RUN" and "pins.sh" in rest]
    assert len(taken) == 2
    for script, file, *words in taken:
        names = words[: words.index(">")]
        path = ROOT / "requirements" / Path(file).name
        ran = subprocess.run(
            ["sh", FOLDER / Path(script).name, path, *names], capture_output=True, text=True, check=True
        )
        assert re.findall(r"(?m)^([a-z-]+)==", ran.stdout) == names
        hashes = [line for line in ran.stdout.splitlines() if "--hash=sha256:" in line]
        assert len(hashes) >= len(names)
        assert set(hashes) <= set(path.read_text().splitlines())
    missing = subprocess.run(
        ["sh", FOLDER / "pins.sh", ROOT / "requirements" / "run.txt", "httpx", "nothing"],
        capture_output=True,
        check=False,
    )
    assert missing.returncode == 1
    assert b"does not pin nothing" in missing.stderr


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_has_no_rights_and_a_health_check(
    stages: dict[str, list[tuple[str, str]]], replay: ModuleType, target: str
) -> None:
    own = dict(stages[target])
    assert stages[target][0] == ("FROM", f"common AS {target}")
    assert own["USER"].split(":")[0] not in ("0", "root")
    check = replay.list_of(own["HEALTHCHECK"].partition(" CMD ")[2])
    if check[0] == "blocklist":
        assert given_to(list(check[1:]))["require_fresh"]
    else:
        assert re.search(r"127\.0\.0\.1:\d+(/\w+)'", check[-1])[1] in OPEN  # type: ignore[index]
    given_to(list(replay.list_of(own["CMD"])))
    common = dict(stages["common"])
    assert replay.list_of(common["ENTRYPOINT"]) == ("blocklist",)
    variables = {rest.partition("=")[0] for name, rest in stages["common"] if name == "ENV"}
    assert {name for name in variables if name.startswith("BLOCKLIST_")} <= KNOWN


def test_the_replay_knows_every_instruction(stages: dict[str, list[tuple[str, str]]], replay: ModuleType) -> None:
    """It carries out a step that continues on the next line as one."""
    source = (FOLDER / "replay.py").read_text(encoding="utf-8")
    known = {word for line in re.findall(r'case ("[A-Z" |]+)', source) for word in re.findall(r"[A-Z]+", line)}
    assert {name for each in stages.values() for name, _ in each} <= known
    assert all("\n" not in rest and not rest.endswith("\\") for each in stages.values() for _, rest in each)


def commands() -> Iterator[tuple[str, list[str]]]:
    for name, each in OURS.items():
        if "entrypoint" not in each:
            yield f"compose {name}", each["command"]
    for container in SIDECAR[1]["spec"]["template"]["spec"]["containers"]:
        if "args" in container:
            yield f"kubernetes {container['name']}", container["args"]


@pytest.mark.parametrize(("name", "words"), list(commands()), ids=lambda each: each if isinstance(each, str) else "")
def test_a_service_calls_a_command_that_exists(name: str, words: list[str]) -> None:
    given = given_to(words)
    if "serve" in words and "exchange" not in words:
        assert given["token_file"] or given["host"] == "127.0.0.1", "who reaches it may ask"


@pytest.mark.parametrize("name", OURS)
def test_a_service_of_ours_is_hardened(name: str) -> None:
    service = OURS[name]
    assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["tmpfs"] == ["/tmp"]
    assert service["build"]["target"] in TARGETS
    assert (FOLDER / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    assert set(service.get("environment", {})) <= KNOWN
    for volume in service["volumes"]:
        assert volume.partition(":")[0] in COMPOSE["volumes"]


def test_only_one_service_writes_the_list() -> None:
    writers = [name for name, each in OURS.items() if "recipient:/var/lib/blocklist" in each["volumes"]]
    readers = [name for name, each in OURS.items() if "recipient:/var/lib/blocklist:ro" in each["volumes"]]
    assert (writers, readers) == (["recipient"], ["lookup"])


def test_a_service_has_its_own_secrets_alone() -> None:
    mounts = {
        name: [volume.split(":") for volume in each["volumes"]]
        for name, each in COMPOSE["services"].items()
        if name != "seed"
    }
    held = {
        name: {volume for volume, target, *_ in each if target.startswith("/srv/settings")}
        for name, each in mounts.items()
    }
    assert held == {
        "exchange": {"exchange-secret"},
        "database": {"database-secret"},
        "recipient": {"recipient-settings", "database-secret"},
        "lookup": {"lookup-settings"},
    }
    modes = {(*mode,) for each in mounts.values() for volume, _, *mode in each if volume in set().union(*held.values())}
    assert modes == {("ro",)}


def test_the_image_has_the_folders_of_all_volumes_for_its_user(stages: dict[str, list[tuple[str, str]]]) -> None:
    """A volume takes the owner of the image's folder, and one without a folder is root's."""
    made: set[str] = set()
    for name, rest in stages["common"]:
        words = rest.split()
        if name == "RUN" and "blocklist" in words and "install" in words:
            folder = words[words.index("cd") + 1] if "cd" in words else "/"
            made |= {str(Path(folder) / word) for word in words[words.index("0750") + 1 :]}
    targets = {volume.split(":")[1] for each in OURS.values() for volume in each["volumes"]}
    assert targets <= made


def test_a_pod_is_hardened_and_its_probes_need_no_token() -> None:
    settings, workload = SIDECAR
    pod = workload["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is False
    ours = {each["name"]: each for each in pod["containers"] if each["image"].startswith("blocklist-")}
    assert set(ours) == {"sync", "lookup"}
    claims = {claim["metadata"]["name"] for claim in workload["spec"]["volumeClaimTemplates"]}
    known = claims | {volume["name"] for volume in pod["volumes"]}
    for container in ours.values():
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"] is True
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert {mount["name"] for mount in container["volumeMounts"]} <= known
        assert {each["name"] for each in container["env"]} <= KNOWN
        assert "/tmp" in {mount["mountPath"] for mount in container["volumeMounts"]}
    probes = {name: each["httpGet"]["path"] for name, each in ours["lookup"].items() if name.endswith("Probe")}
    assert probes == {"startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"}
    assert set(probes.values()) <= OPEN
    assert {mount["mountPath"]: mount.get("readOnly", False) for mount in ours["lookup"]["volumeMounts"]}[
        "/var/lib/blocklist"
    ]
    secrets = {volume["name"]: volume["secret"] for volume in pod["volumes"] if "secret" in volume}
    assert all(secret["defaultMode"] == 0o440 for secret in secrets.values())
    names = set(tomllib.loads(settings["data"]["blocklist.toml"]))
    assert names <= set(NAMES)


class Interrupted(BaseException):
    """As if the container was stopped."""


class Seeding:
    """Runs of `seed.py` on folders as compose.yaml mounts them, each interrupted after some of its commands.

    Attributes:
        exchange: the folder of the exchange's volume.
        settings: the folder of the settings' volumes.
    """

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.exchange, self.settings = folder / "exchange", folder / "settings"
        self._seed, self._left = loaded("seed"), 0
        for name in (*(f"settings/{each}" for each in self._seed.FOLDERS), "exchange"):
            (folder / name).mkdir(parents=True)
        arguments = ["seed.py", str(self.exchange), str(self.settings), "http://exchange:8080"]
        monkeypatch.setattr(sys, "argv", arguments)
        monkeypatch.setattr(self._seed, "blocklist", self._command)

    def _command(self, *words: str) -> None:
        ran = run(*words)
        assert ran.code == 0, ran
        self._left -= 1
        if self._left == 0:
            raise Interrupted

    def run(self, *, commands: int = 0) -> None:
        """Run it.

        Args:
            commands: after how many of its commands it is interrupted.
        """
        self._left = commands
        with pytest.raises(Interrupted) if commands else contextlib.nullcontext():
            self._seed.main()

    def files(self) -> set[Path]:
        """All there is."""
        return {path for folder in (self.exchange, self.settings) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def seeding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Seeding:
    return Seeding(tmp_path, monkeypatch)


def test_seeding_goes_well_after_an_interruption(seeding: Seeding, capsys: pytest.CaptureFixture[str]) -> None:
    """The commands fail on what a run before has left."""
    seeding.run(commands=3)
    first = {path: path.read_bytes() for path in seeding.files()}
    (seeding.exchange / ".exchange.0a1b2c3d").mkdir()  # as a kill leaves one that is being built
    others = {seeding.exchange / "notes.txt", seeding.settings / "notes.txt"}
    for path in others:
        path.touch()
    seeding.run(commands=3)
    assert "interrupted: what it left is removed" in capsys.readouterr().err
    assert {path.name for path in seeding.exchange.iterdir()} == {"exchange", "notes.txt"}
    assert others < seeding.files()
    secrets = [path for path in first if path.name in ("passphrase", "offline-passphrase", "token", "password")]
    assert len(secrets) == 4
    assert all(path.read_bytes() != first[path] for path in secrets), "all of it is made anew"


def test_seeding_removes_nothing_that_it_has_not_made(seeding: Seeding) -> None:
    theirs = seeding.exchange / "exchange" / "exchange.toml"
    theirs.parent.mkdir()
    theirs.touch()
    for _ in range(2):
        with pytest.raises(SystemExit, match="nothing was changed"):
            seeding.run()
        assert seeding.files() == {theirs}


def test_seeding_is_done_once(seeding: Seeding, capsys: pytest.CaptureFixture[str]) -> None:
    ready = seeding.settings / "seed" / "ready"
    ready.touch()
    seeding.run()
    assert "there is an exchange already" in capsys.readouterr().err
    assert seeding.files() == {ready}
