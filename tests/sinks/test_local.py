"""The local folder keeps the contract, and the rules of a file system besides."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import threading
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from syncd.config import StorageConfig
from syncd.errors import AuthRejected, Refused, Transient
from syncd.sinks import open_sink, storage_id_of
from syncd.sinks.folders import TEMPORARY, FolderSync
from syncd.sinks.local import LocalSink
from syncd.sinks.sink import Sink
from tests.contracts.sink_contract import MemoryLedger, SinkContract, keys_of, upload_of


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "site"


@pytest.fixture
async def sink(root: Path) -> AsyncIterator[LocalSink]:
    async with LocalSink(root, "", "local:test") as sink:
        yield sink


class TestContract(SinkContract):
    keeps_metadata = False

    async def leftovers(self, sink: Sink) -> list[str]:
        assert isinstance(sink, LocalSink)
        return [path.name for path in sink._root.rglob(f"{TEMPORARY}*")]


@pytest.fixture
def strict_umask() -> Iterator[None]:
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.mark.usefixtures("strict_umask")
async def test_a_web_server_may_read_whatever_the_umask(sink: LocalSink, root: Path, tmp_path: Path) -> None:
    await sink.put(upload_of(tmp_path / "a", b"a", "x/y/a.jpg"))
    assert (root / "x/y/a.jpg").stat().st_mode & 0o777 == 0o644
    assert [(root / part).stat().st_mode & 0o777 for part in ("", "x", "x/y")] == [0o755] * 3


async def test_nothing_is_written_through_a_symlink(sink: LocalSink, root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    root.mkdir()
    (root / "scenes").symlink_to(outside)
    (root / "file").symlink_to(outside / "canary")
    (outside / "canary").write_bytes(b"canary")
    for call in (sink.head, sink.digest, sink.delete):
        with pytest.raises(Refused):
            await call("scenes/canary")
    with pytest.raises(Refused):
        await sink.put(upload_of(tmp_path / "a", b"a", "scenes/a.jpg"))
    with pytest.raises(Refused):
        await sink.digest("file")
    await sink.put(upload_of(tmp_path / "a", b"a", "file"))  # replaces the link itself
    assert not (root / "file").is_symlink()
    assert {path.name: path.read_bytes() for path in outside.iterdir()} == {"canary": b"canary"}
    assert await keys_of(sink) == ["file"]


async def test_a_symlinked_or_special_source_is_not_read(sink: LocalSink, tmp_path: Path) -> None:
    upload = upload_of(tmp_path / "a", b"secret")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    with pytest.raises(Refused):
        await sink.put(replace(upload, path=tmp_path / "link"))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Refused):
        await sink.put(replace(upload, path=tmp_path / "pipe"))


async def test_a_name_too_long_for_the_file_system_is_refused(sink: LocalSink, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="longer"):
        await sink.put(upload_of(tmp_path / "a", b"a", "x/" + "n" * 300))
    assert list(sink._root.rglob(f"{TEMPORARY}*")) == []


async def test_delete_takes_empty_folders_along_but_never_the_root(
    sink: LocalSink, root: Path, tmp_path: Path
) -> None:
    upload = upload_of(tmp_path / "a", b"a", "x/y/z/a")
    await sink.put(upload)
    await sink.put(replace(upload, key="x/b"))
    await sink.delete("x/y/z/a")
    assert [path.name for path in root.rglob("*")] == ["x", "b"]
    await sink.delete("x/b")
    assert list(root.iterdir()) == []


async def test_puts_and_deletes_race_for_a_folder(sink: LocalSink, tmp_path: Path) -> None:
    upload = upload_of(tmp_path / "a", b"a")

    async def churn(name: str) -> None:
        for _ in range(30):
            await sink.put(replace(upload, key=f"p/q/{name}"))
            await sink.delete(f"p/q/{name}")

    async with anyio.create_task_group() as group:
        for number in range(6):
            group.start_soon(churn, str(number))
    assert await keys_of(sink) == []


async def test_a_root_that_vanished_is_not_made_anew(sink: LocalSink, root: Path, tmp_path: Path) -> None:
    upload = upload_of(tmp_path / "a", b"a")
    await sink.put(upload)
    root.rename(tmp_path / "elsewhere")
    for call in (sink.put(upload), sink.head(upload.key), sink.delete(upload.key), keys_of(sink)):
        with pytest.raises(Transient, match="not there"):
            await call
    assert not root.exists()
    (tmp_path / "elsewhere").rename(root)
    assert (await sink.put(upload)).sha256 == upload.sha256


async def test_a_root_whose_disk_was_swapped_is_not_used(sink: LocalSink, tmp_path: Path) -> None:
    upload = upload_of(tmp_path / "a", b"a")
    await sink.put(upload)
    sink._device = (sink._device or 0) + 1  # what an unmounted disk looks like from here
    with pytest.raises(Transient, match="not there"):
        await keys_of(sink)


async def test_a_root_without_a_parent_waits_for_its_disk(tmp_path: Path) -> None:
    sink = LocalSink(tmp_path / "unmounted" / "site", "", "id")
    assert await keys_of(sink) == []
    with pytest.raises(Transient, match="not there") as caught:
        await sink.put(upload_of(tmp_path / "a", b"a"))
    assert "mount" in (caught.value.hint or "")


async def test_a_full_disk_says_so_and_leaves_nothing(sink: LocalSink, tmp_path: Path) -> None:
    """A full disk cannot be had without mounting one, so the write fails as on one."""
    upload = upload_of(tmp_path / "a", os.urandom(100_000))
    with pytest.MonkeyPatch.context() as patch:

        def full(*_: object) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        patch.setattr(os, "write", full)
        with pytest.raises(Transient, match="full"):
            await sink.put(upload)
    assert await keys_of(sink) == []
    assert list(sink._root.rglob(f"{TEMPORARY}*")) == []


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.EACCES, AuthRejected),
        (errno.EIO, Transient),
        (errno.EROFS, Transient),
        (errno.ENOTDIR, Refused),
    ],
)
async def test_errors_become_decisions(
    sink: LocalSink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, expected: type[Exception]
) -> None:
    upload = upload_of(tmp_path / "a", b"a")

    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "rename", fail)
    with pytest.raises(expected):
        await sink.put(upload)
    assert list(sink._root.rglob(f"{TEMPORARY}*")) == []


async def test_renames_are_durable_before_put_returns(
    sink: LocalSink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file before its rename, its folder after it."""
    steps: list[str] = []
    fsync, rename = os.fsync, os.rename

    def record_fsync(descriptor: int) -> None:
        fsync(descriptor)
        steps.append("folder" if os.path.isdir(f"/proc/self/fd/{descriptor}") else "file")

    def record_rename(*args: str, **kwargs: int) -> None:
        steps.append("rename")
        rename(*args, **kwargs)

    upload = upload_of(tmp_path / "a", b"a")
    await sink.put(upload)
    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(os, "rename", record_rename)
    await sink.put(upload)
    assert steps == ["file", "rename", "folder"]


def test_folder_syncs_that_wait_share_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    first_runs, go_on = threading.Event(), threading.Event()

    def slow_fsync(descriptor: int) -> None:
        calls.append(descriptor)
        first_runs.set()
        assert go_on.wait(5)

    monkeypatch.setattr(os, "fsync", slow_fsync)
    shared = FolderSync()
    folder = os.open(tmp_path, os.O_RDONLY)
    threads = [threading.Thread(target=shared.sync, args=(folder,)) for _ in range(9)]
    threads[0].start()
    assert first_runs.wait(5)
    for thread in threads[1:]:
        thread.start()
    while sum(turn.asked for turn in shared._folders.values()) < len(threads):
        time.sleep(0.001)
    go_on.set()
    for thread in threads:
        thread.join()
    os.close(folder)
    assert len(calls) == 2  # the one that ran, and one for all that came meanwhile


async def test_the_sweep_spares_files_that_are_being_written(
    sink: LocalSink, root: Path, tmp_path: Path
) -> None:
    await sink.put(upload_of(tmp_path / "a", b"a", "x/a"))
    (root / "x" / f"{TEMPORARY}dead").write_bytes(b"half")
    living = root / "x" / f"{TEMPORARY}living"
    with living.open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert await sink.abort_unfinished() == 1
        assert living.exists()
    assert await sink.abort_unfinished() == 1
    assert await keys_of(sink) == ["x/a"]


async def test_no_descriptor_is_left_open(sink: LocalSink, tmp_path: Path) -> None:
    upload = upload_of(tmp_path / "a", b"a", "x/y/a")
    await sink.put(upload)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        await sink.put(upload)
        await sink.head(upload.key)
        await sink.digest(upload.key)
        await keys_of(sink)
        with pytest.raises(Refused):
            await sink.head("x/y/a/b")
    assert len(os.listdir("/proc/self/fd")) == before
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > before


def test_addresses(tmp_path: Path) -> None:
    assert LocalSink(tmp_path, "", "id").url("scenes/ä b.jpg") == f"file://{tmp_path}/scenes/%C3%A4%20b.jpg"
    public = LocalSink(tmp_path, "https://photos.example/", "id")
    assert public.url("scenes/ä b+c.jpg") == "https://photos.example/scenes/%C3%A4%20b%2Bc.jpg"


def test_the_id_names_the_place_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    base = StorageConfig(base_path=Path("site"))
    same = replace(base, base_path=tmp_path / "x" / ".." / "site", public_url="https://a", concurrency=2)
    assert storage_id_of(base) == storage_id_of(same)
    r2 = replace(base, type="r2", account_id="acc", bucket_name="b", access_key_id="k")
    assert storage_id_of(r2) == storage_id_of(replace(r2, access_key_id="other", public_url="https://a"))
    assert storage_id_of(r2) == storage_id_of(
        replace(r2, endpoint_url="https://acc.r2.cloudflarestorage.com/")
    )
    others = [
        base,
        r2,
        replace(base, prefix="p/"),
        replace(base, base_path=Path("other")),
        replace(r2, bucket_name="c"),
        replace(r2, account_id="other"),
        replace(r2, prefix="p/"),
    ]
    assert len({storage_id_of(config) for config in others}) == len(others)


async def test_open_sink_is_guarded_and_loads_no_boto(tmp_path: Path) -> None:
    async with open_sink(StorageConfig(base_path=tmp_path / "site"), MemoryLedger()) as sink:
        stored = await sink.put(upload_of(tmp_path / "a", b"a"))
        assert await sink.digest(stored.key) == stored.sha256
        assert sink.storage_id == storage_id_of(StorageConfig(base_path=tmp_path / "site"))
