"""syncctl smugmug."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from syncd.control.ctl_base import (
    PAGE,
    SYNC_EXITS,
    UNFINISHED,
    Ctl,
    CtlGroup,
    WrongUsage,
    all_items,
    say,
)
from syncd.errors import ExitCode, SyncdError
from syncd.options import FilledText

if TYPE_CHECKING:
    from syncd.control import schema
    from syncd.control.client import ControlClient


def complete_albums(context: click.Context, parameter: click.Parameter, start: str) -> list[str]:
    """Keys of albums for the shell; none where no daemon answers."""
    try:
        page = context.ensure_object(Ctl).ask(lambda client: client.albums(limit=PAGE))
    except SyncdError:
        return []
    return [album.album_key for album in page.items if album.album_key.startswith(start)]


@click.group(cls=CtlGroup)
def smugmug() -> None:
    """Keep a copy of a SmugMug library's metadata.

    \b
    Examples:
      syncctl auth smugmug
      syncctl smugmug sync
      syncctl smugmug albums
    """


@smugmug.command()
@click.option("--full", is_flag=True, help="Read every album, not only those that changed.")
@click.option(
    "--album", type=FilledText(), metavar="KEY", shell_complete=complete_albums, help="Read just this album."
)
@click.pass_obj
def sync(ctl: Ctl, full: bool, album: str | None) -> int:
    """Bring the copy up to date now, and wait until it is.

    Interrupted, it goes on without you. The exit code says how it ended: 0 done, 4 some albums could not be
    read, 5 a guard asks, 1 failed.

    \b
    Examples:
      syncctl smugmug sync
      syncctl smugmug sync --full
      syncctl smugmug sync --album 2GsRNZ --json
    """
    if full and album is not None:
        raise WrongUsage("--full and --album exclude each other: an album is always read whole.")
    from syncd.control import render_library

    async def question(client: ControlClient) -> schema.LibraryStatus:
        if album is not None:
            accepted = await client.sync_album(album)
        else:
            accepted = await client.sync_library(full=full)
        return await _wait(client, accepted.job_id)

    reply = ctl.ask(question)
    ctl.show(reply, render_library.status)
    return SYNC_EXITS.get(reply.state, ExitCode.FAILED)


async def _wait(client: ControlClient, job_id: str) -> schema.LibraryStatus:
    """The status as of the end of the job, whose state it has."""
    import msgspec

    from syncd.control.ctl_progress import Meter, until
    from syncd.control.render_library import progress_words
    from syncd.text import human_age

    said: set[str] = set()

    async def look() -> schema.Job | None:
        job = await client.job(job_id)
        now = await client.library_status()
        meter.update(now.photos_synced, now.photos_total, progress_words(now))
        if job.state == "waiting" and job.error and job.error not in said:
            said.add(job.error)
            say(f"{job.error}; it goes on {human_age(job.next_attempt_at)}")
        return None if job.state in UNFINISHED else job

    with Meter("syncing") as meter:
        job = await until(look, 0.25)
    assert job is not None  # there is no time limit
    reply = await client.library_status()
    errors = reply.errors if job.error is None or reply.errors else [job.error]
    return msgspec.structs.replace(reply, job_id=job.id, state=job.state, errors=errors)


@smugmug.command()
@click.pass_obj
def status(ctl: Ctl) -> None:
    """How far the copy is, and what keeps it from being complete.

    \b
    Examples:
      syncctl smugmug status
      syncctl smugmug status --json | jq .photos_synced
    """
    from syncd.control import render_library

    ctl.show(ctl.ask(lambda client: client.library_status()), render_library.status)


@smugmug.command()
@click.pass_obj
def albums(ctl: Ctl) -> None:
    """All albums, and how far each is.

    \b
    Examples:
      syncctl smugmug albums
      syncctl smugmug albums --json | jq '.items[] | select(.last_error)'
    """
    from syncd.control import render_library

    ctl.show(ctl.ask(lambda client: all_items(client.albums)), render_library.albums)


@smugmug.command()
@click.argument("album", type=FilledText(), metavar="ALBUM", shell_complete=complete_albums)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="At most so many; else all.")
@click.pass_obj
def photos(ctl: Ctl, album: str, limit: int | None) -> None:
    """Photos of an album (its key or its id), and the local scenes that show the same.

    \b
    Examples:
      syncctl smugmug photos 2GsRNZ
      syncctl smugmug photos 2GsRNZ --json | jq '.items[] | select(.scene_id == null) | .filename'
    """
    from syncd.control import render_library

    async def question(client: ControlClient) -> schema.LibraryPhotoPage:
        async def fetch(count: int, cursor: str | None) -> schema.LibraryPhotoPage:
            return await client.library_photos(album, count, cursor)

        found: schema.LibraryPhotoPage = await all_items(fetch, limit)
        return found

    ctl.show(ctl.ask(question), render_library.photos)
