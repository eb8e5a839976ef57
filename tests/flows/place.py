"""syncd from outside: its programs as subprocesses, its socket as plain HTTP, its catalogue as plain SQL."""

from __future__ import annotations

import functools
import hashlib
import http.client
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from tests.pictures import make_jpeg

T = TypeVar("T")
BIN = Path(sys.executable).parent


@functools.cache
def jpeg(seed: int, captured_at: Any = None, orientation: int = 1, gps: bool = False) -> bytes:
    """A small photo; a thousand of them are made in seconds."""
    return make_jpeg(seed, 240, 160, captured_at, orientation, gps=gps)


def eventually(look: Callable[[], T], within_s: float = 10.0, every_s: float = 0.05) -> T:
    """The first true answer of `look`; its last failure or answer is the message when time is up."""
    deadline = time.monotonic() + within_s
    while True:
        problem: object
        try:
            if answer := look():
                return answer
            problem = answer
        except (AssertionError, OSError, LookupError, sqlite3.Error) as error:
            problem = error
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s} s: {problem!r}")
        time.sleep(every_s)


class Http:
    """One answer."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def call(socket_path: Path, method: str, path: str, body: Any = None, timeout_s: float = 15) -> Http:
    """One request over a Unix socket, as curl would send it."""
    connection = http.client.HTTPConnection("syncd", timeout=timeout_s)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(timeout_s)
    data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"} if data is not None and data is not body else {}
    try:
        connection.sock.connect(str(socket_path))
        connection.request(method, path, data, headers)
        answer = connection.getresponse()
        return Http(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
    finally:
        connection.close()


class Place:
    """A folder with syncd.toml, images and storage."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.images, self.storage = home / "images", home / "storage"
        self.images.mkdir(parents=True)
        self.config = home / "syncd.toml"
        # Socket paths are short: the kernel takes 107 bytes.
        self.run_dir = Path(tempfile.mkdtemp(prefix="sd-"))
        self.socket = self.run_dir / "s"
        self.state = home / ".syncd"
        self.configure()

    def configure(self, **sections: dict[str, Any]) -> None:
        """Writes syncd.toml; what is given goes before the defaults that suit tests."""
        settings: dict[str, dict[str, Any]] = {
            "daemon": {"state_dir": str(self.state), "socket": str(self.socket), "workers": 2},
            "batches": {"images_dir": str(self.images), "settle_seconds": 0.1, "default_public": True},
            "storage": {"type": "local", "base_path": str(self.storage)},
        }
        for name, keys in sections.items():
            settings[name] = settings.get(name, {}) | keys
        lines = []
        for name, keys in settings.items():
            lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in keys.items())]
        self.config.write_text("\n".join(lines) + "\n")

    # --- the archive

    def put(self, relative: str | bytes, data: bytes | int) -> Path:
        """Writes a file of the archive; a number is the seed of a photo."""
        path = self.images / os.fsdecode(relative)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(data) if isinstance(data, int) else data)
        return path

    def archive_digest(self) -> str:
        """Changes when anything in the archive does: names, bytes, modes, times of change."""
        found = hashlib.sha256()
        for path in sorted([self.images, *self.images.rglob("*")]):
            stat = path.lstat()
            found.update(
                f"{path}|{stat.st_mode}|{stat.st_ino}|{stat.st_mtime_ns}|{stat.st_ctime_ns}\n".encode()
            )
            if path.is_file() and not path.is_symlink():
                found.update(path.read_bytes())
        return found.hexdigest()

    # --- what syncd made of it

    def sql(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        db = sqlite3.connect(f"file:{self.state}/catalogue.db?mode=ro", uri=True, timeout=10)
        try:
            return db.execute(statement, parameters).fetchall()
        finally:
            db.close()

    def write_sql(self, statement: str, *parameters: Any) -> None:
        """As a person with the sqlite3 shell."""
        db = sqlite3.connect(self.state / "catalogue.db", timeout=10)
        with db:
            db.execute(statement, parameters)
        db.close()

    def live(self) -> dict[str, str]:
        """scene_id: r2_key of what the catalogue says is live."""
        return dict(self.sql("SELECT scene_id, r2_key FROM image_versions WHERE r2_key IS NOT NULL"))

    def objects(self, storage: Path | None = None) -> dict[str, bytes]:
        """The site's files by key."""
        root = storage or self.storage
        return {
            path.relative_to(root).as_posix(): path.read_bytes()
            for path in root.rglob("*")
            if path.is_file() and not any(part.startswith(".") for part in path.relative_to(root).parts)
        }

    # --- programs

    def program(
        self, name: str, *arguments: object, timeout_s: float = 18, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [BIN / name, *map(str, arguments)], capture_output=True, text=True, timeout=timeout_s,
            check=False, cwd=self.home, input=stdin, env=environment(),
        )  # fmt: skip

    def once(self, *arguments: object, exit_code: int | None = 0) -> dict[str, Any]:
        """`syncd once --json`: its report."""
        done = self.program("syncd", "once", "--config", self.config, "--json", *arguments)
        if exit_code is not None:
            assert done.returncode == exit_code, (
                f"exit {done.returncode}: {done.stderr}\n{done.stdout[-2000:]}"
            )
        report: dict[str, Any] = json.loads(done.stdout)
        return report

    def ctl(self, *arguments: object, exit_code: int | None = 0) -> Any:
        """`syncctl --json …`: its document."""
        done = self.program("syncctl", *arguments, "--json", "--socket", self.socket)
        if exit_code is not None:
            assert done.returncode == exit_code, (
                f"exit {done.returncode}: {done.stderr}\n{done.stdout[-2000:]}"
            )
        return json.loads(done.stdout) if done.stdout else None

    @contextmanager
    def daemon(self) -> Iterator[Daemon]:
        running = Daemon(self)
        try:
            running.wait_ready()
            yield running
        finally:
            running.end()

    def remove(self) -> None:
        shutil.rmtree(self.run_dir, ignore_errors=True)


class Daemon:
    """A real `syncd run`."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.log = place.home / "daemon.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [BIN / "syncd", "run", "--config", place.config],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=place.home, env=environment(),
            )  # fmt: skip

    def wait_ready(self, within_s: float = 10.0) -> None:
        def ready() -> bool:
            if self.process.poll() is not None:
                tail = self.log.read_text(errors="replace")[-3000:]
                raise RuntimeError(f"syncd run ended with {self.process.returncode}:\n{tail}")
            return self.call("GET", "/readyz").status == 200

        eventually(ready, within_s)

    def call(self, method: str, path: str, body: Any = None) -> Http:
        return call(self.place.socket, method, path, body)

    def get(self, path: str) -> Any:
        answer = self.call("GET", path)
        assert answer.status == 200, f"GET {path}: {answer.status} {answer.body[:500]!r}"
        return answer.json

    def post(self, path: str, body: Any = None, status: int = 200) -> Any:
        answer = self.call("POST", path, body)
        assert answer.status == status, f"POST {path}: {answer.status} {answer.body[:500]!r}"
        return answer.json

    def publish(self, batch: str, public: bool = True) -> None:
        answer = self.call("PATCH", f"/api/batches/{quote(batch, safe='')}", {"is_public": public})
        assert answer.status == 200, answer.body

    def sync(self, **request: Any) -> dict[str, Any]:
        """A whole sync through the API: its final report."""
        job_id = self.post("/api/admin/sync", request, status=202)["job_id"]

        def over() -> Any:
            report = self.get("/api/admin/sync/status")
            return (
                report
                if report["job_id"] == job_id and report["state"] not in ("queued", "running")
                else None
            )

        report: dict[str, Any] = eventually(over, 15)
        return report

    def blocked(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get("/api/status")["blocked"]
        return found

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)

    def end(self) -> int:
        """SIGTERM; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(12)
            except subprocess.TimeoutExpired:
                self.kill()
        return self.process.returncode


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SYNCD", "XDG_"))}
    return kept | {"NO_COLOR": "1"}
