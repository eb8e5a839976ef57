"""Settings that name another storage while a sync, a verification or a withdrawal is at work."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiosqlite
import pytest

from syncd.catalogue.database import Catalogue
from syncd.config import BatchesConfig, Config, DaemonConfig, StorageConfig
from syncd.errors import Transient
from syncd.flows.report import SyncRun
from syncd.flows.site import Site
from syncd.flows.verify import verify
from syncd.imaging.pool import ImagingPool
from tests.flows.place import jpeg

NAMES = ["b-0.jpg", "b-1.jpg", "b-2.jpg"]


@asynccontextmanager
async def site_of(base: Path) -> AsyncIterator[Site]:
    """Three photos of a public batch, nothing synced yet, storage in `a`."""
    folder = base / "images" / "b" / "final_crops"
    folder.mkdir(parents=True)
    for number in range(3):
        (folder / f"{number}.jpg").write_bytes(jpeg(number))
    config = Config(
        daemon=DaemonConfig(state_dir=base, workers=1),
        batches=BatchesConfig(images_dir=base / "images", default_public=True, settle_seconds=0),
        storage=StorageConfig(base_path=base / "a"),
    )
    (base / "staging").mkdir()
    async with (
        Catalogue.open(base / "catalogue.db") as catalogue,
        ImagingPool(1, base / "staging") as pool,
        Site(config, catalogue, pool) as site,
    ):
        yield site


def switching(site: Site, name: str, sink: Any) -> Callable[..., Any]:
    """The sink's method; its first call finds the settings changed to the storage in `b`."""
    method = getattr(sink, name)

    async def call(*arguments: Any) -> Any:
        use(site, "b")
        return await method(*arguments)

    return call


def use(site: Site, folder: str) -> None:
    base_path = site.config.daemon.state_dir / folder
    site.config = replace(site.config, storage=StorageConfig(base_path=base_path))


def stored(base: Path, folder: str) -> list[str]:
    return sorted(path.name for path in (base / folder).glob("scenes/*"))


async def rows(site: Site) -> list[tuple[Any, ...]]:
    async with site.catalogue.reader() as db:
        found = await db.execute_fetchall("SELECT r2_key, storage_id FROM image_versions")
    return [tuple(row) for row in found]


async def test_a_sync_ends_on_the_storage_on_which_it_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with site_of(tmp_path) as site:
        first = await site.sink()
        monkeypatch.setattr(first, "put", switching(site, "put", first))
        assert (await site.sync(SyncRun())).state == "done"
        assert stored(tmp_path, "a") == NAMES and not stored(tmp_path, "b")
        assert {storage_id for _, storage_id in await rows(site)} == {first.storage_id}
        assert (await site.sync(SyncRun())).uploaded == 3
        assert stored(tmp_path, "a") == stored(tmp_path, "b") == NAMES


async def test_a_withdrawal_ends_on_the_storage_on_which_it_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def make_private(db: aiosqlite.Connection) -> None:
        await db.execute("UPDATE public_site_batches SET is_public = 0")

    async with site_of(tmp_path) as site:
        await site.sync(SyncRun())
        first = await site.sink()
        await site.catalogue.write(make_private)
        monkeypatch.setattr(first, "delete", switching(site, "delete", first))
        assert (await site.sync(SyncRun())).removed == 3
        assert not stored(tmp_path, "a") and {key for key, _ in await rows(site)} == {None}


async def test_verify_repairs_nothing_once_the_storage_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with site_of(tmp_path) as site:
        await site.sync(SyncRun())
        (tmp_path / "a" / "scenes" / NAMES[0]).unlink()
        (tmp_path / "a" / "scenes" / "stranger.jpg").write_bytes(b"x")
        first = await site.sink()
        monkeypatch.setattr(first, "head", switching(site, "head", first))
        before = await rows(site)
        found = await verify(site, repair=True, progress=lambda done, total: None)
        assert found.repaired == 0 and found.orphaned == ["scenes/stranger.jpg"]
        assert stored(tmp_path, "a") == [*NAMES[1:], "stranger.jpg"] and not stored(tmp_path, "b")
        assert await rows(site) == before


async def test_a_storage_that_was_never_opened_is_not_guessed(tmp_path: Path) -> None:
    async with site_of(tmp_path) as site:
        former = site.storage_id
        use(site, "b")
        with pytest.raises(Transient, match="changed"):
            await site.sink(former)
