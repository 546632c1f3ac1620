"""Accounts that prove who they are by a secret."""

from dataclasses import dataclass

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from blocklist_sdk.exchange_server.casework.accounts import RefusedCredentials
from blocklist_sdk.exchange_server.casework.secret_hashes import OLD_PREFIX, hash_of, is_old, matches
from blocklist_sdk.exchange_server.store.tables import AccountRow


@dataclass(frozen=True, slots=True)
class UndecidedSecret:
    """A secret that no new hash matches, while old hashes are left: one has to be verified, which is costly.

    As long as any open account has an old hash, this is so for every wrong secret and every made-up name: otherwise the
    time of an answer would reveal which accounts there are.

    Attributes:
        stored: the account's old hash; None if it has none, and the work is done for nothing.
        row: the account; None if there is none.
        refused: what follows if the secret is wrong.
    """

    stored: str | None
    row: AccountRow | None
    refused: RefusedCredentials


def check_secret(
    session: Session, name: str | None, secret: str | None
) -> AccountRow | RefusedCredentials | UndecidedSecret:
    """The account with a name and secret, or why they are not valid; takes microseconds, and one query or two.

    Args:
        session: one that reads.
        name: what the client says it is; None if it says nothing.
        secret: the secret that it sent; None if it sent none.
    """
    if name is None or secret is None:
        return RefusedCredentials(name, "no secret and no assertion was sent")
    row = session.scalar(select(AccountRow).where(AccountRow.name == name)) if "\0" not in name else None
    if matches(None if row is None else row.secret_hash, secret) and row is not None:
        return row
    if row is None:
        refused = RefusedCredentials(name, "no account has this name")
    elif row.disabled_at is not None:
        refused = RefusedCredentials(name, "the account is closed")
    else:
        wrong = "the secret is wrong" if row.key is None else "the account has a key, and a secret was sent"
        refused = RefusedCredentials(name, wrong)
    if not has_old_hashes(session):
        return refused
    old = row.secret_hash if row is not None and row.disabled_at is None and is_old(row.secret_hash) else None
    return UndecidedSecret(old, row, refused)


def has_old_hashes(session: Session) -> bool:
    """Whether an open account still has a hash of the old kind."""
    old = exists().where(AccountRow.secret_hash.startswith(OLD_PREFIX), AccountRow.disabled_at.is_(None))
    return bool(session.scalar(select(old)))


def replace_hash(session: Session, account_id: int, old: str, secret: str) -> None:
    """Store a new hash of a secret that an old hash has matched, unless the account has got another one since.

    Args:
        session: one that writes.
        account_id: the account's ID.
        old: the old hash.
        secret: the secret.
    """
    row = session.get(AccountRow, account_id)
    if row is not None and row.secret_hash == old:
        row.secret_hash = hash_of(secret)
