"""The watcher on real folders with real inotify, and short real waits."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from syncd.watchers import folder as folder_module
from syncd.watchers.folder import FolderWatcher
from syncd.watchers.inotify import count_watches, file_system_of, folders_to_watch, silent_file_system

STAGES = ("final_crops", "initial_scan")


class Hints(list[str | None]):
    async def until(self, hint: str | None, count: int = 1, within_s: float = 8) -> None:
        with anyio.fail_after(within_s):
            while self.count(hint) < count:
                await anyio.sleep(0.005)


@asynccontextmanager
async def watching(root: Path, **options: object) -> AsyncIterator[tuple[FolderWatcher, Hints]]:
    hints = Hints()
    watcher = FolderWatcher(root, STAGES, hints.append, **{"quiet_s": 30.0, **options})  # type: ignore[arg-type]
    async with anyio.create_task_group() as group:
        group.start_soon(watcher.run)
        with anyio.fail_after(5):
            await watcher.watching.wait()
        yield watcher, hints
        group.cancel_scope.cancel()


async def until(condition: Callable[[], bool], within_s: float = 8) -> None:
    with anyio.fail_after(within_s):
        while not condition():
            await anyio.sleep(0.005)


async def test_files_in_old_and_new_folders_are_hinted(tmp_path: Path) -> None:
    (tmp_path / "b1/final_crops").mkdir(parents=True)
    async with watching(tmp_path) as (watcher, hints):
        assert hints == [None]
        (tmp_path / "b1/final_crops/a.jpg").touch()
        await hints.until("b1")
        (tmp_path / "b2/final_crops").mkdir(parents=True)
        await until(lambda: watcher.watches == 5)
        hints.clear()
        (tmp_path / "b2/final_crops/a.jpg").touch()
        await hints.until("b2")
        (tmp_path / "b2/final_crops/a.jpg").unlink()
        await hints.until("b2", 2)
        assert set(hints) == {"b2"}
        assert (watcher.mode, watcher.overflows) == ("inotify", 0)
    await until(lambda: count_watches() == 0)


async def test_hidden_and_partial_names_are_no_hint_until_renamed(tmp_path: Path) -> None:
    stage = tmp_path / "b1/final_crops"
    stage.mkdir(parents=True)
    async with watching(tmp_path) as (_, hints):
        hints.clear()
        for name in (".a.jpg", "a.jpg.part", "b.tmp", "~c.jpg"):
            (stage / name).write_text("x")
        await anyio.sleep(0.3)
        assert hints == []
        (stage / "a.jpg.part").rename(stage / "a.jpg")
        await hints.until("b1")


async def test_a_quiet_batch_is_hinted_once_more(tmp_path: Path) -> None:
    (tmp_path / "b1").mkdir()
    async with watching(tmp_path, quiet_s=0.3) as (_, hints):
        await hints.until(None, 2)
        hints.clear()
        (tmp_path / "b1/a.jpg").touch()
        await hints.until("b1", 2)
        await anyio.sleep(0.5)
        assert hints == ["b1", "b1"]


async def test_a_burst_asks_for_everything_and_is_counted(tmp_path: Path) -> None:
    (tmp_path / "b1").mkdir()
    async with watching(tmp_path, burst=50) as (watcher, hints):
        hints.clear()
        for number in range(400):
            (tmp_path / f"b1/{number}.jpg").touch()
        await hints.until(None)
        assert watcher.overflows >= 1


async def test_a_folder_that_went_and_came_again_is_watched(tmp_path: Path) -> None:
    (tmp_path / "b1/final_crops").mkdir(parents=True)
    async with watching(tmp_path) as (watcher, hints):
        shutil.rmtree(tmp_path / "b1")
        (tmp_path / "b1/final_crops").mkdir(parents=True)
        await until(lambda: watcher.watches == 3)
        await anyio.sleep(0.2)
        hints.clear()
        (tmp_path / "b1/final_crops/a.jpg").touch()
        await hints.until("b1")


async def test_links_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "deep/deeper").mkdir(parents=True)
    root = tmp_path / "images"
    (root / "b1").mkdir(parents=True)
    (root / "b1/final_crops").symlink_to(outside)
    (root / "link").symlink_to(outside)
    (root / "b1/unknown/deep").mkdir(parents=True)
    assert list(folders_to_watch(str(root), STAGES)) == [str(root), str(root / "b1")]
    async with watching(root) as (watcher, _):
        await until(lambda: watcher.watches == 2)


async def test_a_name_that_is_not_utf8_does_not_end_the_watch(tmp_path: Path) -> None:
    (tmp_path / "b1").mkdir()
    async with watching(tmp_path) as (watcher, hints):
        hints.clear()
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/b1/\xff.jpg")).touch()
        await hints.until(None, 2)  # for what may be lost, and once the new watch is there
        assert watcher.watching.is_set()
        (tmp_path / "b1/a.jpg").touch()
        await hints.until("b1")
        assert watcher.overflows == 1


async def test_a_root_that_goes_comes_back_or_is_swapped(tmp_path: Path) -> None:
    root = tmp_path / "images"
    (root / "b1").mkdir(parents=True)
    async with watching(root) as (watcher, hints):
        root.rename(tmp_path / "away")
        await until(lambda: not watcher.watching.is_set() and watcher.watches == 0)
        assert watcher.overflows == 1
        await until(lambda: "No such file" in (watcher.error or ""))
        hints.clear()
        (root / "b2").mkdir(parents=True)
        await hints.until(None)
        assert watcher.watching.is_set() and watcher.error is None
        (root / "b2/a.jpg").touch()
        await hints.until("b2")


async def test_a_root_that_is_missing_at_first_is_waited_for(tmp_path: Path) -> None:
    hints = Hints()
    root = tmp_path / "later"
    watcher = FolderWatcher(root, STAGES, hints.append)
    async with anyio.create_task_group() as group:
        group.start_soon(watcher.run)
        await until(lambda: watcher.error is not None)
        assert hints == [] and watcher.overflows == 0
        root.mkdir()
        await hints.until(None)
        group.cancel_scope.cancel()


async def test_polling_asks_for_everything_again_and_again(tmp_path: Path) -> None:
    async with watching(tmp_path, force_polling=True, poll_s=0.05) as (watcher, hints):
        await hints.until(None, 4)
        assert (watcher.mode, watcher.watches, count_watches()) == ("polling", 0, 0)
        watcher.listing_took(0.05)
        await anyio.sleep(0.2)
        count = len(hints)
        await anyio.sleep(0.3)
        assert len(hints) <= count + 1


async def test_everything_is_asked_for_every_so_often(tmp_path: Path) -> None:
    async with watching(tmp_path, rescan_minutes=0.1 / 60) as (watcher, hints):
        await hints.until(None, 4)
        assert watcher.overflows == 0


async def test_a_stall_of_the_loop_asks_for_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_module, "HEARTBEAT_S", 0.05)
    monkeypatch.setattr(folder_module, "STALL_S", 0.2)
    async with watching(tmp_path) as (watcher, hints):
        await anyio.sleep(0.1)
        hints.clear()
        time.sleep(0.5)
        await hints.until(None)
        assert watcher.overflows == 1


async def test_ends_promptly_when_cancelled(tmp_path: Path) -> None:
    async with watching(tmp_path) as (watcher, _):
        await until(lambda: watcher.watches == 1)
        ending = time.monotonic()
    assert time.monotonic() - ending < 1
    await until(lambda: count_watches() == 0)


_LOSES = """
import sys, anyio
from pathlib import Path
from syncd.watchers.folder import FolderWatcher
seen = []
async def main():
    watcher = FolderWatcher(Path(sys.argv[1]), ("final_crops",), seen.append)
    async with anyio.create_task_group() as group:
        group.start_soon(watcher.run)
        await watcher.watching.wait()
        await anyio.sleep(0.2)
        del seen[:]
        print("ready", flush=True)
        with anyio.fail_after(10):
            while None not in seen or not watcher.overflows:
                await anyio.sleep(0.01)
        print("overflow", flush=True)
        group.cancel_scope.cancel()
anyio.run(main)
"""


def test_an_overflow_of_the_kernels_queue_asks_for_everything(tmp_path: Path) -> None:
    (tmp_path / "b1").mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", _LOSES, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGSTOP)
        queue = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
        for number in range(queue // 3):
            os.close(os.open(tmp_path / f"b1/{number}.jpg", os.O_CREAT | os.O_WRONLY))
        process.send_signal(signal.SIGCONT)
        assert process.stdout.readline() == "overflow\n"
    assert process.returncode == 0


_LIMITED = """
import sys, anyio
from pathlib import Path
from syncd.watchers.folder import FolderWatcher
Path("/proc/sys/user/" + sys.argv[2]).write_text(sys.argv[3])
seen = []
async def main():
    watcher = FolderWatcher(Path(sys.argv[1]), ("final_crops",), seen.append, poll_s=0.05)
    async with anyio.create_task_group() as group:
        group.start_soon(watcher.run)
        with anyio.fail_after(8):
            while len(seen) < 5:
                await anyio.sleep(0.01)
        print(watcher.mode, watcher.watches, watcher.error)
        group.cancel_scope.cancel()
anyio.run(main)
"""


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [("max_inotify_watches", "5", "limit reached"), ("max_inotify_instances", "0", "Too many open files")],
)
def test_where_the_limit_is_reached_it_polls(tmp_path: Path, setting: str, value: str, words: str) -> None:
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-Ur", "true"], capture_output=True).returncode:
        pytest.skip("no user namespaces here, in which a limit could be set")
    for number in range(10):
        (tmp_path / f"b{number}").mkdir()
    command = [unshare, "-Ur", sys.executable, "-c", _LIMITED, str(tmp_path), setting, value]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("polling 0 "), done
    assert words in done.stdout


MOUNTS = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:30 / /mnt/nas rw - nfs4 nas:/photos rw
31 30 0:31 / /mnt/nas/local rw - ext4 /dev/sdb rw
32 22 0:32 / /mnt/my\\040cloud rw shared:5 master:1 - fuse.rclone remote: rw
33 22 0:33 / /mnt/usb rw - fuseblk /dev/sdc1 rw
34 22 0:34 / /mnt/usb rw - cifs //server/share rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "ext4"),
        ("/mnt/nasty", "ext4"),
        ("/mnt/nas", "nfs4"),
        ("/mnt/nas/a/b", "nfs4"),
        ("/mnt/nas/local/a", "ext4"),
        ("/mnt/my cloud/x", "fuse.rclone"),
        ("/mnt/usb/a", "cifs"),
    ],
)
def test_the_file_system_of_a_path_is_its_innermost_mount(path: str, kind: str) -> None:
    assert file_system_of(path, MOUNTS) == kind


@pytest.mark.parametrize(
    ("kind", "silent"), [("ext4", False), ("fuseblk", False), ("nfs4", True), ("fuse.rclone", True)]
)
def test_network_and_fuse_mounts_are_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, silent: bool
) -> None:
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: f"1 0 0:1 / / rw - {kind} x rw\n")
    assert silent_file_system(tmp_path) == (kind if silent else None)
