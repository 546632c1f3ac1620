#!/usr/bin/env python3
"""Replay `Containerfile` and `compose.yaml` in Debian chroots, on a machine where no container engine runs.

    sudo ./replay.py WORK_FOLDER [--keep]

With `--keep`, stages that an earlier run has finished are not built again.

Every instruction of the Containerfile is carried out as it is written, stage by stage, each in a folder of its own that
begins as a copy of its base; the base is what `debootstrap` makes. Then the services of the compose file run with what
it says of them: user, command, environment, volumes, a root that cannot be written, no capabilities, health checks, and
the order in which they wait for each other. They share one network of their own, in which each is known by its name.

What it cannot show: images, layers and registries, an engine's networks and cgroups, restarts, published ports, and the
images of others. PostgreSQL is this machine's own.

It needs root, debootstrap, util-linux, PostgreSQL and PyYAML.
"""

import contextlib
import json
import os
import pwd
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import yaml

HERE: Final = Path(__file__).resolve().parent
TOP: Final = HERE.parents[1]
SUITE: Final = "bookworm"
PACKAGES: Final = "python3,python3-pip,python3-venv,ca-certificates"
"""What an image of Python has beside Debian's smallest."""

PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""What engines give where the base gives none."""

PATIENCE_S: Final = 120.0
_PASSED: Final = re.compile(
    r"(?i)^(PIP_(CERT|INDEX_URL|EXTRA_INDEX_URL|TRUSTED_HOST|DEFAULT_TIMEOUT)|SSL_CERT_\w+|\w+_proxy)$"
)
"""Variables that say how this machine reaches its registry of packages: they are passed to what is built, not kept."""

_REACHED_BY: Final = (
    *("/etc/resolv.conf", "/etc/hosts", "/etc/pip.conf", "/etc/xdg/pip", "/etc/ssl/certs/ca-certificates.crt"),
)
"""Files that say the same; an engine has its own way."""


@dataclass(frozen=True)
class Image:
    """What a stage of the Containerfile makes."""

    root: Path
    environment: Mapping[str, str] = field(default_factory=lambda: {"PATH": PATH})
    user: str = "0:0"
    folder: str = "/"
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    health: tuple[str, ...] = ()


def say(text: str) -> None:
    """Say what is done."""
    print(f"== {text}", flush=True)


def run(*words: str | Path, **kwargs: Any) -> "subprocess.CompletedProcess[str]":
    """Run a command that has to succeed."""
    return subprocess.run([str(word) for word in words], check=True, text=True, **kwargs)


# The Containerfile


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """The instructions of a Containerfile, each with its arguments as one line."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    for line in re.sub(r"\\\n\s*", " ", "\n".join(lines)).splitlines():
        if line.strip():
            name, _, rest = line.strip().partition(" ")
            yield name.upper(), rest.strip()


def list_of(text: str) -> tuple[str, ...]:
    """The words of an instruction in the form of a list."""
    return tuple(json.loads(text))


def build(work: Path, base: Image, *, kept: Collection[str] = ()) -> dict[str, Image]:
    """Carry out the Containerfile; the images by the names of their stages.

    Args:
        work: the folder that has the stages.
        base: what takes the place of the base.
        kept: stages whose folders are there: only what they are is read.
    """
    images: dict[str, Image] = {}
    current, name = base, ""
    for instruction, rest in instructions((HERE / "Containerfile").read_text(encoding="utf-8")):
        match instruction:
            case "ARG" | "STOPSIGNAL":
                continue
            case "COPY" | "RUN" if name in kept:
                continue
            case "FROM":
                mark_finished(images.get(name))
                source, _, name = rest.partition(" AS ")
                start = images.get(source, base)
                current = replace(start, root=work / "stages" / name)
                if name not in kept:
                    say(f"FROM {source} AS {name}")
                    begin(start.root, current.root)
            case "ENV":
                variable, _, value = rest.partition("=")
                current = replace(current, environment={**current.environment, variable: value})
            case "WORKDIR":
                current = replace(current, folder=rest)
                if name not in kept:
                    _inside(current.root, rest).mkdir(parents=True, exist_ok=True)
            case "USER":
                current = replace(current, user=rest)
            case "ENTRYPOINT":
                current = replace(current, entrypoint=list_of(rest))
            case "CMD":
                current = replace(current, command=list_of(rest))
            case "HEALTHCHECK":
                current = replace(current, health=list_of(rest.partition(" CMD ")[2]))
            case "COPY":
                copy(rest.split(), current, images)
            case "RUN":
                say(f"RUN {rest}")
                run_inside(current, ["sh", "-c", rest], passing=True)
            case _:
                raise SystemExit(f"replay.py does not know the instruction {instruction}")
        images[name] = current
    mark_finished(images.get(name))
    return images


def mark_finished(image: Image | None) -> None:
    """Note that a stage is whole."""
    if image is not None:
        image.root.with_suffix(".done").touch()


def finished(work: Path) -> list[str]:
    """The stages that are whole."""
    return [path.stem for path in (work / "stages").glob("*.done")]


def begin(start: Path, root: Path) -> None:
    """Begin a stage with a copy of another one."""
    root.with_suffix(".done").unlink(missing_ok=True)
    if root.exists():
        shutil.rmtree(root)
    root.parent.mkdir(exist_ok=True)
    run("cp", "-a", "--reflink=auto", start, root)


def copy(words: Sequence[str], image: Image, images: Mapping[str, Image]) -> None:
    """Carry out a COPY: folders give what is in them, as engines do."""
    origin = TOP
    if words[0].startswith("--from="):
        origin, words = images[words[0].removeprefix("--from=")].root, words[1:]
    *sources, target = words
    place = target if target.startswith("/") else f"{image.folder}/{target}"
    destination = _inside(image.root, place)
    for source in sources:
        path = _inside(origin, source)
        if path.is_dir():
            destination.mkdir(parents=True, exist_ok=True)
            run("cp", "-a", f"{path}/.", destination)
        else:
            is_folder = target.endswith("/") or len(sources) > 1
            (destination if is_folder else destination.parent).mkdir(parents=True, exist_ok=True)
            run("cp", "-a", path, destination)
        run("chown", "-R", "0:0", destination, "--no-dereference")


def _inside(root: Path, path: str) -> Path:
    return root / path.lstrip("/")


# Running in a chroot


@dataclass(frozen=True)
class Mount:
    """A folder of this machine inside a chroot."""

    source: Path
    target: str
    is_read_only: bool = False


def inside(
    image: Image,
    command: Sequence[str],
    *,
    mounts: Sequence[Mount] = (),
    environment: Mapping[str, str] | None = None,
    is_read_only: bool = False,
) -> list[str]:
    """The command that runs another one in an image, as its user and without capabilities.

    A mount namespace of its own has the chroot's mounts, which end with the command.
    """
    root = image.root
    script = [
        "set -e",
        f"mount --bind {root} {root}",
        f"mount -t proc proc {root}/proc",
        f"mount --rbind /dev {root}/dev",
    ]
    for mount in mounts:
        script.append(f"mount --bind {mount.source} {_inside(root, mount.target)}")
        if mount.is_read_only:
            script.append(f"mount -o remount,bind,ro {_inside(root, mount.target)}")
    if is_read_only:
        script += [f"mount -o remount,bind,ro {root}", f"mount -t tmpfs tmpfs {root}/tmp"]
    values = {**image.environment, "HOME": "/nonexistent", **(environment or {})}
    user, _, group = image.user.partition(":")
    dropping = ["setpriv", f"--reuid={user}", f"--regid={group or user}", "--clear-groups", "--no-new-privs"]
    if user != "0":
        dropping += ["--inh-caps=-all", "--bounding-set=-all"]
    words = ["chroot", str(root), *dropping, "env", "-i", f"--chdir={image.folder}"]
    words += [f"{name}={value}" for name, value in values.items()]
    script.append("exec " + shlex.join([*words, *command]))
    return ["unshare", "--mount", "--propagation", "private", "sh", "-c", "\n".join(script)]


def run_inside(image: Image, command: Sequence[str], *, passing: bool = False) -> None:
    """Run a step of a build; `passing` lets it reach this machine's registry of packages."""
    mounts, made = [], []
    environment = {}
    if passing:
        environment = {name: value for name, value in os.environ.items() if _PASSED.fullmatch(name)}
        for path in filter(Path.exists, map(Path, _REACHED_BY)):
            target = _inside(image.root, str(path))
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                if path.is_dir():
                    target.mkdir()
                else:
                    target.touch()
                made.append(target)
            mounts.append(Mount(path, str(path)))
    try:
        run(*inside(image, command, mounts=mounts, environment=environment))
    finally:
        for target in made:
            if target.is_dir():
                target.rmdir()
            else:
                target.unlink()


# The base


def made_base(work: Path) -> Image:
    """Debian's smallest system with Python and pip, from this machine's own mirror."""
    root = work / "base"
    if not (root / "usr/bin/pip3").exists():
        say(f"debootstrap {SUITE}")
        form = "$(REPO_URI) $(RELEASE)"
        listed = run("apt-get", "indextargets", "--format", form, "Created-By: Packages", capture_output=True).stdout
        mirror = next(line.split()[0] for line in listed.splitlines() if line.split()[1] == SUITE)
        with (work / "debootstrap.log").open("w") as log:
            run(
                "debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, root, mirror, stdout=log, stderr=log
            )
    return Image(root)


# The compose file


class Service:
    """A service of the compose file."""

    def __init__(self, name: str, document: Mapping[str, Any], image: Image, volumes: Path, log: Path) -> None:
        self.name = name
        self.log = log
        self.depends_on: dict[str, dict[str, str]] = document.get("depends_on", {})
        self._document = document
        mounts = []
        for each in document.get("volumes", []):
            volume, target, *mode = each.split(":")
            mounts.append(Mount(_volume(volumes / volume, _inside(image.root, target)), target, mode == ["ro"]))
        environment = {key: str(value) for key, value in document.get("environment", {}).items()}
        self._image, self._mounts, self._environment = image, mounts, environment
        self.process: subprocess.Popen[bytes] | None = None

    def inside(self, command: Sequence[str]) -> list[str]:
        """The command that runs another one beside the service."""
        return inside(
            self._image,
            command,
            mounts=self._mounts,
            environment=self._environment,
            is_read_only=self._document.get("read_only", False),
        )

    def start(self) -> None:
        """Start it."""
        entrypoint = self._document.get("entrypoint", self._image.entrypoint)
        command = [*entrypoint, *self._document.get("command", self._image.command)]
        say(f"{self.name}: {shlex.join(command)}")
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(self.inside(command), stdout=log, stderr=log)

    def wait_until(self, condition: str) -> None:
        """Wait until it has ended well, or until it is healthy.

        Raises:
            SystemExit: it has failed, or it takes too long.
        """
        assert self.process is not None
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            code = self.process.poll()
            if condition == "service_completed_successfully" and code == 0:
                return
            if code is not None:
                break
            if condition == "service_healthy" and self.is_healthy():
                say(f"{self.name} is healthy")
                return
            time.sleep(0.5)
        raise SystemExit(f"{self.name}: not {condition}:\n{self.log.read_text(errors='replace')[-4000:]}")

    def is_healthy(self) -> bool:
        """Whether the health check of its image succeeds."""
        ran = subprocess.run(self.inside(self._image.health), capture_output=True, timeout=60, check=False)
        return ran.returncode == 0

    def output(self, *command: str) -> str:
        """What a command writes that runs beside it.

        Raises:
            SystemExit: it fails.
        """
        ran = subprocess.run(self.inside(command), capture_output=True, text=True, timeout=120, check=False)
        if ran.returncode:
            raise SystemExit(f"{self.name}: {shlex.join(command)} ends with {ran.returncode}: {ran.stderr[-2000:]}")
        return ran.stdout


def _volume(folder: Path, target: Path) -> Path:
    """The folder of a volume; a new one takes owner and mode of the image's folder, as engines do."""
    if not folder.exists():
        folder.mkdir(parents=True)
        status = target.stat()
        os.chown(folder, status.st_uid, status.st_gid)
        folder.chmod(status.st_mode & 0o7777)
    return folder


class Database(Service):
    """PostgreSQL, from this machine: the stand-in for an image of somebody else's."""

    def __init__(self, document: Mapping[str, Any], volumes: Path, log: Path) -> None:
        self.name, self.log = "database", log
        self.depends_on = document.get("depends_on", {})
        self._environment: dict[str, str] = document["environment"]
        self._mounted = {target: volumes / name for name, target, *_ in (v.split(":") for v in document["volumes"])}
        self._volumes = volumes
        self._bin = max(Path("/usr/lib/postgresql").glob("*/bin"))
        self.process = None

    def _as_postgres(self, *command: str | Path) -> list[str]:
        user = pwd.getpwnam("postgres")
        return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", *map(str, command)]

    def start(self) -> None:
        """Make a cluster with the user and the password of the compose file, and start it."""
        say("database: this machine's PostgreSQL")
        data, user = self._volumes / "database", self._environment["POSTGRES_USER"]
        named = Path(self._environment["POSTGRES_PASSWORD_FILE"])
        password = self._mounted[str(named.parent)] / named.name
        data.mkdir(mode=0o700)
        shutil.chown(data, "postgres", "postgres")
        copied = self._volumes / "password"
        shutil.copy(password, copied)
        shutil.chown(copied, "postgres", "postgres")
        made = [self._bin / "initdb", "-D", data, "-U", user, "--auth=scram-sha-256", f"--pwfile={copied}"]
        run(*self._as_postgres(*made), stdout=subprocess.DEVNULL)
        command = [self._bin / "postgres", "-D", data, "-h", "127.0.0.1", "-k", ""]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(self._as_postgres(*command), stdout=log, stderr=log)
        while not self.is_healthy():
            time.sleep(0.2)
        self.ask("postgres", f"CREATE DATABASE {self._environment['POSTGRES_DB']}")

    def is_healthy(self) -> bool:
        """Whether it takes connections."""
        ran = subprocess.run([self._bin / "pg_isready", "-h", "127.0.0.1"], capture_output=True, check=False)
        return ran.returncode == 0

    def ask(self, database: str, query: str) -> str:
        """The answer to a query."""
        user = self._environment["POSTGRES_USER"]
        password = (self._volumes / "password").read_text().strip()
        words = [self._bin / "psql", "-h", "127.0.0.1", "-U", user, "-d", database, "-Atc", query]
        return run(*words, capture_output=True, env={**os.environ, "PGPASSWORD": password}).stdout.strip()


def up(work: Path, images: Mapping[str, Image]) -> None:
    """Start the services in the order of their conditions, and look at what they do."""
    document = yaml.safe_load((HERE / "compose.yaml").read_text(encoding="utf-8"))
    names = " ".join(document["services"])
    for image in images.values():
        (image.root / "etc/hosts").write_text(f"127.0.0.1 localhost {names}\n")
    volumes = work / "volumes"
    if volumes.exists():
        shutil.rmtree(volumes)
    services: dict[str, Service] = {}
    for name, each in document["services"].items():
        log = work / f"{name}.log"
        if "build" in each:
            services[name] = Service(name, each, images[each["build"]["target"]], volumes, log)
        else:
            services[name] = Database(each, volumes, log)
    started: list[Service] = []
    try:
        while len(started) < len(services):
            service = next(
                s for s in services.values() if s not in started and all(services[n] in started for n in s.depends_on)
            )
            for name, wanted in service.depends_on.items():
                services[name].wait_until(wanted["condition"])
            service.start()
            started.append(service)
        services["lookup"].wait_until("service_healthy")
        check(services, volumes)
    finally:
        for service in reversed(started):
            if service.process is not None and service.process.poll() is None:
                service.process.send_signal(signal.SIGTERM)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    service.process.wait(30)
                if service.name not in ("database", "seed"):
                    say(f"{service.name} ended with {service.process.poll()}")


# What is looked at


def expect(outcome: bool, what: str, found: object = "") -> None:
    """Say that something is as it must be.

    Raises:
        SystemExit: it is not.
    """
    if not outcome:
        raise SystemExit(f"FAILED: {what}: {found}")
    print(f"   ok: {what}", flush=True)


SETTINGS: Final = {
    "exchange": ["/srv/settings/exchange/passphrase"],
    "recipient": [
        "/srv/settings/database/password",
        "/srv/settings/recipient/blocklist.toml",
        "/srv/settings/recipient/root.json",
    ],
    "lookup": [
        "/srv/settings/lookup/blocklist.toml",
        "/srv/settings/lookup/root.json",
        "/srv/settings/lookup/token",
    ],
}
"""The files of the volumes with settings that a service can read."""

WRITTEN: Final = {
    "exchange": ["/srv/exchange", "/tmp"],
    "recipient": ["/tmp", "/var/lib/blocklist"],
    "lookup": ["/tmp"],
}
"""The folders that a service can write to."""


def check(services: Mapping[str, Service], volumes: Path) -> None:
    """Look at what the services do, and at what they cannot do."""
    for name in ("exchange", "recipient", "lookup"):
        service = services[name]
        script = (
            "id -u; touch /etc/x /opt/blocklist/x 2>&1 | grep -c 'Read-only'; touch /tmp/x && echo writes-tmp; "
            "command -v cc gcc g++ || echo no-compiler; /opt/blocklist/bin/python -c 'import pip' 2>&1 | tail -1; "
            "grep CapBnd /proc/self/status"
        )
        seen = service.output("sh", "-c", script).split("\n")
        wanted = ["10001", "2", "writes-tmp", "no-compiler", "ModuleNotFoundError: No module named 'pip'"]
        expect(seen[:5] == wanted, f"{name} has no rights, no compiler and no pip, and cannot write its root", seen)
        expect(seen[5].split()[1] == "0" * 16, f"{name} has no capabilities")
        found = service.output("find", "/srv/settings", "-type", "f", "-readable").split()
        expect(sorted(found) == SETTINGS[name], f"{name} reads its own settings and secrets alone", found)
        # It also says what it may not look into, and ends with 1 then.
        places = r"find / \( -path /proc -o -path /sys -o -path /dev \) -prune -o -type d -writable -print -prune; true"
        found = service.output("sh", "-c", places).split()
        expect(sorted(found) == WRITTEN[name], f"{name} can write to {' and '.join(WRITTEN[name])} alone", found)
    listed = services["recipient"].output("blocklist", "export", "--format", "csv").splitlines()[1:]
    numbers = [line.split(",")[0] for line in listed]
    expect(len(numbers) > 0, f"the recipient has {len(numbers)} generated entries of the exchange")
    database = services["database"]
    assert isinstance(database, Database)
    held = int(database.ask("blocklist", "SELECT count(*) FROM blocklist"))
    expect(held == len(set(numbers)), f"PostgreSQL has {held} of them in the table blocklist")
    token = (volumes / "lookup-settings" / "token").read_text().strip()
    for number, blocked in ((numbers[0], True), ("6281299999999", False)):
        request = urllib.request.Request(f"http://127.0.0.1:8044/v1/verdicts/%2B{number}")
        request.add_header("Authorization", f"Bearer {token}")
        with urllib.request.urlopen(request, timeout=10) as answer:
            verdict = json.load(answer)
        expect(verdict["blocked"] is blocked, f"the look-up server answers {verdict['reason']} over HTTP")
        reply = redis_get(token, number)
        expect((reply == b"$5\r\nblock\r\n") is blocked, f"and {reply!r} in the Redis protocol")
    for port, path in ((8044, "/healthz"), (8044, "/readyz"), (8080, "/healthz"), (8080, "/readyz")):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            expect(answer.status == 200, f"{path} at port {port} answers without credentials")


def redis_get(token: str, number: str) -> bytes:
    """The reply of the Redis door to `GET NUMBER`."""
    with socket.create_connection(("127.0.0.1", 6044), timeout=10) as door:
        replies = b""
        for words in (("AUTH", token), ("GET", f"+{number}")):
            door.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w.encode()) for w in words))
            replies = door.recv(4096)
        return replies


def main() -> None:
    """Build, then start the services in a network of their own."""
    if len(sys.argv) < 2 or os.geteuid() != 0:
        raise SystemExit("run as root: replay.py WORK_FOLDER")
    work = Path(sys.argv[1]).resolve()
    work.mkdir(parents=True, exist_ok=True)
    if "--inside" not in sys.argv:
        build(work, made_base(work), kept=finished(work) if "--keep" in sys.argv else ())
        # A network with nothing but loopback; and whatever is left running ends with this process.
        words = ["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
        raise SystemExit(subprocess.call([*words, sys.executable, __file__, str(work), "--inside"]))
    run("ip", "link", "set", "lo", "up")
    up(work, build(work, Image(work / "base"), kept=finished(work)))
    say("all is as it must be")


if __name__ == "__main__":
    main()
