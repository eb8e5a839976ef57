"""What errors of Postgres and its poolers mean for syncd: the four decisions.

SQLSTATEs: https://www.postgresql.org/docs/current/errcodes-appendix.html
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from syncd.errors import AuthRejected, Refused, SyncdError, Transient
from syncd.log import SHORTEST_SECRET
from syncd.sinks.postgres_dsn import Address

if TYPE_CHECKING:
    import psycopg

SIGN_IN_HINT = "put the right user and password into dsn in [mirror], then `syncctl config reload`"
_TLS_HINT = (
    "name the file of the authority that signed it in dsn (`?sslmode=verify-full&sslrootcert=/path/ca.crt`;"
    " Supabase: Database settings, SSL configuration), or trust what answers with `?sslmode=require`"
)

# A connection that is refused comes without a SQLSTATE: only its words tell why.
_REJECTED = re.compile(
    r"password authentication failed|no password supplied|tenant or user not found|wrong password"
    r"|authentication failed|role \"[^\"]*\" (?:does not exist|is not permitted)|no pg_hba\.conf entry"
    r"|no such user|password must|SASL",
    re.IGNORECASE,
)
_NO_DATABASE = re.compile(r"database \"[^\"]*\" does not exist|no such database", re.IGNORECASE)
_NO_TLS = re.compile(
    r"certificate verify failed|root certificate|server certificate|does not support SSL|sslmode",
    re.IGNORECASE,
)


class SchemaChanged(Transient):
    """The tables are not what they were when they were looked at."""


class BadRow(Refused):
    """The statement is right, a value is not: other rows may pass."""


def explain(error: psycopg.Error, address: Address) -> SyncdError:
    """The decision that an error of the driver stands for. The password is in no message."""
    state = error.sqlstate
    words = _words(error, address)
    if state is None:
        return _no_connection(words, address)
    return _by_state(state, words, error, address)


def _by_state(state: str, words: str, error: psycopg.Error, address: Address) -> SyncdError:
    place = address.place
    if state.startswith("28"):
        return AuthRejected(f"{place} does not let {_role(address)} in: {words}", hint=SIGN_IN_HINT)
    if state == "3D000":
        return Refused(
            f"{place}: {words}", hint="create the database, or name another one in dsn in [mirror]"
        )
    if state == "42501":
        return _no_rights(words, address)
    if state in ("42P05", "26000"):
        return Refused(
            f"{place}: {words}: the pooler does not keep a transaction on one connection",
            hint="turn prepared statements off in the pooler, or connect in session mode (port 5432)",
        )
    if state in ("42P01", "42703", "42704", "3F000"):
        return SchemaChanged(f"{place}: {words}")
    if state[:2] in ("22", "23"):
        return BadRow(words, hint=_remedy(state, error))
    if state[:2] in ("42", "0A", "2B", "44"):
        return Refused(
            f"{place}: {words}", hint="the tables there are not as syncd can use them: see docs/names.md"
        )
    if state == "XX000" and _REJECTED.search(words):
        return AuthRejected(f"{place}: {words}", hint=SIGN_IN_HINT)
    if state == "25006":
        return Transient(
            f"{place} takes no changes now: {words}", hint="is its disk full, or is it a replica?"
        )
    return Transient(f"{place}: {words}")


def _no_connection(words: str, address: Address) -> SyncdError:
    place = address.place
    if _NO_TLS.search(words):
        return Refused(f"{place} cannot be verified: {words}", hint=_TLS_HINT)
    if _NO_DATABASE.search(words):
        return Refused(
            f"{place}: {words}", hint="create the database, or name another one in dsn in [mirror]"
        )
    if _REJECTED.search(words):
        return AuthRejected(f"{place} does not let {_role(address)} in: {words}", hint=SIGN_IN_HINT)
    return Transient(f"{place} does not answer: {words}")


def _no_rights(words: str, address: Address) -> Refused:
    role = _role(address)
    if "row-level security" in words:
        return hidden_rows(address)
    schema = re.search(r"schema (\S+)", words)
    if schema:
        grant = f"GRANT USAGE, CREATE ON SCHEMA {schema.group(1)} TO {role}"
    else:
        grant = f"GRANT SELECT, INSERT, UPDATE, DELETE ON photo_metadata, album_name_changes TO {role}"
    hint = f"as its owner: {grant}"
    return Refused(f"{address.place}: {role} lacks rights: {words}", hint=hint)


def hidden_rows(address: Address) -> Refused:
    """Row-level security keeps rows of the mirror from syncd."""
    role = _role(address)
    return Refused(
        f"{address.place}: row-level security keeps rows of the mirror from {role}",
        hint="connect as the owner of the tables (Supabase: postgres), or for photo_metadata and"
        f" album_name_changes each: CREATE POLICY syncd ON photo_metadata TO {role} USING (true)"
        " WITH CHECK (true)",
    )


def _remedy(state: str, error: psycopg.Error) -> str | None:
    if state == "22001":
        return "make its columns wide enough: ALTER TABLE … ALTER COLUMN … TYPE text"
    if state == "23505":
        return (
            "a photo has a row for each album that it is in, which the table forbids:"
            f" ALTER TABLE {error.diag.table_name} DROP CONSTRAINT {error.diag.constraint_name}"
        )
    return None


def _role(address: Address) -> str:
    return address.user or "its user"


def _words(error: psycopg.Error, address: Address) -> str:
    """The error in one line, without the password and without the statement or row that it is about."""
    text = error.diag.message_primary or _last_line(str(error)) or type(error).__name__
    if len(address.password) >= SHORTEST_SECRET:
        text = text.replace(address.password, "[redacted]")
    return " ".join(text.split())


def _last_line(text: str) -> str:
    """Of several attempts (a host with several addresses) the last, without what libpq puts before it."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    said = next((line for line in reversed(lines) if "failed: " in line), lines[0] if lines else "")
    return re.sub(r"^.*failed: (?:FATAL: +)?", "", said)
