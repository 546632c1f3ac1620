"""A hardware module in software: SoftHSM, with tokens of its own in a folder of the test."""

import importlib.util
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

PIN = "12345678"

_LIBRARIES = (
    Path("/usr/lib/softhsm/libsofthsm2.so"),
    Path("/usr/lib64/pkcs11/libsofthsm2.so"),
    Path("/opt/homebrew/lib/softhsm/libsofthsm2.so"),
)


def softhsm_missing() -> str | None:
    """What is not installed here; None if everything is."""
    if importlib.util.find_spec("pkcs11") is None:
        return "python-pkcs11 is not installed: pip install 'securesystemslib[hsm]'"
    if not (shutil.which("softhsm2-util") and shutil.which("pkcs11-tool") and any(p.exists() for p in _LIBRARIES)):
        return "SoftHSM and OpenSC are not installed: apt install softhsm2 opensc"
    return None


@dataclass(frozen=True)
class Module:
    """A module whose tokens are in one folder."""

    directory: Path
    library: Path

    @classmethod
    def make(cls, directory: Path, patch: pytest.MonkeyPatch) -> "Module":
        """A module without tokens, which this process and those that it starts use."""
        (directory / "tokens").mkdir(parents=True)
        settings = directory / "softhsm2.conf"
        settings.write_text(
            f"directories.tokendir = {directory}/tokens\nobjectstore.backend = file\nlog.level = ERROR\n"
        )
        library = next(path for path in _LIBRARIES if path.exists())
        patch.setenv("SOFTHSM2_CONF", str(settings))
        patch.setenv("PYKCS11LIB", str(library))
        return cls(directory, library)

    def token(self, label: str) -> None:
        """Set up a token."""
        self._run("softhsm2-util", "--init-token", "--free", "--label", label, "--pin", PIN, "--so-pin", "87654321")

    def key(self, token: str, keyid: int) -> Path:
        """Make a key on a token, and get its public half by the way that the documents say."""
        at = ("pkcs11-tool", "--module", str(self.library), "--token-label", token)
        made = ("--keypairgen", "--key-type", "EC:prime256v1", "--id", f"{keyid:02x}", "--label", "any")
        self._run(*at, "--login", "--pin", PIN, *made)
        der, pem = self.directory / f"{token}.{keyid}.pub.der", self.directory / f"{token}.{keyid}.pub.pem"
        self._run(*at, "--read-object", "--type", "pubkey", "--id", f"{keyid:02x}", "--output-file", str(der))
        self._run("openssl", "pkey", "-pubin", "-inform", "DER", "-in", str(der), "-out", str(pem))
        return pem

    def _run(self, *command: str) -> None:
        subprocess.run(command, check=True, capture_output=True, env=os.environ, timeout=60)
