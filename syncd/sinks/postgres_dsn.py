"""The address of a Postgres database as the driver takes it: verified TLS, unless it says otherwise."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from syncd.config_checks import is_loopback
from syncd.errors import Refused

CONNECT_TIMEOUT_S = 10
_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


@dataclass(frozen=True)
class Address:
    """`parameters` are libpq's (https://www.postgresql.org/docs/current/libpq-connect.html). `place` is for
    people to read, without the password."""

    parameters: dict[str, Any] = field(repr=False)
    place: str
    user: str

    @property
    def password(self) -> str:
        return str(self.parameters.get("password") or "")


def read_dsn(dsn: str) -> Address:
    """The address. Raises Refused where it is none; what it says is not repeated, for it holds a password."""
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict

    given: dict[str, Any] | None = None
    with suppress(ProgrammingError):
        given = {key: value for key, value in conninfo_to_dict(dsn).items() if value is not None}
    if given is None or _is_cut_up(dsn, str(given.get("port", ""))):
        raise Refused(
            "dsn in [mirror] is not the address of a Postgres database",
            hint="write postgresql://USER:PASSWORD@HOST:5432/DATABASE, with special characters of the"
            " password percent-encoded (@ is %40, / is %2F)",
        )
    host = str(given.get("host") or given.get("hostaddr") or os.environ.get("PGHOST", ""))
    port = given.get("port") or os.environ.get("PGPORT") or 5432
    parameters: dict[str, Any] = {
        "application_name": "syncd",
        "connect_timeout": CONNECT_TIMEOUT_S,
        "tcp_user_timeout": 30_000,
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
        **_verified(given, host),
        **given,
    }
    user = str(given.get("user") or os.environ.get("PGUSER", ""))
    return Address(parameters, f"Postgres at {host}:{port}" if host else "Postgres on this machine", user)


def _is_cut_up(dsn: str, ports: str) -> bool:
    """Whether a part of the password was taken for the host, the port or the database, and would be shown."""
    person = dsn.partition("://")[2].partition("?")[0].rpartition("@")[0]
    return any(char in person for char in "@/") or any(
        port and not port.isdecimal() for port in ports.split(",")
    )


def _verified(given: dict[str, Any], host: str) -> dict[str, str]:
    """TLS of a server elsewhere is verified, against the authorities that the system trusts."""
    mode = given.get("sslmode") or os.environ.get("PGSSLMODE")
    elsewhere = [
        name for name in host.split(",") if name and not name.startswith("/") and not is_loopback(name)
    ]
    if mode not in (None, "verify-ca", "verify-full") or (mode is None and not elsewhere):
        return {}
    own = given.get("sslrootcert") or os.environ.get("PGSSLROOTCERT")
    if own or (Path.home() / ".postgresql" / "root.crt").exists():
        return {} if mode else {"sslmode": "verify-full"}
    authorities = _system_authorities()
    if authorities == "system":  # which libpq takes with verify-full alone
        return {"sslmode": "verify-full", "sslrootcert": authorities}
    return {"sslmode": mode or "verify-full", "sslrootcert": authorities}


def _system_authorities() -> str:
    """The file of the authorities that the system trusts. The driver's own library, which comes with it, may
    look for them in another place than the system keeps them."""
    import ssl

    known = (os.environ.get("SSL_CERT_FILE"), ssl.get_default_verify_paths().cafile, *_BUNDLES)
    return next((path for path in known if path and Path(path).is_file()), "system")
