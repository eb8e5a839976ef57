"""What the control socket asks about batches, scenes and pictures, told from the catalogue."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

from syncd.activity import Activity
from syncd.api_library import LibraryAnswers
from syncd.catalogue import browse
from syncd.config import Config
from syncd.control import schema
from syncd.control.api import Invalid, NotFound
from syncd.errors import Refused
from syncd.flows.previews import Previews
from syncd.flows.site_service import SiteService
from syncd.sinks import public_url


class SiteAnswers:
    """The part of `DaemonApi` that shows the site."""

    def __init__(
        self,
        config: Callable[[], Config],
        activity: Activity,
        site: SiteService,
        previews: Previews,
        library: LibraryAnswers,
    ) -> None:
        self.library = library
        self._config = config
        self._activity = activity
        self._service = site
        self._previews = previews
        self._catalogue = site.site.catalogue

    async def batches(self, limit: int, cursor: str | None) -> schema.BatchPage:
        async with self._catalogue.reader() as db:
            rows, next_cursor = await browse.batches(db, limit, cursor)
        items = [msgspec.convert(row, schema.Batch, from_attributes=True) for row in rows]
        return schema.BatchPage(items=items, next_cursor=next_cursor)

    async def patch_batch(self, name: str, patch: schema.BatchPatch) -> schema.Batch:
        changes = {
            key: value for key, value in msgspec.structs.asdict(patch).items() if value is not msgspec.UNSET
        }
        stage = changes.get("source_directory")
        stages = self._config().batches.stages
        if stage is not None and stage not in stages:
            raise Invalid(f"{stage!r} is no stage", hint=f"stages are: {', '.join(stages)}")
        if changes and not await self._catalogue.write(lambda db: browse.update_batch(db, name, **changes)):
            raise NotFound(f"there is no batch {name!r}", hint="`syncctl batches list` shows them")
        if changes:
            self._service.hint(name)
            words = ", ".join(f"{key} = {value}" for key, value in changes.items())
            self._activity.emit("batch", "site", name, f"{name}: {words}", changes)
        async with self._catalogue.reader() as db:
            row = await browse.batch(db, name)
        if row is None:
            raise NotFound(f"there is no batch {name!r}", hint="`syncctl batches list` shows them")
        return msgspec.convert(row, schema.Batch, from_attributes=True)

    async def scenes(
        self, batch: str | None, live: bool | None, query: str | None, limit: int, cursor: str | None
    ) -> schema.ScenePage:
        async with self._catalogue.reader() as db:
            rows, next_cursor = await browse.scenes(
                db, batch=batch, live=live, query=query, limit=limit, cursor=cursor
            )
        return schema.ScenePage(items=[self._scene(row) for row in rows], next_cursor=next_cursor)

    async def scene(self, scene_id: str) -> schema.Scene:
        async with self._catalogue.reader() as db:
            row = await browse.scene(db, scene_id)
        if row is None:
            raise NotFound(f"there is no scene {scene_id!r}", hint="`syncctl scenes list` shows them")
        albums = await self.library.albums_of_scene(scene_id)
        return msgspec.structs.replace(self._scene(row), albums=albums)

    def _scene(self, row: browse.SceneRow) -> schema.Scene:
        return schema.Scene(
            scene_id=row.scene_id,
            batch_name=row.batch_name,
            base_filename=row.base_filename,
            capture_date=row.capture_date,
            live=row.live,
            versions=[self._version(version) for version in row.versions],
        )

    def _version(self, row: browse.VersionRow) -> schema.Version:
        return schema.Version(
            version_id=row.version_id,
            version_type=row.version_type,
            local_path=row.local_path,
            is_current=row.is_current,
            r2_key=row.r2_key,
            url=self._url(row.r2_key),
            sha256=row.sha256,
            size_bytes=row.size_bytes,
            perceptual_hash=row.perceptual_hash,
            synced_at=row.synced_at,
            width=row.width,
            height=row.height,
            captured_at=row.captured_at,
            gone=row.gone,
            failure=row.failure,
        )

    def _url(self, key: str | None) -> str | None:
        return None if key is None else public_url(self._config().storage, key)

    async def preview(
        self, version_id: int, width: int, height: int, image_format: Literal["jpeg", "rgb"]
    ) -> bytes:
        return await self._previews.of_version(version_id, width, height, image_format)

    async def similar(
        self, picture: bytes | None, scene_id: str | None, max_distance: int, limit: int
    ) -> schema.SimilarPage:
        if picture is not None:
            try:
                wanted = await self._service.site.pool.perceptual_hash(picture)
            except Refused as error:
                raise Invalid(error.message, hint="send the bytes of a photo that can be decoded") from error
        else:
            scene = await self.scene(scene_id or "")
            known = [v.perceptual_hash for v in scene.versions if v.is_current and v.perceptual_hash]
            if not known:
                raise Refused(f"scene {scene_id!r} has no picture that could be decoded")
            wanted = known[0]
        async with self._catalogue.reader() as db:
            rows = await browse.similar(
                db, wanted, max_distance=max_distance, limit=limit, except_scene=scene_id
            )
        return schema.SimilarPage(
            items=[
                schema.SimilarItem(
                    scene_id=row.scene_id,
                    version_id=row.version_id,
                    distance=row.distance,
                    r2_key=row.r2_key,
                    url=self._url(row.r2_key),
                )
                for row in rows
            ]
        )
