"""One installation of syncd in a folder of its own, tried from outside: its programs, its socket, its SQL."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import traceback
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import tomli_w

from tests.pictures import make_jpeg
from tests.servers import SeaweedServer

BIN = Path(sys.executable).parent
TRACEBACK = "Traceback (most recent call last)"
BIDIRECTIONAL = "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


@cache
def small_jpeg(seed: int) -> bytes:
    """A JPEG of some 2 kB that only `seed` decides."""
    return make_jpeg(seed, 72, 48)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def has_raw_control(text: str) -> bool:
    """Whether a terminal would be sent a control or bidirectional character from outside."""
    return any(c != "\n" and (unicodedata.category(c) == "Cc" or c in BIDIRECTIONAL) for c in text)


@dataclass
class Ran:
    """What a program did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def run(
    program: str, *arguments: str | bytes | Path, env: Mapping[str, str] | None = None, **options: Any
) -> Ran:
    """Runs one of syncd's programs to its end. No program ever shows a traceback."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SYNCD", "XDG_"))}
    done = subprocess.run(
        [BIN / program, *arguments],
        capture_output=True,
        stdin=subprocess.DEVNULL,
        env={**kept, **(env or {})},
        timeout=60,
        check=False,
        **options,
    )
    ran = Ran(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))
    assert TRACEBACK not in ran.out + ran.err, ran.err
    return ran


@dataclass
class Installation:
    """Settings, images, storage and state below `base`; storage is a bucket of its own with a `server`."""

    base: Path
    server: SeaweedServer | None = None
    bucket: str = ""
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # The kernel takes 107 bytes for a socket's path.
        self.socket_dir = Path(tempfile.mkdtemp(prefix="syncd-"))
        self.images, self.storage, self.state = (self.base / part for part in ("images", "storage", "state"))
        self.config, self.catalogue = self.base / "syncd.toml", self.state / "catalogue.db"
        self.socket = self.socket_dir / "s.sock"
        self.images.mkdir(parents=True)
        self.settings = {
            "daemon": {"state_dir": str(self.state), "socket": str(self.socket), "workers": 1},
            "batches": {"images_dir": str(self.images), "settle_seconds": 0.05, "default_public": True},
            "storage": {"type": "local", "base_path": str(self.storage)},
        }
        if self.server is not None:
            self.bucket = self.bucket or self.server.make_bucket()
            self.settings["storage"] = {
                "type": "r2",
                "endpoint_url": self.server.endpoint,
                "region": "us-east-1",
                "access_key_id": self.server.access_key,
                "secret_access_key": self.server.secret_key,
                "bucket_name": self.bucket,
                "public_url": "https://photos.example",
            }
        self.configure()

    def configure(self, **sections: Mapping[str, Any]) -> None:
        """Changes keys of sections and writes syncd.toml."""
        for section, keys in sections.items():
            self.settings.setdefault(section, {}).update(keys)
        self.config.write_text(tomli_w.dumps(self.settings))

    # --- the archive --------------------------------------------------------------------------------

    def add(self, path: str | bytes, content: int | bytes = 1) -> Path:
        """Writes a file below images: the small JPEG of this seed, or these bytes."""
        target = self.images / os.fsdecode(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content if isinstance(content, bytes) else small_jpeg(content))
        return target

    def archive_state(self) -> dict[str, tuple[Any, ...]]:
        """Everything about the archive that syncd could have changed."""
        found: dict[str, tuple[Any, ...]] = {}
        for path in [self.images, *sorted(self.images.rglob("*"))]:
            i = path.lstat()
            content = sha256(path.read_bytes()) if path.is_file() and not path.is_symlink() else ""
            found[str(path)] = (i.st_ino, i.st_mode, i.st_size, i.st_mtime_ns, i.st_ctime_ns, content)
        return found

    # --- programs -----------------------------------------------------------------------------------

    def once(self, *arguments: str | bytes | Path, code: int | None = 0) -> Any:
        """`syncd once --json`: its document, provided that it ends with `code` (None: with any)."""
        ran = run("syncd", "once", "--config", self.config, "--json", *arguments)
        assert code is None or ran.code == code, (ran.code, ran.out, ran.err)
        return ran.json

    def ctl(self, *arguments: str | Path, code: int | None = 0) -> Ran:
        """`syncctl`, provided that it ends with `code`."""
        ran = run("syncctl", *arguments, "--socket", self.socket)
        assert code is None or ran.code == code, (ran.code, ran.out, ran.err)
        return ran

    # --- what is recorded and stored ----------------------------------------------------------------

    def rows(self, sql: str, *values: Any) -> list[dict[str, Any]]:
        db = sqlite3.connect(f"file:{self.catalogue}?mode=ro", uri=True, timeout=10)
        try:
            db.row_factory = sqlite3.Row
            return [dict(row) for row in db.execute(sql, values)]
        finally:
            db.close()

    def value(self, sql: str, *values: Any) -> Any:
        (row,) = self.rows(sql, *values)
        (found,) = row.values()
        return found

    def sql(self, statement: str) -> str:
        """What a person types into sqlite3."""
        done = subprocess.run(
            ["sqlite3", "-cmd", ".timeout 5000", self.catalogue, statement],
            capture_output=True, text=True, check=False, timeout=20,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def live(self) -> dict[str, str]:
        """Keys of live versions by scene."""
        rows = self.rows("SELECT scene_id, r2_key FROM image_versions WHERE r2_key IS NOT NULL")
        found = {row["scene_id"]: row["r2_key"] for row in rows}
        assert len(found) == len(rows), "a scene is live twice"
        return found

    def stored(self) -> list[str]:
        """What is in storage, asked without syncd."""
        if self.server is not None:
            return self.server.keys(self.bucket)
        files = (path for path in self.storage.rglob("*") if path.is_file())
        return sorted(str(path.relative_to(self.storage)) for path in files)

    def read(self, key: str) -> bytes:
        if self.server is not None:
            return self.server.read(self.bucket, key)
        return (self.storage / key).read_bytes()

    def check(self, *, complete: bool = True) -> None:
        """What holds at every moment; `complete`: and once there is nothing left to do."""
        assert self.value("PRAGMA integrity_check") == "ok"
        assert not self.rows("PRAGMA foreign_key_check")
        doubles = "SELECT scene_id FROM image_versions WHERE {} GROUP BY scene_id HAVING COUNT(*) > 1"
        assert not self.rows(doubles.format("is_current = 1"))
        live = self.rows("SELECT * FROM image_versions WHERE r2_key IS NOT NULL")
        assert len({row["scene_id"] for row in live}) == len({row["r2_key"] for row in live}) == len(live)
        stored = set(self.stored())
        phantoms = {row["r2_key"]: row for row in live if row["r2_key"] not in stored}
        if not complete:
            # An object that is being withdrawn goes before its record does. Until that is settled the key is
            # known to be loose, also when the batch has become public again meanwhile.
            loose = {r["key"] for r in self.rows("SELECT key FROM loose_objects")}
            private = {
                r["batch_name"] for r in self.rows("SELECT * FROM public_site_batches WHERE NOT is_public")
            }
            batch_of = {r["scene_id"]: r["batch_name"] for r in self.rows("SELECT * FROM scenes")}
            phantoms = {
                key: row
                for key, row in phantoms.items()
                if key not in loose
                and batch_of[row["scene_id"]] not in private
                and Path(row["local_path"]).exists()
            }
        assert not phantoms, f"live without an object: {list(phantoms)}"
        if not complete:
            return
        orphans = stored - {row["r2_key"] for row in live}
        assert not orphans, f"objects of nobody: {orphans}"
        for row in live:
            if row["local_path"].endswith((".jpg", ".png", ".webp")):
                assert sha256(self.read(row["r2_key"])) == row["sha256"], row["r2_key"]
        if self.server is not None:
            assert not self.server.unfinished(self.bucket)

    def daemon(self, **options: Any) -> Daemon:
        """A daemon that is started by `with`."""
        return Daemon(self, **options)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("syncd", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        try:
            self.sock.connect(str(self._path))
        except BaseException:
            self.sock.close()
            raise


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(path: Path, method: str, route: str, body: Any = None, timeout_s: float = 30) -> Answer:
    """One request over the Unix socket. `body`: bytes as a picture, anything else as JSON."""
    connection = _UnixConnection(path, timeout_s)
    headers = {}
    if isinstance(body, bytes):
        headers["Content-Type"] = "image/jpeg"
    elif body is not None:
        body, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
    try:
        connection.request(method, route, body=body, headers=headers)
        reply = connection.getresponse()
        return Answer(reply.status, {k.lower(): v for k, v in reply.getheaders()}, reply.read())
    finally:
        connection.close()


def wait_for(condition: Callable[[], Any], within_s: float = 10.0, what: str = "") -> Any:
    """The first true value of `condition`; fails after `within_s` seconds with its last error or value."""
    deadline = time.monotonic() + within_s
    while True:
        try:
            last: Any = condition()
            if last:
                return last
        except (AssertionError, LookupError, OSError, sqlite3.Error, http.client.HTTPException):
            last = traceback.format_exc(limit=3)
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s} s: {what}\nlast: {last}")
        time.sleep(0.03)


class Daemon:
    """A real `syncd run`: `with place.daemon() as daemon`. Ends by its own pid."""

    process: subprocess.Popen[bytes]

    def __init__(self, place: Installation, *, ready: bool = True, umask: int = 0o022) -> None:
        self.place = place
        self._ready = ready
        self._umask = umask
        self._log_file = place.base / "daemon.log"

    @property
    def log(self) -> str:
        return self._log_file.read_text(errors="replace")

    def __enter__(self) -> Daemon:
        self.start()
        try:
            if self._ready:
                wait_for(self.is_ready, 15, "ready")
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, kind: object, *rest: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            try:
                self.stop()
            except subprocess.TimeoutExpired:
                self.kill()
                if kind is None:
                    raise
        if kind is not None:
            print(self.log[-4000:])
        else:
            assert TRACEBACK not in self.log, self.log[-4000:]

    def start(self) -> None:
        with self._log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [BIN / "syncd", "run", "--config", self.place.config],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, umask=self._umask,
            )  # fmt: skip

    def is_ready(self) -> bool:
        if self.process.poll() is not None:
            raise RuntimeError(f"ended with {self.process.returncode}: {self.log[-3000:]}")
        return ask(self.place.socket, "GET", "/readyz").status == 200

    def stop(self) -> int:
        """SIGTERM; the exit code, within the contract's ten seconds."""
        self.process.terminate()
        return self.process.wait(10)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def get(self, route: str, status: int = 200) -> Any:
        return self.call("GET", route, status=status)

    def call(self, method: str, route: str, body: Any = None, status: int = 200) -> Any:
        answer = ask(self.place.socket, method, route, body)
        assert answer.status == status, (answer.status, answer.body[:2000])
        if status >= 400:
            assert answer.headers["content-type"].startswith("application/problem+json")
            assert {"type", "title", "status", "detail", "hint"} <= answer.json.keys()
        return answer.json if answer.body else None

    def status(self) -> Any:
        return self.get("/api/status")

    def services(self) -> dict[str, Any]:
        return {service["name"]: service for service in self.status()["services"]}

    def job(self, job_id: str, within_s: float = 15) -> Any:
        """The job once it is over."""

        def over() -> Any:
            job = self.get(f"/api/jobs/{job_id}")
            return job if job["state"] not in ("queued", "running", "waiting") else None

        return wait_for(over, within_s, f"job {job_id}")

    def sync(self, within_s: float = 15, **options: Any) -> Any:
        """A full sync through the API, waited for: its job."""
        return self.job(self.call("POST", "/api/admin/sync", options, status=202)["job_id"], within_s)

    def publish(self, batch: str, is_public: bool = True) -> Any:
        return self.call("PATCH", f"/api/batches/{batch}", {"is_public": is_public})

    def wait_idle(self, within_s: float = 15) -> None:
        wait_for(lambda: self.status()["idle"], within_s, "idle")

    def wait_live(self, keys: Iterable[str], within_s: float = 10) -> None:
        """Until exactly these keys are live and in storage."""
        wanted = sorted(keys)

        def same() -> bool:
            live, stored = sorted(self.place.live().values()), self.place.stored()
            assert live == wanted == stored, (live, stored)
            return True

        wait_for(same, within_s, f"live: {wanted}")
