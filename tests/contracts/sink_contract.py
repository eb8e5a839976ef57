"""What every sink must do. A test module subclasses SinkContract and provides a `sink` fixture."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from syncd.errors import Changed, Refused
from syncd.sinks.sink import Sink, Upload

WEIRD_NAMES = [
    "with space.jpg",
    "plus+and%20percent%.jpg",
    "quotes'\"`.jpg",
    "tilde~at@amp&semi;hash#query?.jpg",
    "ünï-日本-🎞.jpg",
    "nfd-e\u0301.jpg",
    "[brackets] {braces} (round).jpg",
]


class MemoryLedger:
    """An UploadLedger that remembers in memory; `history` holds each call."""

    def __init__(self) -> None:
        self.open: dict[str, tuple[str, str]] = {}
        self.history: list[tuple[str, str]] = []

    async def begun(self, storage_id: str, key: str, upload_id: str) -> None:
        self.open[upload_id] = (storage_id, key)
        self.history.append(("begun", upload_id))

    async def ended(self, storage_id: str, upload_id: str) -> None:
        self.open.pop(upload_id, None)
        self.history.append(("ended", upload_id))

    async def pending(self, storage_id: str) -> list[tuple[str, str]]:
        return [(key, upload_id) for upload_id, (of, key) in self.open.items() if of == storage_id]


def upload_of(path: Path, content: bytes, key: str = "scenes/a.jpg", **more: str | None) -> Upload:
    """Writes `content` to `path` and describes its upload."""
    path.write_bytes(content)
    md5, sha256 = hashlib.md5(content).hexdigest(), hashlib.sha256(content).hexdigest()
    described = Upload(key, path, len(content), sha256, md5, "image/jpeg")
    return replace(described, **more)  # type: ignore[arg-type]


async def keys_of(sink: Sink, prefix: str = "") -> list[str]:
    return sorted([found.key async for found in sink.list(prefix)])


class SinkContract:
    """`leftovers(sink)` of a subclass lists what is in storage besides whole objects."""

    keeps_metadata = True

    async def leftovers(self, sink: Sink) -> list[str]:
        raise NotImplementedError

    async def test_what_is_put_is_there_byte_for_byte(self, sink: Sink, tmp_path: Path) -> None:
        upload = upload_of(tmp_path / "a", os.urandom(150_000), source_sha256="c" * 64)
        stored = await sink.put(upload)
        assert (stored.key, stored.size_bytes, stored.sha256) == (upload.key, 150_000, upload.sha256)
        assert stored.source_sha256 == "c" * 64
        found = await sink.head(upload.key)
        assert found is not None
        assert (found.key, found.size_bytes, found.etag) == (upload.key, 150_000, stored.etag)
        if self.keeps_metadata:
            assert found == stored
            assert (found.content_type, found.cache_control) == ("image/jpeg", "public, max-age=300")
        assert await sink.digest(upload.key) == upload.sha256
        assert await sink.get(upload.key, tmp_path / "back") == upload.sha256
        assert (tmp_path / "back").read_bytes() == upload.path.read_bytes()

    async def test_an_empty_object(self, sink: Sink, tmp_path: Path) -> None:
        upload = upload_of(tmp_path / "a", b"")
        assert (await sink.put(upload)).size_bytes == 0
        assert await sink.digest(upload.key) == upload.sha256

    async def test_a_put_replaces_and_changes_the_etag(self, sink: Sink, tmp_path: Path) -> None:
        first = await sink.put(upload_of(tmp_path / "a", b"first"))
        upload = upload_of(tmp_path / "b", b"other")
        second = await sink.put(upload)
        assert first.etag != second.etag
        assert await sink.digest(upload.key) == upload.sha256
        assert await keys_of(sink) == [upload.key]

    async def test_what_is_not_there(self, sink: Sink, tmp_path: Path) -> None:
        assert await sink.head("scenes/none.jpg") is None
        assert await keys_of(sink) == []
        await sink.delete("scenes/none.jpg")
        with pytest.raises(Refused, match=r"none\.jpg"):
            await sink.digest("scenes/none.jpg")
        with pytest.raises(Refused, match=r"none\.jpg"):
            await sink.get("scenes/none.jpg", tmp_path / "back")
        assert not (tmp_path / "back").exists()

    async def test_a_download_overwrites_nothing(self, sink: Sink, tmp_path: Path) -> None:
        upload = upload_of(tmp_path / "a", b"bytes")
        await sink.put(upload)
        (tmp_path / "mine").write_bytes(b"mine")
        with pytest.raises(Refused):
            await sink.get(upload.key, tmp_path / "mine")
        assert (tmp_path / "mine").read_bytes() == b"mine"

    async def test_deleted_is_gone(self, sink: Sink, tmp_path: Path) -> None:
        await sink.put(upload_of(tmp_path / "a", b"a", "x/a"))
        await sink.put(upload_of(tmp_path / "b", b"b", "x/y/b"))
        await sink.delete("x/y/b")
        assert await sink.head("x/y/b") is None
        assert await keys_of(sink) == ["x/a"]

    @pytest.mark.parametrize("name", WEIRD_NAMES)
    async def test_weird_names_come_back_as_they_went(self, sink: Sink, tmp_path: Path, name: str) -> None:
        upload = upload_of(tmp_path / "a", name.encode(), f"scenes/{name}")
        await sink.put(upload)
        assert await keys_of(sink, "scenes/") == [upload.key]
        found = await sink.head(upload.key)
        assert found is not None
        assert await sink.digest(upload.key) == upload.sha256
        await sink.delete(upload.key)
        assert await keys_of(sink) == []

    @pytest.mark.parametrize(
        "key",
        [
            "",
            "/absolute",
            "../up",
            "a/../../up",
            "a//b",
            "a/./b",
            "a/",
            "nul\0",
            "line\nfeed",
            "\udcff",
            "k" * 1025,
        ],
    )
    async def test_keys_that_are_no_plain_path_are_refused(
        self, sink: Sink, tmp_path: Path, key: str
    ) -> None:
        with pytest.raises(Refused):
            await sink.put(upload_of(tmp_path / "a", b"a", key))
        with pytest.raises(Refused):
            await sink.head(key)
        with pytest.raises(Refused):
            await sink.delete(key)
        assert await keys_of(sink) == []

    async def test_other_bytes_than_promised_are_not_stored(self, sink: Sink, tmp_path: Path) -> None:
        upload = upload_of(tmp_path / "a", b"what was read first")
        (tmp_path / "a").write_bytes(b"what was put later!")
        with pytest.raises(Changed):
            await sink.put(upload)
        assert await keys_of(sink) == []
        assert await self.leftovers(sink) == []

    @pytest.mark.parametrize("content", [b"", b"short", b"much longer than it was before"])
    async def test_another_length_is_not_stored(self, sink: Sink, tmp_path: Path, content: bytes) -> None:
        upload = upload_of(tmp_path / "a", b"what was read")
        (tmp_path / "a").write_bytes(content)
        with pytest.raises(Changed):
            await sink.put(upload)
        assert await keys_of(sink) == []
        assert await self.leftovers(sink) == []

    async def test_a_vanished_file_is_a_changed_one(self, sink: Sink, tmp_path: Path) -> None:
        upload = upload_of(tmp_path / "a", b"bytes")
        (tmp_path / "a").unlink()
        with pytest.raises(Changed):
            await sink.put(upload)

    async def test_a_failed_put_leaves_the_old_object(self, sink: Sink, tmp_path: Path) -> None:
        old = upload_of(tmp_path / "old", b"old")
        await sink.put(old)
        new = upload_of(tmp_path / "new", b"new")
        (tmp_path / "new").write_bytes(b"nex")
        with pytest.raises(Changed):
            await sink.put(new)
        assert await sink.digest(old.key) == old.sha256

    async def test_listing_goes_on_past_a_page(self, sink: Sink, tmp_path: Path) -> None:
        upload = upload_of(tmp_path / "a", b"x")
        expected = [f"pages/{number:04}" for number in range(1100)]
        limit = anyio.Semaphore(32)

        async def put(key: str) -> None:
            async with limit:
                await sink.put(replace(upload, key=key))

        async with anyio.create_task_group() as group:
            for key in [*expected, "other/1"]:
                group.start_soon(put, key)
        assert await keys_of(sink, "pages/") == expected
        assert await keys_of(sink, "pages/000") == expected[:10]
        assert await keys_of(sink, "oth") == ["other/1"]

    async def test_many_at_once_do_not_mix(self, sink: Sink, tmp_path: Path) -> None:
        uploads = [upload_of(tmp_path / f"{n}", os.urandom(5000 + n), f"many/{n}") for n in range(40)]
        async with anyio.create_task_group() as group:
            for upload in uploads:
                group.start_soon(sink.put, upload)
        for upload in uploads[::7]:
            assert await sink.digest(upload.key) == upload.sha256
        assert {(o.key, o.size_bytes) async for o in sink.list("many/")} == {
            (upload.key, upload.size_bytes) for upload in uploads
        }

    async def test_cancelled_puts_leave_whole_objects_or_nothing(self, sink: Sink, tmp_path: Path) -> None:
        uploads = [upload_of(tmp_path / f"{n}", os.urandom(300_000), f"cut/{n}") for n in range(20)]
        for delay_s in (0.0, 0.002, 0.01):
            with anyio.move_on_after(delay_s):
                async with anyio.create_task_group() as group:
                    for upload in uploads:
                        group.start_soon(sink.put, upload)
        sizes = {found.size_bytes async for found in sink.list("")}
        assert sizes <= {300_000}
        assert await self.leftovers(sink) == []
        await sink.put(uploads[0])
        assert await sink.digest(uploads[0].key) == uploads[0].sha256
