"""`syncd demo`: a sample archive in a fresh folder, the real daemon on it, and the dashboard."""

from __future__ import annotations

import shlex
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import click

from syncd.errors import ExitCode, Fatal

if TYPE_CHECKING:
    from anyio.abc import Process

    from syncd.control import schema
    from syncd.control.client import ControlClient
    from syncd.sample import SampleArchive

SETTINGS = """\
# The demo's settings. `syncd init` writes a file that explains every key.

[daemon]
state_dir = "./.syncd"
socket = {socket}

[batches]
images_dir = "./images"

[storage]
type = "local"
base_path = "./storage"
"""

FEED_EVERY_S = 7.0
"""While the dashboard is open, a scan arrives this often, so that there is something to see."""
FEED_MOST = 60
READY_WITHIN_S = 30.0
STOP_WITHIN_S = 12.0
SOCKET_PATH_LIMIT = 100
"""The kernel takes 107 bytes for a socket's path; a deep --dir gets its socket elsewhere."""


def run_demo(no_tui: bool = False, directory: Path | None = None, kind: type[Demo] | None = None) -> int:
    """Makes the archive in `directory` (a new or an empty folder; None: a temporary one), publishes two of
    its batches with a real daemon and shows them, in the dashboard on a terminal and as text elsewhere.
    The exit code. Raises Fatal when the folder is in use or the daemon does not come up. `kind` is for demos
    of more than the site."""
    home = _fresh_folder(directory)
    on_terminal = not no_tui and all(stream and stream.isatty() for stream in (sys.stdin, sys.stdout))
    try:
        return anyio.run((kind or Demo)(home).run, on_terminal)
    finally:
        _say(f"\nEverything is in {home}", f"Remove it with: rm -r {shlex.quote(str(home))}")


def _fresh_folder(directory: Path | None) -> Path:
    if directory is None:
        return Path(tempfile.mkdtemp(prefix="syncd-demo-"))
    home = directory.expanduser().absolute()
    home.mkdir(parents=True, exist_ok=True)
    if any(home.iterdir()):
        raise Fatal(f"{home} is not empty", hint="name a new folder, or leave --dir away")
    return home


class Demo:
    """One demo in the folder `home`."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.config = home / "syncd.toml"
        self.images_dir = home / "images"
        self.log = home / "daemon.log"
        self.socket = home / ".syncd" / "syncd.sock"
        if len(str(self.socket)) > SOCKET_PATH_LIMIT:
            self.socket = Path(tempfile.mkdtemp(prefix="syncd-")) / "syncd.sock"

    async def run(self, on_terminal: bool) -> int:
        """The whole demo; SIGTERM and SIGHUP end it, and the daemon with it."""
        result = ExitCode.FAILED
        async with anyio.create_task_group() as group:
            group.start_soon(_end_on_signal, group.cancel_scope)
            result = await self._show(on_terminal)
            group.cancel_scope.cancel()
        return result

    async def _show(self, on_terminal: bool) -> ExitCode:
        from syncd.sample import make_archive

        _say(f"A sample archive of film scans in {self.images_dir} …")
        archive = await anyio.to_thread.run_sync(make_archive, self.images_dir)
        self.config.write_text(SETTINGS.format(socket=_toml_string(str(self.socket))))
        _say(f"{len(archive.files)} scans in {len(archive.batches)} batches. Starting syncd …")
        async with self._daemon() as client:
            report = await _publish(client, archive)
            if on_terminal:
                await self._dashboard(archive)
            await self._tell(client, report)
        return ExitCode.DONE if report.state in ("done", "partial") else ExitCode.FAILED

    @asynccontextmanager
    async def _daemon(self) -> AsyncIterator[ControlClient]:
        """A real `syncd run` on the archive, ready; stopped at the end."""
        from syncd.control.client import ControlClient

        command = [sys.executable, "-m", "syncd", "run", "--config", str(self.config)]
        with self.log.open("wb") as log:
            # In a session of its own: Ctrl-C is for the demo, which then stops the daemon in order.
            process = await anyio.open_process(
                command, stdin=None, stdout=log, stderr=log, start_new_session=True
            )
        try:
            async with ControlClient(self.socket) as client:
                await self._until_ready(client, process)
                yield client
        finally:
            with anyio.CancelScope(shield=True):
                await _stop(process)

    async def _until_ready(self, client: ControlClient, process: Process) -> None:
        from syncd.control.client import DaemonUnavailable

        with anyio.move_on_after(READY_WITHIN_S):
            while process.returncode is None:
                try:
                    if await client.ready():
                        return
                except DaemonUnavailable:
                    pass
                await anyio.sleep(0.1)
        last_lines = "\n".join(self.log.read_text(errors="replace").splitlines()[-5:])
        raise Fatal(f"the daemon did not come up:\n{last_lines}", hint=f"its whole log is {self.log}")

    async def _dashboard(self, archive: SampleArchive) -> None:
        """The dashboard until it is left, with a scan that arrives now and then."""
        command = [sys.executable, "-m", "tui", "--socket", str(self.socket)]
        async with anyio.create_task_group() as group:
            group.start_soon(self._feed, archive)
            await anyio.run_process(command, stdin=None, stdout=None, stderr=None, check=False)
            group.cancel_scope.cancel()

    async def _feed(self, archive: SampleArchive) -> None:
        from syncd.sample import add_scan

        for number in range(FEED_MOST):
            await anyio.sleep(FEED_EVERY_S)
            # Now and then into the private batch, which records it and publishes nothing.
            batch_name = archive.batches[(0, 1, 0, 1, 2)[number % 5]]
            await anyio.to_thread.run_sync(add_scan, self.images_dir, batch_name, number)

    async def _tell(self, client: ControlClient, report: schema.SyncReport) -> None:
        """What was published and where, and what to try next."""
        from syncd.control import render, render_site
        from syncd.text import printable

        look = render.look_of(sys.stdout)
        scenes = await client.scenes(live=True, limit=1000)
        _say("")
        render.echo(render_site.batches(await client.batches(), look))
        _say("", f"{len(scenes.items)} scenes are live in {self.home / 'storage'}, for example:")
        urls = [version.url for scene in scenes.items for version in scene.versions if version.r2_key]
        _say(*(f"  {printable(url)}" for url in urls[:3] if url))
        if report.failed:
            _say("", "Not published, as it should be: a file that was cut off while it was copied")
            for item in report.failed:
                _say(f"  {printable(item.path)}: {printable(item.reason)}")
        config, folder = shlex.quote(str(self.config)), shlex.quote(str(self.home))
        _say(
            "",
            "Try next:",
            f"  syncd once --config {config} --dry-run     # what a sync would do",
            f"  syncd run --config {config}                # the daemon again, and in another terminal:",
            f"  cd {folder}",
            "  syncctl status",
            "  syncctl batches publish 2025-11-06-batch-3",
            "  syncctl similar images/2025-11-04-batch-1/final_crops/roll31-04-still-water_crop.jpg",
            "  syncctl verify --deep",
            "  syncd-tui",
        )


async def _publish(client: ControlClient, archive: SampleArchive) -> schema.SyncReport:
    """Waits for the archive to be recorded, makes its first two batches public, and waits for them."""
    from syncd.control import schema

    await _synced(client)
    for name in archive.batches[:2]:
        _say(f"Publishing {name} …")
        await client.patch_batch(name, schema.BatchPatch(is_public=True))
    report = await _synced(client)
    if report.state not in ("done", "partial"):
        raise Fatal(f"the sync ended as {report.state}: {report.error or 'no reason given'}")
    return report


async def _synced(client: ControlClient) -> schema.SyncReport:
    """One whole sync, and how it ended."""
    from syncd.control import schema

    accepted = await client.sync(schema.SyncRequest())
    assert isinstance(accepted, schema.JobAccepted)  # only a dry run answers with a report
    while True:
        job = await client.job(accepted.job_id)
        if job.state not in ("queued", "running", "waiting"):
            return await client.sync_status()
        await anyio.sleep(0.1)


async def _stop(process: Process) -> None:
    if process.returncode is None:
        process.terminate()
        with anyio.move_on_after(STOP_WITHIN_S):
            await process.wait()
    if process.returncode is None:
        process.kill()
        await process.wait()


async def _end_on_signal(scope: anyio.CancelScope) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGHUP) as signals:
        async for _ in signals:
            scope.cancel()
            return


def _toml_string(text: str) -> str:
    import json

    return json.dumps(text)


def _say(*lines: str) -> None:
    for line in lines:
        click.echo(line)
