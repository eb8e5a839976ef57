"""Real servers for tests and benchmarks, each on loopback with ports of its own and killed by its pid."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import subprocess
import sys
import time
import urllib.parse
import uuid
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

STARTED_IN_S = 30.0
ACCESS_KEY = "syncd-test-key"
SECRET_KEY = "syncd-test-secret"

# One volume a collection: the default of seven makes the first write of each bucket slow.
MASTER_TOML = """[master.volume_growth]
copy_1 = 1
copy_2 = 1
copy_3 = 1
copy_other = 1
"""


def free_ports(count: int) -> list[int]:
    """Loopback ports that nobody listens on, all different. Below the ephemeral range, so that no
    outgoing connection takes one before its server binds it."""
    ports: list[int] = []
    with contextlib.ExitStack() as held:
        candidate = 10_000 + uuid.uuid4().int % 20_000
        while len(ports) < count:
            candidate += 1
            probe = held.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", candidate))
                ports.append(candidate)
    return ports


@dataclass
class SeaweedServer:
    """A running S3 server. `endpoint` is its URL, e.g. http://127.0.0.1:21234."""

    folder: Path
    port: int
    arguments: list[str]
    access_key: str = ACCESS_KEY
    secret_key: str = SECRET_KEY
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Starts (or starts again, with the same data and ports) and waits until it stores objects."""
        with (self.folder / "weed.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.arguments, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        deadline = time.monotonic() + STARTED_IN_S
        while not self._stores():
            if self.process.poll() is not None or time.monotonic() > deadline:
                tail = (self.folder / "weed.log").read_text(errors="replace")[-2000:]
                self.stop()
                raise RuntimeError(f"weed did not start:\n{tail}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Kills this server's own process. Its data stay, so that start() brings them back."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def make_bucket(self, name: str | None = None) -> str:
        """Creates an empty bucket and returns its name."""
        name = name or f"bucket-{uuid.uuid4().hex[:12]}"
        status, body = self.request("PUT", f"/{name}")
        if status != 200:
            raise RuntimeError(f"cannot create bucket {name}: {status} {body[:300]!r}")
        return name

    def keys(self, bucket: str, prefix: str = "") -> list[str]:
        """All keys of a bucket, sorted: what is really there, asked without any of syncd's code."""
        found: list[str] = []
        query = {"list-type": "2", "prefix": prefix, "max-keys": "1000"}
        while True:
            status, body = self.request("GET", f"/{bucket}", query)
            if status != 200:
                raise RuntimeError(f"cannot list {bucket}: {status} {body[:300]!r}")
            root = ElementTree.fromstring(body)
            namespace = root.tag.partition("}")[0] + "}" if root.tag.startswith("{") else ""
            found += [node.text or "" for node in root.iter(f"{namespace}Key")]
            token = root.findtext(f"{namespace}NextContinuationToken")
            if root.findtext(f"{namespace}IsTruncated") != "true" or not token:
                return sorted(found)
            query["continuation-token"] = token

    def unfinished(self, bucket: str) -> list[str]:
        """Upload ids of the multipart uploads that were begun and neither completed nor aborted."""
        status, body = self.request("GET", f"/{bucket}", {"uploads": ""})
        if status != 200:
            raise RuntimeError(f"cannot list uploads of {bucket}: {status} {body[:300]!r}")
        return [
            node.text or "" for node in ElementTree.fromstring(body).iter() if node.tag.endswith("UploadId")
        ]

    def read(self, bucket: str, key: str) -> bytes:
        """The bytes of one object."""
        status, body = self.request("GET", f"/{bucket}/{urllib.parse.quote(key, safe='/~')}")
        if status != 200:
            raise KeyError(f"{bucket}/{key}: {status}")
        return body

    def request(
        self, method: str, path: str, query: dict[str, str] | None = None, body: bytes = b""
    ) -> tuple[int, bytes]:
        """One signed request: (status, body)."""
        from botocore.auth import S3SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.credentials import Credentials

        target = path + ("?" + urllib.parse.urlencode(query) if query else "")
        signed = AWSRequest(method=method, url=self.endpoint + target, data=body)
        S3SigV4Auth(Credentials(self.access_key, self.secret_key), "s3", "us-east-1").add_auth(signed)
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, target, body=body or None, headers=dict(signed.headers))
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def _stores(self) -> bool:
        """Whether an object written comes back: the gateway listens before the volumes are there."""
        try:
            self.request("PUT", "/ready")
            if self.request("PUT", "/ready/probe", body=b"ready")[0] != 200:
                return False
            return self.request("GET", "/ready/probe") == (200, b"ready")
        except (OSError, http.client.HTTPException):
            return False


def start_seaweed(folder: Path) -> SeaweedServer:
    """Starts a SeaweedFS S3 server with its data in `folder`; ready when this returns (about 3 s).

    Only the identity ACCESS_KEY/SECRET_KEY is let in. Raises RuntimeError with the end of its log
    when it does not come up.
    """
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    (folder / "master.toml").write_text(MASTER_TOML)
    identity = {
        "name": "syncd",
        "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    config = folder / "identities.json"
    config.write_text(json.dumps({"identities": [identity]}))
    for attempt in range(3):
        server = _prepare(folder, data, config)
        try:
            server.start()
        except RuntimeError:
            if attempt == 2:
                raise
        else:
            return server
    raise AssertionError("unreachable")


def _prepare(folder: Path, data: Path, config: Path) -> SeaweedServer:
    names = (
        "master.port", "master.port.grpc", "volume.port", "volume.port.grpc",
        "filer.port", "filer.port.grpc", "s3.port", "s3.port.grpc",
    )  # fmt: skip
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    options: dict[str, object] = {
        "dir": data,
        "ip": "127.0.0.1",
        "ip.bind": "127.0.0.1",
        "master.telemetry": "false",
        "master.volumeSizeLimitMB": 128,
        "master.electionTimeout": "1s",
        "master.heartbeatInterval": "50ms",
        "volume.max": 500,
        "volume.preStopSeconds": 0,
        "volume.minFreeSpace": "1",
        "filer.localSocket": folder / "filer.sock",
        "s3.localSocket": folder / "s3.sock",
        "s3.config": config,
        "s3.autoCreateBucket": "false",
        "s3.iam": "false",
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
    }
    options |= ports
    weed = Path(sys.executable).with_name("weed")
    arguments = [
        str(weed),
        "server",
        "-filer",
        "-s3",
        *(f"-{name}={value}" for name, value in options.items()),
    ]
    return SeaweedServer(folder, ports["s3.port"], arguments)


@contextmanager
def seaweed(folder: Path) -> Iterator[SeaweedServer]:
    """start_seaweed() that stops by itself."""
    server = start_seaweed(folder)
    try:
        yield server
    finally:
        server.stop()
