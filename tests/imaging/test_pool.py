"""The pool: right answers to many callers at once, whatever happens to a worker or a caller."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import signal
import struct
import subprocess
import sys
import textwrap
from datetime import datetime
from pathlib import Path

import anyio
import imagehash
import pytest
from PIL import Image, ImageOps

import syncd.imaging.pool as pool_module
from syncd.errors import Changed, Refused, Transient
from syncd.imaging.pool import ImagingPool
from syncd.imaging.processes import worker_environment
from tests.pictures import make_jpeg, write_jpeg

TAKEN = datetime(2025, 11, 4, 17, 30, 59)


def alive(pid: int) -> bool:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    return False


async def until_gone(pids: list[int]) -> None:
    with anyio.fail_after(5):
        while any(alive(pid) for pid in pids):
            await anyio.sleep(0.01)


def write_slow_jpeg(path: Path, scans: int) -> Path:
    """A small file that takes about 15 ms a scan to decode: a progressive JPEG that repeats its last one."""
    buffer = io.BytesIO()
    Image.new("L", (4000, 4000), 128).save(buffer, "JPEG", progressive=True)
    data = buffer.getvalue()
    last = data.rindex(b"\xff\xda")
    path.write_bytes(data[:last] + data[last:-2] * scans + data[-2:])
    return path


async def test_facts_of_a_photo(pool: ImagingPool, tmp_path: Path) -> None:
    data = write_jpeg(tmp_path / "a.jpg", 1, captured_at=TAKEN, orientation=6, gps=True)
    facts = await pool.inspect(str(tmp_path / "a.jpg"), root=str(tmp_path))
    stat = (tmp_path / "a.jpg").stat()
    assert facts.sha256 == hashlib.sha256(data).hexdigest()
    assert facts.md5 == hashlib.md5(data).hexdigest()
    assert facts.stat == (stat.st_ctime_ns, stat.st_mtime_ns, stat.st_size, stat.st_ino)
    assert (facts.image_format, facts.content_type, facts.needs_rendering) == ("JPEG", "image/jpeg", False)
    assert (facts.width, facts.height) == (1067, 1600)
    assert facts.captured_at == "2025-11-04T17:30:59"
    assert (facts.camera_make, facts.aperture, facts.shutter_speed) == ("Nikon", "f/2.8", "1/250")
    assert facts.decode_error is None
    full = imagehash.phash(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    assert imagehash.hex_to_hash(str(facts.perceptual_hash)) - full <= 2
    assert await pool.perceptual_hash(data) == facts.perceptual_hash


async def test_many_callers_get_their_own_answers(pool: ImagingPool, tmp_path: Path) -> None:
    expected = {
        str(tmp_path / f"{seed}.jpg"): hashlib.sha256(
            write_jpeg(tmp_path / f"{seed}.jpg", seed, width=320, height=200)
        ).hexdigest()
        for seed in range(100)
    }
    found: dict[str, str] = {}

    async def inspect(path: str) -> None:
        found[path] = (await pool.inspect(path)).sha256

    async with anyio.create_task_group() as tasks:
        for path in expected:
            tasks.start_soon(inspect, path)
    assert found == expected
    assert pool.inspected == 100
    assert pool.queue == (0, 0)
    assert len(pool.worker_pids) == 2


async def test_cancelled_callers_leave_nothing_behind(pool: ImagingPool, tmp_path: Path) -> None:
    for seed in range(20):
        write_jpeg(tmp_path / f"{seed}.jpg", seed, width=640, height=400)
    async with anyio.create_task_group() as tasks:
        for seed in range(20):
            tasks.start_soon(pool.inspect, str(tmp_path / f"{seed}.jpg"))
        await anyio.sleep(0.005)
        tasks.cancel_scope.cancel()
    facts = await pool.inspect(str(tmp_path / "3.jpg"))
    assert facts.sha256 == hashlib.sha256((tmp_path / "3.jpg").read_bytes()).hexdigest()
    with anyio.fail_after(5):
        while pool.queue != (0, 0):
            await anyio.sleep(0.01)
    assert pool.killed == 0


async def test_a_cancelled_rendition_leaves_no_file(pool: ImagingPool, tmp_path: Path) -> None:
    path = write_slow_jpeg(tmp_path / "a.png", 60)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    with anyio.move_on_after(0.4):
        await pool.render(str(path), tmp_path / "out.jpg", sha256)
        pytest.fail("the rendition was too quick for this test")
    with anyio.fail_after(15):
        while pool.queue != (0, 0):
            await anyio.sleep(0.02)
    assert {file.name for file in tmp_path.iterdir()} == {"a.png", "staging"}


async def test_urgent_work_overtakes(tmp_path: Path) -> None:
    order: list[str] = []
    for seed in range(12):
        write_jpeg(tmp_path / f"{seed}.jpg", seed)

    async def inspect(seed: int) -> None:
        await pool.inspect(str(tmp_path / f"{seed}.jpg"))
        order.append("inspect")

    async def preview() -> None:
        await pool.preview(str(tmp_path / "0.jpg"), 100, 100)
        order.append("preview")

    async with ImagingPool(1, tmp_path / "staging") as pool, anyio.create_task_group() as tasks:
        for seed in range(12):
            tasks.start_soon(inspect, seed)
        tasks.start_soon(preview)
    assert order.index("preview") <= 2


async def test_a_worker_killed_at_work_is_replaced_and_its_photo_done(
    pool: ImagingPool, tmp_path: Path
) -> None:
    path = write_slow_jpeg(tmp_path / "slow.jpg", 60)
    write_jpeg(tmp_path / "a.jpg", 1)
    await pool.inspect(str(tmp_path / "a.jpg"))
    hashes: list[str | None] = []

    async def inspect(name: str) -> None:
        hashes.append((await pool.inspect(str(tmp_path / name))).perceptual_hash)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(inspect, path.name)
        for _ in range(10):
            tasks.start_soon(inspect, "a.jpg")
        await anyio.sleep(0.1)
        victims = pool.worker_pids
        for pid in victims:
            os.kill(pid, signal.SIGKILL)
    assert len(hashes) == 11
    assert None not in hashes
    assert pool.killed >= 1
    assert not set(victims) & set(pool.worker_pids)


async def test_the_first_process_may_die_too(pool: ImagingPool, tmp_path: Path) -> None:
    write_jpeg(tmp_path / "a.jpg", 1)
    await pool.inspect(str(tmp_path / "a.jpg"))
    parent = int(Path(f"/proc/{pool.worker_pids[0]}/stat").read_text().rsplit(")", 1)[1].split()[1])
    victims = list(pool.worker_pids)
    os.kill(parent, signal.SIGKILL)
    await until_gone(victims)
    assert (await pool.inspect(str(tmp_path / "a.jpg"))).decode_error is None


async def test_a_photo_that_takes_too_long_is_set_aside_until_it_changes(tmp_path: Path) -> None:
    slow = write_slow_jpeg(tmp_path / "slow.jpg", 5000)
    write_jpeg(tmp_path / "a.jpg", 1, width=200, height=100)
    async with ImagingPool(2, tmp_path / "staging", time_limit_s=1) as pool:
        done: list[str] = []

        async def inspect() -> None:
            done.append((await pool.inspect(str(tmp_path / "a.jpg"))).sha256)

        async with anyio.create_task_group() as tasks:
            for _ in range(8):
                tasks.start_soon(inspect)
            with pytest.raises(
                Refused, match=r"set aside: it killed a worker three times \(it took longer than 1 s\)"
            ):
                await pool.inspect(str(slow))
        assert len(done) == 8
        assert pool.killed == 3
        with pytest.raises(Refused, match="set aside"):
            await pool.inspect(str(slow))
        with pytest.raises(Refused, match="set aside"):
            await pool.preview(str(slow), 10, 10)
        assert pool.killed == 3
        slow.write_bytes(make_jpeg(2, 100, 100))
        assert (await pool.inspect(str(slow))).image_format == "JPEG"


async def test_memory_is_limited_and_the_worker_lives_on(tmp_path: Path) -> None:
    hungry = tmp_path / "hungry.png"
    Image.new("1", (12_000, 12_000)).save(hungry)  # 22 kB, 144 MB when decoded
    write_jpeg(tmp_path / "a.jpg", 1)
    async with ImagingPool(1, tmp_path / "staging", memory_limit_bytes=220 * 1024**2) as pool:
        facts = await pool.inspect(str(hungry))
        assert facts.decode_error == "needs more memory than a worker may use"
        assert facts.sha256 == hashlib.sha256(hungry.read_bytes()).hexdigest()
        assert (await pool.inspect(str(tmp_path / "a.jpg"))).decode_error is None
        assert pool.killed == 0


async def test_idle_workers_leave_and_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "IDLE_S", 0.05)
    write_jpeg(tmp_path / "a.jpg", 1)
    async with ImagingPool(1, tmp_path / "staging") as pool:
        pool.start()
        await pool.inspect(str(tmp_path / "a.jpg"))
        pids = list(pool.worker_pids)
        await until_gone(pids)
        assert pool.worker_pids == ()
        assert (await pool.inspect(str(tmp_path / "a.jpg"))).decode_error is None
        assert pool.killed == 0


async def test_workers_have_no_secrets_and_no_files_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("R2_SECRET", "canary")
    write_jpeg(tmp_path / "a.jpg", 1)
    secret = tmp_path / "daemon.lock"
    with secret.open("w") as lock:
        os.set_inheritable(lock.fileno(), True)
        async with ImagingPool(1, tmp_path / "staging") as pool:
            await pool.inspect(str(tmp_path / "a.jpg"))
            (pid,) = pool.worker_pids
            process = Path(f"/proc/{pid}")
            environment = (process / "environ").read_bytes()
            assert b"canary" not in environment
            names = {entry.split(b"=")[0].decode() for entry in environment.split(b"\0") if entry}
            assert names == set(worker_environment())
            targets = {os.readlink(fd) for fd in (process / "fd").iterdir()}
            assert {target.split(":")[0] for target in targets} == {"/dev/null", "socket"}
            assert len([fd for fd in (process / "fd").iterdir() if "socket" in os.readlink(fd)]) == 1
            limits = (process / "limits").read_text()
            assert "Max core file size        0" in limits
            assert "Max address space         1610612736" in limits
            assert "NoNewPrivs:\t1" in (process / "status").read_text()


async def test_workers_die_with_a_killed_daemon(tmp_path: Path) -> None:
    write_jpeg(tmp_path / "a.jpg", 1)
    program = textwrap.dedent(
        f"""
        import anyio, pathlib
        from syncd.imaging.pool import ImagingPool

        async def main():
            async with ImagingPool(2, pathlib.Path({str(tmp_path / "staging")!r})) as pool:
                async with anyio.create_task_group() as tasks:
                    for _ in range(8):
                        tasks.start_soon(pool.inspect, {str(tmp_path / "a.jpg")!r})
                print(*pool.worker_pids, flush=True)
                await anyio.sleep(60)

        anyio.run(main)
        """
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as daemon:
        assert daemon.stdout is not None
        pids = [int(word) for word in (await anyio.to_thread.run_sync(daemon.stdout.readline)).split()]
        assert pids
        assert all(alive(pid) for pid in pids)
        daemon.kill()
    await until_gone(pids)


async def test_closing_ends_everything_and_tells_the_waiting(tmp_path: Path) -> None:
    slow = write_slow_jpeg(tmp_path / "slow.jpg", 5000)
    refused: list[str] = []

    async def inspect() -> None:
        with pytest.raises(Transient) as caught:
            await pool.inspect(str(slow))
        refused.append(caught.value.message)

    async with anyio.create_task_group() as tasks, ImagingPool(1, tmp_path / "staging") as pool:
        for _ in range(3):
            tasks.start_soon(inspect)
        while not pool.worker_pids:
            await anyio.sleep(0.01)
        pids = list(pool.worker_pids)
    assert refused == ["syncd is stopping"] * 3
    await until_gone(pids)
    with pytest.raises(Transient):
        await pool.inspect(str(slow))


async def test_workers_that_cannot_start_are_transient(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_jpeg(tmp_path / "a.jpg", 1)
    async with ImagingPool(1, tmp_path / "staging") as pool:
        with monkeypatch.context() as patched:
            patched.setattr(sys, "executable", "/nonexistent/python")
            with pytest.raises(Transient, match="cannot be started"):
                await pool.inspect(str(tmp_path / "a.jpg"))
        assert (await pool.inspect(str(tmp_path / "a.jpg"))).decode_error is None


async def test_previews_are_upright_and_fit(pool: ImagingPool, tmp_path: Path) -> None:
    write_jpeg(tmp_path / "a.jpg", 1, orientation=6)
    jpeg = Image.open(io.BytesIO(await pool.preview(str(tmp_path / "a.jpg"), 200, 120)))
    assert jpeg.size == (80, 120)
    rgb = await pool.preview(str(tmp_path / "a.jpg"), 200, 120, "rgb")
    assert struct.unpack(">HH", rgb[:4]) == (80, 120)
    assert len(rgb) == 4 + 80 * 120 * 3
    assert await pool.preview_of_bytes((tmp_path / "a.jpg").read_bytes(), 200, 120, "rgb") == rgb
    with pytest.raises(Refused):
        await pool.preview_of_bytes(b"<html>", 200, 120)
    big = await pool.preview(str(tmp_path / "a.jpg"), 4096, 4096, "rgb")
    assert struct.unpack(">HH", big[:4]) == (1067, 1600)
    with pytest.raises(Refused):
        await pool.preview(str(tmp_path / "a.jpg"), 0, 10)


async def test_bytes_that_are_no_picture_have_no_hash(pool: ImagingPool) -> None:
    for data in (b"", b"hello", make_jpeg(1)[:2000]):
        with pytest.raises(Refused):
            await pool.perceptual_hash(data)


async def test_changed_and_refused_come_through(pool: ImagingPool, tmp_path: Path) -> None:
    with pytest.raises(Changed, match="gone"):
        await pool.inspect(str(tmp_path / "none.jpg"))
    with pytest.raises(Refused, match="a folder, not a photo"):
        await pool.inspect(str(tmp_path))
