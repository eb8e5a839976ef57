"""A fake Drive in a process of its own, so that its work does not slow what is measured.

`python -m benchmarks.drive_process FOLDERS PHOTOS`: says where it is as a line of JSON, then answers each
line on stdin with the calls so far.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import anyio.to_thread

from tests.fakes.google_drive import ACCOUNT, fake_drive

ROBOT = "robot@example.iam"


class DriveProcess:
    """What a benchmark sees of it; `key` is that of a service account."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        said: dict[str, Any] = self._line()
        self.base_url, self.token_url, self.token = said["base_url"], said["token_url"], said["token"]
        self.key, self.folders = said["key"], said["folders"]

    def calls(self) -> dict[str, int]:
        """How often each operation was called so far."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._line()

    def _line(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        said: dict[str, Any] = json.loads(self._process.stdout.readline())
        return said


@contextmanager
def drive_process(folders: int, photos: int = 0) -> Iterator[DriveProcess]:
    """`folders` folders with `photos` photos each, shared with a service account."""
    command = [sys.executable, "-m", __name__, str(folders), str(photos)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield DriveProcess(process)
        finally:
            process.terminate()


async def _serve(folders: int, photos: int) -> None:
    async with fake_drive() as fake:
        key = fake.add_service_account(ROBOT)
        made = [fake.add_folder(f"Event {n}", fake.root) for n in range(folders)]
        for folder in made:
            fake.share(folder, ROBOT)
            for n in range(photos):
                fake.add_file(f"IMG_{n:05}.JPG", folder, str(n).encode())
        where = {"base_url": fake.base_url, "token_url": fake.token_url, "token": fake.issue_token(ACCOUNT)}
        print(json.dumps({**where, "key": key, "folders": made}), flush=True)
        while await anyio.to_thread.run_sync(sys.stdin.readline):
            print(json.dumps(fake.calls), flush=True)


if __name__ == "__main__":
    anyio.run(_serve, int(sys.argv[1]), int(sys.argv[2]))
