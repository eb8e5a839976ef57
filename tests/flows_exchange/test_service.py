"""The table `images` in step with the files, and the inbox that imports by itself."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import RFC_4122, UUID

import anyio
import pytest

from syncd.api_exchange import ExchangeAnswers
from syncd.config import Config, DaemonConfig, ExchangeConfig
from syncd.control.schema import ExchangeExportRequest
from syncd.flows import exchange_service
from syncd.flows.exchange_service import ExchangeService
from tests.flows_exchange.conftest import Desk
from tests.flows_exchange.indafoto import Indafoto


class Handle:
    """What the supervisor would be told."""

    name = "exchange"

    def __init__(self) -> None:
        self.said: list[tuple[str, str | None]] = [("starting", None)]

    def ready(self) -> None:
        self.set_state("running")

    def set_state(self, state: str, reason: str | None = None) -> None:
        self.said.append((state, reason))


async def until(condition: Any) -> None:
    with anyio.fail_after(10):
        while not condition():
            await anyio.sleep(0.02)


async def test_the_inbox_imports_what_was_asked_for(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange_service, "_INBOX_LOOK_S", 0.02)
    monkeypatch.setattr(exchange_service, "_INBOX_AGAIN_S", 0.05)
    theirs, inbox = Indafoto(tmp_path / "theirs"), tmp_path / "inbox"
    sha256 = theirs.add(b"a photo" * 100, author="Anna")
    late = theirs.add(b"another" * 100, author="Bea", place="images/late.jpg")
    found = await desk.analyze(None, theirs.path)
    (theirs.folder / "images/late.jpg").rename(tmp_path / "late.jpg")
    daemon = replace(DaemonConfig(), state_dir=desk.folder)
    config = replace(Config(), daemon=daemon, exchange=ExchangeConfig(inbox=str(inbox)))
    told: list[str] = []
    service = ExchangeService(desk.catalogue, lambda: config, lambda *entry: told.append(entry[3]))
    handle = Handle()

    async def held() -> list[Any]:
        async with desk.catalogue.reader() as db:
            rows = await db.execute_fetchall("SELECT sha256_hash, author FROM images")
        return [tuple(row) for row in rows]

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(service.run, handle)  # type: ignore[arg-type]
        await until(lambda: handle.said[-1][0] == "blocked")  # there is no such folder yet
        away = tmp_path / "away"
        await desk.export(theirs.path, found.list_file, away)
        (photo,) = away.rglob("*.jpg")
        content = photo.read_bytes()
        photo.write_bytes(content[:100])  # a file share brings things in any order, and in parts
        (inbox / "manifest-unknown.jsonl").parent.mkdir()
        (inbox / "manifest-unknown.jsonl").write_text("{}")
        away.rename(inbox / "from-anna")
        await until(lambda: handle.said[-1][0] == "running")
        await anyio.sleep(0.2)
        assert await held() == []
        (inbox / "from-anna" / photo.relative_to(away)).write_bytes(content)
        await until(lambda: told)
        assert await held() == [(sha256, "Anna")]
        await anyio.sleep(0.3)  # what was missing is not looked for in the same manifest again
        (tmp_path / "late.jpg").rename(theirs.folder / "images/late.jpg")
        await desk.export(theirs.path, found.list_file, inbox / "from-anna")
        await until(lambda: len(told) == 2)
        tasks.cancel_scope.cancel()
    assert await held() == [(sha256, "Anna"), (late, "Bea")], told
    assert told == [f"{count} files taken from {inbox / 'from-anna'}" for count in (1, 2)]
    assert (desk.folder / "exchange" / f"receipt-{found.list_id}.jsonl").exists()


async def test_images_are_in_step_with_versions(desk: Desk) -> None:
    async def run(*statements: str) -> list[Any]:
        async def write(db: Any) -> list[Any]:
            for statement in statements:
                await db.execute(statement)
            rows = await db.execute_fetchall(
                "SELECT version_id, local_path, sha256_hash, taken_date, camera_make, size_bytes FROM images"
                " ORDER BY version_id"
            )
            return [tuple(row) for row in rows]

        return await desk.catalogue.write(write)

    new = (
        "INSERT INTO image_versions (version_id, scene_id, version_type, relative_path, local_path, sha256,"
        " size_bytes, captured_at, camera_make) VALUES ({0}, 's', 'final_crops', 'b/{0}', '/p/{0}', {1}, 7,"
        " '2020-01-01T00:00:00', 'Zenit')"
    )
    one = (1, "/p/1", "a", "2020-01-01T00:00:00", "Zenit", 7)
    assert await run(
        "INSERT INTO public_site_batches (batch_name) VALUES ('b')",
        "INSERT INTO scenes (scene_id, batch_name, base_filename) VALUES ('s', 'b', 'x')",
        new.format(1, "'a'"), new.format(2, "NULL"),
    ) == [one]  # fmt: skip
    assert await run("UPDATE image_versions SET is_current = 1 WHERE version_id = 1") == [one]
    assert await run("UPDATE image_versions SET gone_at = 'now' WHERE version_id = 1") == []
    assert await run("UPDATE image_versions SET gone_at = NULL WHERE version_id = 1") == [one]
    moved = await run("UPDATE image_versions SET local_path = '/q/1', size_bytes = 8 WHERE version_id = 1")
    assert moved == [(1, "/q/1", "a", "2020-01-01T00:00:00", "Zenit", 8)]
    assert await run("UPDATE image_versions SET superseded_at = 'now' WHERE version_id = 1") == []
    assert await run("UPDATE image_versions SET gone_at = 'now' WHERE version_id = 1") == []
    assert await run("UPDATE image_versions SET gone_at = NULL WHERE version_id = 1") == []
    assert len(await run(new.format(3, "'c'"), new.format(4, "'d'"))) == 2
    async with desk.catalogue.reader() as db:
        uuids = [UUID(text) for (text,) in await db.execute_fetchall("SELECT uuid FROM images")]
    assert [(uuid.version, uuid.variant) for uuid in uuids] == [(7, RFC_4122)] * 2
    assert len(set(uuids)) == 2
    assert await run("DELETE FROM public_site_batches") == []


async def test_errors_of_disks_are_said_in_plain_words(desk: Desk, tmp_path: Path) -> None:
    """A file system without room for another name, as one that is full has it."""
    theirs = Indafoto(tmp_path / "theirs")
    theirs.add(b"a photo" * 100, author="Anna")
    found = await desk.analyze(None, theirs.path)
    config = replace(Config(), daemon=replace(DaemonConfig(), state_dir=desk.folder))
    service = ExchangeService(desk.catalogue, lambda: config, lambda *entry: None)
    disk = tmp_path / "disk"

    def full(*about: Any, **more: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "ab")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(service.run, Handle())  # type: ignore[arg-type]
        for name in ("mkdir", "fsync"):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(os, name, full)
                payload = {"list_file": found.list_file, "output_dir": str(disk), "db": str(theirs.path)}
                job = await service.jobs.submit(exchange_service.EXPORT, "x", payload)
                row = await service.jobs.outcome(job.id)
            assert row.error is not None and row.error.endswith("the disk is full"), (name, row.error)
            assert row.result is not None and "free some space" in row.result["hint"]
            disk.mkdir(exist_ok=True)
        tasks.cancel_scope.cancel()


async def test_who_asks_for_the_same_again_joins_the_work(desk: Desk, tmp_path: Path) -> None:
    theirs = Indafoto(tmp_path / "theirs")
    theirs.add(b"a photo" * 100)
    found = await desk.analyze(None, theirs.path)
    config = replace(Config(), daemon=replace(DaemonConfig(), state_dir=desk.folder))
    service = ExchangeService(desk.catalogue, lambda: config, lambda *entry: None)
    answers = ExchangeAnswers(service, previews=None, pool=None)  # type: ignore[arg-type]
    request = ExchangeExportRequest(
        list_file=found.list_file or "", output_dir=str(tmp_path / "disk"), db=str(theirs.path)
    )
    given: list[int] = []

    async def ask() -> None:
        given.append((await answers.export(request)).exported)

    async with anyio.create_task_group() as tasks:
        async with anyio.create_task_group() as asking:
            for _ in range(3):
                asking.start_soon(ask)
                await anyio.sleep(0.1)  # each finds what is asked for already, as after a restart
            tasks.start_soon(service.run, Handle())  # type: ignore[arg-type]
        tasks.cancel_scope.cancel()
    assert given == [1, 1, 1]
    assert theirs.sql("SELECT count(*) FROM sync_operations WHERE kind = 'export'") == [(1,)]
