"""A fake SmugMug and clients of it, whose time only sleeping moves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from syncd.config import SmugmugConfig
from syncd.remotes.pacer import Pacer
from syncd.remotes.smugmug import SmugMug
from syncd.remotes.smugmug_items import AlbumInfo, ImageInfo, Page
from syncd.remotes.smugmug_oauth import Signer
from tests.fakes.smugmug import NICKNAME, FakeSmugmug
from tests.remotes.conftest import Clock


def config_of(smug: FakeSmugmug, **more: Any) -> SmugmugConfig:
    return SmugmugConfig(
        api_key=smug.api_key,
        api_secret=smug.api_secret,
        api_base_url=smug.base_url,
        oauth_base_url=smug.base_url,
        **{"requests_per_second": 1000, **more},
    )


@asynccontextmanager
async def client_of(
    smug: FakeSmugmug, clock: Clock, *, account: str = NICKNAME, signer: Signer | None = None, **more: Any
) -> AsyncIterator[SmugMug]:
    config = config_of(smug, **more)
    signer = signer or Signer(smug.api_key, smug.api_secret, *smug.issue_token(NICKNAME))
    pacer = Pacer(config.requests_per_second, clock=clock, sleep=clock.sleep)
    client = SmugMug(config, signer, account, pacer=pacer, sleep=clock.sleep, jitter=lambda: 1.0)
    async with client:
        yield client


async def albums(client: SmugMug) -> tuple[list[AlbumInfo], list[Page[AlbumInfo]]]:
    pages = [page async for page in client.albums()]
    return [album for page in pages for album in page.items], pages


async def images(
    client: SmugMug, key: str, path: str | None = None
) -> tuple[list[ImageInfo], list[Page[ImageInfo]]]:
    pages = [page async for page in client.images(key, path)]
    return [image for page in pages for image in page.items], pages
