"""`./dev demo --library`: the demo with a SmugMug account and a vision model, both of them fakes on loopback.

The daemon, syncctl and the dashboard are the real ones; they are signed in, as a browser would do it.
"""

from __future__ import annotations

import io
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

import aiohttp
import anyio
import click
import numpy as np
from PIL import Image

from syncd import painting
from syncd.control.client import ControlClient
from syncd.demo import SETTINGS, Demo, _publish, _say, _toml_string
from syncd.demo import run_demo as run
from syncd.errors import ExitCode, Fatal
from syncd.sample import SampleArchive, make_archive
from tests.fakes.smugmug import FakeSmugmug, fake_smugmug
from tests.fakes.vision import FakeVision, fake_vision

MORE_SETTINGS = """
[smugmug]
api_key = {key}
api_secret = {secret}
api_base_url = {smugmug}
oauth_base_url = {smugmug}
interval_minutes = 0.5
requests_per_second = 20

[ai]
base_url = {vision}
api_key = {vision_key}
model = {model}
embedding_model = {embedding_model}
"""
SIZE: Final = (720, 480)
WITHIN_S: Final = 120.0
ARRIVES_EVERY_S: Final = 9.0


class Shoot(NamedTuple):
    """One album: its name, when its photos were taken, who painted them and how many they are."""

    name: str
    first: datetime
    painter: str
    photos: int
    more: dict[str, str]


SHOOTS: Final = (
    Shoot("Lions vs Tigers 05/30/2026", datetime(2026, 5, 30, 14, 5), "street", 8, {}),
    Shoot("smith wedding_june", datetime(2026, 6, 13, 15, 30), "lake", 9, {"privacy": "Unlisted"}),
    Shoot("Coast Trip", datetime(2025, 8, 2, 9, 12), "coast", 7, {}),
    Shoot("Family", datetime(2026, 1, 1, 0, 3), "hills", 5, {"privacy": "Private"}),
    Shoot("Harbour Festival - Jul 4", datetime(2026, 7, 4, 20, 40), "harbour", 6, {}),
)
COMMANDS: Final = (
    "smugmug status",
    "smugmug albums",
    "meta list --limit 6",
    "meta search bride",
    "names plan",
    "auth status",
)


class LibraryDemo(Demo):
    """One demo in the folder `home`."""

    async def _show(self, on_terminal: bool) -> ExitCode:
        async with fake_smugmug() as smug, fake_vision() as vision:
            _say(f"A sample archive in {self.images_dir}, and a SmugMug account with albums of its own …")
            archive = await anyio.to_thread.run_sync(make_archive, self.images_dir)
            await anyio.to_thread.run_sync(fill, smug, archive)
            self.config.write_text(self._settings(smug, vision))
            async with self._daemon() as client:
                await _publish(client, archive)
                await self._mirror(client, smug)
                if on_terminal:
                    async with anyio.create_task_group() as group:
                        group.start_soon(arrive, smug)
                        await self._dashboard(archive)
                        group.cancel_scope.cancel()
                for command in COMMANDS:
                    await self._ctl(command)
        return ExitCode.DONE

    def _settings(self, smug: FakeSmugmug, vision: FakeVision) -> str:
        values = {
            "key": smug.api_key,
            "secret": smug.api_secret,
            "smugmug": smug.base_url,
            "vision": vision.base_url,
            "vision_key": vision.key or "",
            "model": vision.model,
            "embedding_model": vision.embedding_model,
        }
        own = {name: _toml_string(value) for name, value in values.items()}
        return SETTINGS.format(socket=_toml_string(str(self.socket))) + MORE_SETTINGS.format(**own)

    async def _mirror(self, client: ControlClient, smug: FakeSmugmug) -> None:
        """Signs in, and waits until the library is here and described."""
        _say("Signing in to SmugMug …")
        started = await client.start_sign_in("smugmug")
        async with aiohttp.ClientSession() as browser, browser.get(started.url) as page:
            await page.read()  # the consent page sends the browser back to the daemon
        await client.wait_for_sign_in("smugmug", started.flow_id)
        _say("Reading the library, and having its photos described …")
        accepted = await client.sync_library()
        photos = sum(not image.is_video for image in smug.images.values())
        with anyio.move_on_after(WITHIN_S):
            while (await client.job(accepted.job_id)).state in ("queued", "running", "waiting"):
                await anyio.sleep(0.2)
            while len((await client.metadata(status="review", limit=1000)).items) < photos:
                await anyio.sleep(0.2)
            return
        raise Fatal("the library was not read in time", hint=f"the daemon's log is {self.log}")

    async def _ctl(self, command: str) -> None:
        click.echo(f"\n$ syncctl {command}")
        program = [sys.executable, "-m", "syncd.control.ctl", *command.split(), "--socket", str(self.socket)]
        await anyio.run_process(program, stdin=None, stdout=None, stderr=None, check=False)


def fill(smug: FakeSmugmug, archive: SampleArchive) -> None:
    """Albums with painted photos, and one with scans of the archive, which ties both together."""
    folder = smug.add_folder("2026")
    for number, shoot in enumerate(SHOOTS):
        album = smug.add_album(shoot.name, folder if shoot.first.year == 2026 else None, **shoot.more)
        for shot in range(shoot.photos):
            smug.add_image(
                album,
                f"DSC_{4100 + 20 * number + shot}.{'HEIC' if shot == 2 else 'JPG'}",
                content=paint(shoot.painter, 100 * number + shot),
                width=SIZE[0],
                height=SIZE[1],
                taken_at=shoot.first + timedelta(minutes=7 * shot),
            )
    scans = smug.add_album("Film scans", privacy="Unlisted")
    crops = [path for path in archive.files if path.parent.name == "final_crops" and path.suffix == ".jpg"]
    for path in crops[:6]:
        with Image.open(path) as picture:
            width, height = picture.size
        smug.add_image(scans, path.name, content=path.read_bytes(), width=width, height=height)
    smug.add_image(scans, "projector.mp4")
    smug.add_album("Empty")


def paint(painter: str, seed: int) -> bytes:
    pixels = getattr(painting, painter)(np.random.default_rng(seed), *SIZE)
    buffer = io.BytesIO()
    Image.fromarray((pixels.clip(0, 1) * 255).astype(np.uint8)).save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


async def arrive(smug: FakeSmugmug) -> None:
    """A photo in the newest album now and then, so that there is something to see."""
    album = next(key for key, album in smug.albums.items() if album.name.startswith("Harbour"))
    for number in range(60):
        await anyio.sleep(ARRIVES_EVERY_S)
        content = await anyio.to_thread.run_sync(paint, "harbour", 1000 + number)
        taken = SHOOTS[4].first + timedelta(hours=1, minutes=number)
        smug.add_image(
            album, f"LIVE_{number:04}.JPG", content=content, width=SIZE[0], height=SIZE[1], taken_at=taken
        )


@click.command()
@click.option("--no-tui", is_flag=True, help="Print what there is instead of opening the dashboard.")
@click.option("--dir", "directory", type=click.Path(path_type=Path, file_okay=False), help="Use this folder.")
def main(no_tui: bool, directory: Path | None) -> None:
    """The demo with a SmugMug library and a vision model, both fakes on this machine."""
    try:
        sys.exit(run(no_tui=no_tui, directory=directory, kind=LibraryDemo))
    except Fatal as error:
        click.echo(f"syncd: {error}" + (f"\n  hint: {error.hint}" if error.hint else ""), err=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
