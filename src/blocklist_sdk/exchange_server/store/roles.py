"""PostgreSQL's roles: one owns the tables, another serves, which can add to the audit trail and not change it."""

from typing import Final

from sqlalchemy import Connection, Table, text

from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.exchange_server.store.tables import AuditRow, Base, HistoryRow

ONLY_ADDED: Final = frozenset({HistoryRow.__tablename__, AuditRow.__tablename__})
"""Tables to which the role that serves may only add rows."""

_ROLE: Final = text(
    "SELECT rolsuper AS is_super, pg_has_role(rolname, current_user, 'MEMBER') AS is_owner, "
    "pg_has_role(rolname, nspowner, 'MEMBER') AS owns_schema "
    "FROM pg_roles, pg_namespace WHERE rolname = :role AND nspname = current_schema()"
)

_MAY_ALTER: Final = text(
    "SELECT pg_has_role(current_user, relowner, 'MEMBER') OR pg_has_role(current_user, nspowner, 'MEMBER') "
    "FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE pg_class.oid = to_regclass(:trail)"
)


def grant(connection: Connection, role: str) -> None:
    """Let a role serve an exchange whose tables belong to the role of this connection.

    Args:
        connection: of the owner.
        role: the role that serves.

    Raises:
        InvalidInput: the role does not exist, or could act as the owner, so that nothing would be kept from it.
    """
    found = connection.execute(_ROLE, {"role": role}).one_or_none()
    if found is None:
        raise InvalidInput(f"the database's role {role!r} does not exist: make it with CREATE ROLE … LOGIN")
    if found.is_super or found.is_owner or found.owns_schema:
        raise InvalidInput(
            f"the database's role {role!r} may act as the owner of the tables or of their schema, so it could alter "
            "the audit trail: give the exchange another role, which is no superuser and owns neither"
        )
    quote = connection.dialect.identifier_preparer.quote
    grantee = quote(role)
    schema = quote(connection.scalar(text("SELECT current_schema()")) or "public")
    statements = [
        f"REVOKE CREATE ON SCHEMA {schema} FROM PUBLIC",  # the default before PostgreSQL 15
        f"GRANT USAGE ON SCHEMA {schema} TO {grantee}",
        f"GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA {schema} TO {grantee}",
    ]
    for table in Base.metadata.sorted_tables:
        statements.append(f"GRANT {_rights_on(table)} ON {schema}.{quote(table.name)} TO {grantee}")
    for statement in statements:
        connection.exec_driver_sql(statement)


def _rights_on(table: Table) -> str:
    return "SELECT, INSERT" if table.name in ONLY_ADDED else "SELECT, INSERT, UPDATE, DELETE"


def may_alter_trail(connection: Connection) -> bool:
    """Whether the role of this connection could alter the audit trail, as its owner or a superuser."""
    return bool(connection.scalar(_MAY_ALTER, {"trail": AuditRow.__tablename__}))
