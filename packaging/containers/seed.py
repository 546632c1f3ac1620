"""Make an exchange with generated data, and the settings of a recipient, for `compose.yaml`: run once, before the rest.

    seed.py EXCHANGE_FOLDER SETTINGS_FOLDER URL

All numbers are generated. One officer decides alone, and secrets lie in files: this is for trying things out. In the
settings folder, each service has a folder with what it must know. `seed` has one as well, with what no service needs:
the accounts of the officer and the hotline, and the passphrase of the offline keys.

If a run is interrupted, run it again: it removes what was begun, and makes all of it anew. It removes nothing that it
has not made.
"""

import json
import secrets
import shutil
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

from blocklist_sdk import ClientCredentials, ExchangeClient, times
from blocklist_sdk.demo.generated import generate_reports, screenshot

CASES = 12
LOCAL = "http://127.0.0.1:8080"
PATIENCE_S = 60.0
FOLDERS = ("seed", "exchange", "database", "recipient", "lookup")
"""Of the settings. Each is a volume of its own, and empty at first."""


def main() -> None:
    """Make all of it, once; what an interrupted run left is removed first."""
    exchange, settings, url = Path(sys.argv[1]) / "exchange", Path(sys.argv[2]), sys.argv[3]
    own = settings / "seed"
    begun, ready = own / "begun", own / "ready"
    if ready.exists():
        print("there is an exchange already: nothing was changed", file=sys.stderr)
        return
    if begun.exists():
        print("an earlier run was interrupted: what it left is removed", file=sys.stderr)
        remove([path for path in left_in(exchange, settings) if path != begun])
    elif left := left_in(exchange, settings):
        raise SystemExit(f"{left[0]} is there already, and not from here: nothing was changed. Name empty folders")
    begun.touch()
    passphrase = new_secret(settings / "exchange" / "passphrase")
    offline = new_secret(own / "offline-passphrase")
    new_secret(settings / "lookup" / "token")
    new_secret(settings / "database" / "password")
    making = ("--region", "ID", "--url", url, "--one-person", "--officer", "officer")
    opening = ("--passphrase-file", str(passphrase))
    blocklist("exchange", "init", str(exchange), *making, *opening, "--offline-passphrase-file", str(offline))
    accounts = {own / "hotline": ("report",), settings / "recipient": ("receipt", "feed:id-telkomsel")}
    for folder, scopes in accounts.items():
        scoped = [word for scope in scopes for word in ("--scope", scope)]
        folder.mkdir(exist_ok=True)
        file = folder / "blocklist.toml"
        blocklist("exchange", "user", "add", str(exchange), folder.name, *scoped, "--settings", str(file))
    give_list(settings / "recipient", settings / "lookup")
    shutil.move(exchange / "officers", own / "officers")
    with subprocess.Popen(["blocklist", "exchange", "serve", str(exchange), "--port", "8080", *opening]) as server:
        try:
            wait_for(server)
            list_generated(own / "hotline", own / "officers" / "officer")
        finally:
            server.terminate()
    blocklist("exchange", "publish", str(exchange), "--everything", *opening)
    begun.rename(ready)


def left_in(exchange: Path, settings: Path) -> list[Path]:
    """What a run has made so far: the exchange, as it is built or complete, and what lies in the settings' folders."""
    built = [*exchange.parent.glob(exchange.name), *exchange.parent.glob(f".{exchange.name}.*")]
    return [*built, *(path for name in FOLDERS for path in (settings / name).iterdir())]


def remove(paths: Iterable[Path]) -> None:
    """Remove files, and folders with all that is in them."""
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def blocklist(*words: str) -> None:
    """Run a command."""
    subprocess.run(["blocklist", *words], check=True)


def new_secret(file: Path) -> Path:
    """Write a random text into a file, which its owner alone can read."""
    file.touch(mode=0o600, exist_ok=False)
    file.write_text(f"{secrets.token_urlsafe(24)}\n", encoding="utf-8")
    return file


def give_list(account: Path, folder: Path) -> None:
    """Say in a folder's settings which list an account gets; who only reads that list needs no account."""
    settings = tomllib.loads((account / "blocklist.toml").read_text(encoding="utf-8"))
    lines = [f"{name} = {json.dumps(settings[name])}" for name in ("url", "feed", "root", "region")]
    (folder / "blocklist.toml").write_text("\n".join([*lines, ""]), encoding="utf-8")
    shutil.copy(account / settings["root"], folder)


def wait_for(server: "subprocess.Popen[bytes]") -> None:
    """Wait until the exchange answers."""
    end = time.monotonic() + PATIENCE_S
    while server.poll() is None and time.monotonic() < end:
        try:
            with urllib.request.urlopen(f"{LOCAL}/readyz", timeout=5):
                return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.2)
    raise SystemExit("the exchange does not come up")


def list_generated(hotline: Path, officer: Path) -> None:
    """Report generated numbers, and decide that they are blocked."""
    with client(hotline) as reporter, client(officer) as deciding:
        for report in generate_reports(CASES, happened_at=times.now() - timedelta(days=1)):
            made = reporter.submit_report(
                report.number,
                category=report.category,
                channel=report.channel,
                text=report.text,
                happened_at=report.happened_at,
                reporter=report.reporter,
            )
            reporter.attach_evidence(made.id, screenshot(made.id), name="screenshot.png")
        for case in list(deciding.cases(state="received")):
            seen = deciding.start_verification(case.id)
            deciding.decide(case.id, "block", reason="generated", version=seen.version)


def client(folder: Path) -> ExchangeClient:
    """A client with the account of a settings file."""
    settings = tomllib.loads((folder / "blocklist.toml").read_text(encoding="utf-8"))
    auth = ClientCredentials.for_exchange(LOCAL, settings["client_id"], settings["client_secret"])
    return ExchangeClient(LOCAL, auth=auth)


if __name__ == "__main__":
    main()
