"""``blocklist publish keys``: who signs what, and other keys in their place."""

import contextlib
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from blocklist_sdk.cli.output import AsJson, moment, say, write_json, write_line, write_lines
from blocklist_sdk.cli.passphrase import OfflinePassphraseFileOption, PassphraseFileOption, PassphraseSource
from blocklist_sdk.cli.publish_options import open_publisher
from blocklist_sdk.disk import regular_target, storage, write_file
from blocklist_sdk.encodings import without_mark
from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.modes import SHARED
from blocklist_sdk.places import absolute, resolved
from blocklist_sdk.release.fingerprint import fingerprint as digits_of
from blocklist_sdk.release.release_id import ReleaseId
from blocklist_sdk.texts import counted

if TYPE_CHECKING:
    from blocklist_sdk.publisher import KeyChange, KeyRole, KeyUri, Proposal, Publisher

app: typer.Typer = typer.Typer(
    help="Keys: show them, replace them, and have holders elsewhere sign.", no_args_is_help=False
)

Directory = Annotated[Path, typer.Argument(metavar="DIR", help="The publisher's folder.")]
RoleOption = Annotated[
    str, typer.Option("--role", metavar="ROLE", help="Whose keys: root, targets, online or feed.NAME.")
]
KeyUriOption = Annotated[
    str | None,
    typer.Option(
        "--key-uri",
        metavar="URI",
        help="A key elsewhere, such as hsm:2?label=TOKEN in a hardware module; with --public-key.",
    ),
]
PublicKeyOption = Annotated[
    Path | None, typer.Option("--public-key", metavar="FILE", help="The public half of the key of --key-uri, PEM.")
]
RestartOption = Annotated[
    bool,
    typer.Option(
        "--restart-serials",
        help="Begin the feed's serials anew at 1, with the list as it stands: where a thief has used them up. "
        "Refused where they could go on.",
    ),
]
EvenIfLeftOption = Annotated[
    bool,
    typer.Option(
        "--even-if-serials-are-left", help="With --restart-serials: begin them anew even where they could go on."
    ),
]
Wait = Annotated[float, typer.Option(min=0, metavar="SECONDS", help="How long to wait while another run changes DIR.")]


@app.command()
def show(directory: Directory, as_json: AsJson = False) -> None:
    """Show every role: when its signature expires, which keys sign it, and where they are. Needs no passphrase.

    A feed's role also shows the feed's scope and era.
    """
    from blocklist_sdk.publisher import Publisher

    roles = [_as_given(role, directory) for role in Publisher.open(directory, passphrase=None).key_roles()]
    if as_json:
        write_json({"roles": [asdict(role) for role in roles]})
        return
    width = max(len(role.role) for role in roles)
    for role in roles:
        needed = f"{role.threshold} of {counted(len(role.keys), 'key')}"
        extra = f"  era {role.era}" if role.era is not None else ""
        extra += f"  scope {role.scope}" if role.scope else ""
        for key in role.keys:
            absent = "" if key.available else " (not available)"
            write_line(
                f"{role.role:<{width}}  version {role.version}  until {moment(role.expires)}  "
                f"{needed}  key {key.keyid[:16]}  {key.where}{absent}{extra}"
            )


@app.command()
def rotate(
    directory: Directory,
    role: RoleOption,
    key_uri: KeyUriOption = None,
    public_key: PublicKeyOption = None,
    remove: Annotated[
        list[str] | None,
        typer.Option(
            "--remove",
            metavar="KEYID",
            help="Of root and targets: the key to replace, as `show` has it. By default all. May be repeated.",
        ),
    ] = None,
    keep_old: Annotated[
        bool,
        typer.Option(
            "--keep-old",
            help="Of online and targets: let the old key sign as well, until --drop-old, for caches that serve an old "
            "timestamp for a while. Not for a stolen key.",
        ),
    ] = False,
    drop_old: Annotated[
        bool, typer.Option("--drop-old", help="Make no new key, and end what --keep-old has begun.")
    ] = False,
    restart_serials: RestartOption = False,
    even_if_serials_are_left: EvenIfLeftOption = False,
    wait: Wait = 60.0,
    passphrase_file: PassphraseFileOption = None,
    offline_passphrase_file: OfflinePassphraseFileOption = None,
    as_json: AsJson = False,
) -> None:
    """Replace a stolen or old key at once. Recipients have nothing to do.

    Root keys sign for root, targets and online, and the targets key for a feed. If they are not here, use `propose`.
    After a run that was killed, the same command completes it.
    """
    publisher = open_publisher(directory, passphrase_file, wait, offline_passphrase_file=offline_passphrase_file)
    change = publisher.rotate_keys(
        role,
        uri=_uri(key_uri, public_key),
        remove=remove or (),
        keep_old=keep_old,
        drop_old=drop_old,
        restart_serials=restart_serials,
        even_if_serials_are_left=even_if_serials_are_left,
    )
    _show_change(publisher, change, as_json=as_json)


@app.command()
def propose(
    directory: Directory,
    role: RoleOption,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The file for the holders to sign.")],
    add: Annotated[
        list[Path] | None,
        typer.Option("--add", metavar="FILE", help="Of root and targets: a public key to add, PEM. May be repeated."),
    ] = None,
    remove: Annotated[
        list[str] | None,
        typer.Option(
            "--remove",
            metavar="KEYID",
            help="Of root and targets: a key to remove, as `show` has it. May be repeated.",
        ),
    ] = None,
    threshold: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Of root and targets: how many keys have to sign from then on."),
    ] = None,
    key_uri: KeyUriOption = None,
    public_key: PublicKeyOption = None,
    restart_serials: RestartOption = False,
    even_if_serials_are_left: EvenIfLeftOption = False,
    wait: Wait = 60.0,
    passphrase_file: PassphraseFileOption = None,
    offline_passphrase_file: OfflinePassphraseFileOption = None,
    as_json: AsJson = False,
) -> None:
    """Write the next root or targets metadata to a file, for holders of keys elsewhere to sign. Publishes nothing.

    Of online and feed.NAME, the new key is made here. Of root and targets without --add, --remove and --threshold, the
    role is renewed.
    """
    publisher = open_publisher(
        directory, passphrase_file, wait, offline_passphrase_file=offline_passphrase_file, is_new=True
    )
    _check_outside(output, directory)
    proposal = publisher.propose_keys(
        role,
        uri=_uri(key_uri, public_key),
        add=add or (),
        remove=remove or (),
        threshold=threshold,
        restart_serials=restart_serials,
        even_if_serials_are_left=even_if_serials_are_left,
    )
    with storage(output):
        write_file(output, proposal.to_json(), SHARED)
    if as_json:
        write_json({"file": output, **_document(proposal)})
        return
    write_line(f"nothing was changed; {output} has the proposal")
    _show_proposal(proposal)


@app.command()
def sign(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `propose` or `init` has written.")],
    key: Annotated[
        Path | None, typer.Option("--key", metavar="FILE", help="The private key, a PEM file (PKCS#8).")
    ] = None,
    key_uri: KeyUriOption = None,
    public_key: PublicKeyOption = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Where the signed copy goes; by default FILE itself."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Sign without asking.")] = False,
    passphrase_file: PassphraseFileOption = None,
    as_json: AsJson = False,
) -> None:
    """Sign a proposal, on a holder's own machine: it needs the file and the key, and not the publisher's folder.

    Everything that the proposal changes is shown before it is signed. Compare the fingerprint with the other holders.
    """
    from blocklist_sdk.publisher.holder_keys import open_key

    if (key is None) == (key_uri is None):
        raise InvalidInput("give the key to sign with: --key FILE, or --key-uri URI with --public-key FILE")
    proposal = _read(file)
    if not as_json:
        _show_proposal(proposal)
    if not yes:
        _confirm()
    signer = open_key(key or _uri(key_uri, public_key), PassphraseSource(passphrase_file), notify=say)
    signed, documents = proposal.sign(signer)
    target = output or file
    with storage(target):
        write_file(regular_target(target), signed.to_json(), SHARED)
    if as_json:
        write_json({"file": target, "signed": documents, **_document(signed)})
        return
    write_line(f"signed {' and '.join(documents)}; {target} has the signatures")
    _show_missing(signed)


@app.command()
def install(
    directory: Directory,
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="Signed copies of one proposal; one is enough if all signed it."),
    ],
    wait: Wait = 60.0,
    passphrase_file: PassphraseFileOption = None,
    offline_passphrase_file: OfflinePassphraseFileOption = None,
    as_json: AsJson = False,
) -> None:
    """Publish what holders have signed, once the signatures are enough by the old keys and by the new.

    After a run that was killed, the same command completes it.
    """
    from blocklist_sdk.publisher import Publisher, Timing
    from blocklist_sdk.publisher.first_ceremony import is_waiting

    proposals = [_read(file) for file in files]
    if is_waiting(directory):
        source = PassphraseSource(passphrase_file)
        made = Publisher.complete(directory, proposals, passphrase=source, timing=Timing(lock_wait_s=wait))
        _show_made(made, as_json=as_json)
        return
    publisher = open_publisher(directory, passphrase_file, wait, offline_passphrase_file=offline_passphrase_file)
    _show_change(publisher, publisher.install_keys(proposals), as_json=as_json)


@app.command()
def fingerprint(
    place: Annotated[Path, typer.Argument(metavar="DIR|ROOT.json", help="The publisher's folder, or a root's file.")],
    as_json: AsJson = False,
) -> None:
    """Print the fingerprint of a root, for people to read to each other: the SHA-256 of root.json.

    Recipients print that of the file that they pin. Of a folder it is the newest root, which differs from older ones.
    """
    from blocklist_sdk.publisher import Publisher

    if place.is_dir():
        data = Publisher.open(place, passphrase=None).root_file
    else:
        try:
            data = without_mark(place.read_bytes(), str(place))
        except OSError as error:
            raise InvalidInput(f"cannot read {place}: {error.strerror}") from error
    show_fingerprint(data, as_json=as_json)


def show_fingerprint(root: bytes, *, as_json: bool) -> None:
    """Print the fingerprint of a root."""
    from blocklist_sdk.release.fingerprint import spoken
    from blocklist_sdk.release.roots import root_version

    version, digits = root_version(root), digits_of(root)
    if as_json:
        write_json({"version": version, "fingerprint": digits})
        return
    write_line(f"root, version {version}")
    write_lines(f"  {line}" for line in spoken(digits))


def root_document(root: bytes) -> dict[str, int | str]:
    """The version and the fingerprint of a root, for a document about more than it."""
    from blocklist_sdk.release.roots import root_version

    return {"root_version": root_version(root), "fingerprint": digits_of(root)}


def _as_given(role: "KeyRole", directory: Path) -> "KeyRole":
    """The role with paths of keys that begin as the folder was given."""
    inside = absolute(directory)
    keys = [
        replace(key, where=str(directory / Path(key.where).relative_to(inside)))
        if Path(key.where).is_relative_to(inside)
        else key
        for key in role.keys
    ]
    return replace(role, keys=tuple(keys))


def show_begun(directory: Path, proposal: "Proposal", *, as_json: bool) -> None:
    """Print what the holders have to sign before a folder is complete."""
    from blocklist_sdk.publisher.first_ceremony import PROPOSAL

    if as_json:
        write_json({"directory": directory, "file": directory / PROPOSAL, **_document(proposal)})
        return
    write_line(f"made {directory}, which waits for signatures on {directory / PROPOSAL}")
    _show_proposal(proposal)


def _uri(key_uri: str | None, public_key: Path | None) -> "KeyUri | None":
    from blocklist_sdk.publisher import KeyUri

    if (key_uri is None) != (public_key is None):
        raise InvalidInput("--key-uri and --public-key belong together: give both, or neither")
    return KeyUri(key_uri, public_key) if key_uri is not None and public_key is not None else None


def _read(file: Path) -> "Proposal":
    from blocklist_sdk.publisher import Proposal
    from blocklist_sdk.publisher.ceremony import PROPOSAL_BYTES_MAX

    try:
        with file.open("rb") as opened:
            data = opened.read(PROPOSAL_BYTES_MAX + 1)
    except OSError as error:
        raise InvalidInput(f"cannot read the proposal {file}: {error.strerror}") from error
    return Proposal.from_json(data)


def _check_outside(output: Path, directory: Path) -> None:
    if resolved(output).is_relative_to(resolved(directory)):
        raise InvalidInput(f"{output} is in the publisher's folder: write the proposal elsewhere")


def _confirm() -> None:
    if sys.stdin is None or not sys.stdin.isatty():
        raise InvalidInput("no terminal can ask whether to sign this: look at it, and give --yes")
    with contextlib.suppress(typer.Abort):
        if typer.confirm("Sign this?", err=True):
            return
    raise InvalidInput("nothing was signed")


def _show_proposal(proposal: "Proposal") -> None:
    from blocklist_sdk.release.fingerprint import spoken

    if proposal.fingerprint is None:
        write_line("a new publisher: there is no root yet to compare")
    else:
        write_line(f"root, version {proposal.root_version}, is in force; compare its fingerprint with what you have")
        write_lines(f"  {line}" for line in spoken(proposal.fingerprint))
    write_line("what changes")
    write_lines(f"  {line}" for line in proposal.changes)
    _show_missing(proposal)


def _show_missing(proposal: "Proposal") -> None:
    from blocklist_sdk.publisher.ceremony import missing_in_words

    missing = missing_in_words(proposal.needed)
    write_line("signatures that are missing" if missing else "no signature is missing: it can be installed")
    write_lines(f"  {line}" for line in missing)


def _document(proposal: "Proposal") -> dict[str, Any]:
    from blocklist_sdk.publisher.ceremony import missing_once

    return {
        "role": proposal.role,
        "root_version": proposal.root_version,
        "fingerprint": proposal.fingerprint,
        "changes": [line.strip() for line in proposal.changes],
        "missing": [
            {"document": each.document, "missing": each.missing, "keys": each.asked}
            for each in missing_once(proposal.needed)
        ],
    }


def _show_change(publisher: "Publisher", change: "KeyChange", *, as_json: bool) -> None:
    if as_json:
        write_json({**asdict(change), "fingerprint": digits_of(publisher.root_file)})
        return
    lines = [
        *(f"  signs from now on    {keyid[:16]}" for keyid in change.added),
        *(f"  signs no longer      {keyid[:16]}" for keyid in change.removed),
        *(f"  goes on signing      {keyid[:16]}" for keyid in change.kept),
    ]
    what = "changed the keys of" if change.added or change.removed else "renewed, with the same keys:"
    write_lines([f"{what} {change.role}", *lines])
    if change.era is not None:
        current = (
            "it has no release yet"
            if change.serial is None
            else f"its current release is {ReleaseId(change.era, change.serial)}"
        )
        write_line(f"the feed is in era {change.era}; {current}")
    write_line(f"root is version {change.root_version}, targets version {change.targets_version}")
    show_fingerprint(publisher.root_file, as_json=False)


def _show_made(publisher: "Publisher", *, as_json: bool) -> None:
    if as_json:
        made = {"directory": publisher.directory, "repository": publisher.repository, "root": publisher.root}
        write_json({**made, **root_document(publisher.root_file)})
        return
    write_line(f"made {publisher.directory}")
    write_line(f"  serve this, and nothing else   {publisher.repository}")
    write_line(f"  give this to recipients        {publisher.root}")
    show_fingerprint(publisher.root_file, as_json=False)
