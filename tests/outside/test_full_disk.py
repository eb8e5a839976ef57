"""Disks that fill up, as small file systems of their own."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.outside.installation import Installation, small_jpeg, wait_for


@pytest.fixture
def small_disk() -> Iterator[Callable[[Path, str], None]]:
    """Mounts (or grows) a file system of this size; they go afterwards."""
    mounted: list[Path] = []

    def mount(folder: Path, size: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        options = f"remount,size={size}" if folder in mounted else f"size={size}"
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, check=False
        )
        if done.returncode:
            pytest.skip("mounting is not permitted here")
        if folder not in mounted:
            mounted.append(folder)

    yield mount
    for folder in reversed(mounted):
        subprocess.run(["umount", "-l", folder], check=False)


def test_full_storage(place: Installation, small_disk: Callable[[Path, str], None]) -> None:
    small_disk(place.storage, "256k")
    for n in range(12):
        place.add(f"b/final_crops/{n:02}.jpg", small_jpeg(n) + bytes(40_000))
    with place.daemon() as daemon:
        site = wait_for(lambda: (s := daemon.services()["site"])["state"] == "backing_off" and s, 15, "told")
        assert "full" in site["last_error"]
        assert 0 < len(place.live()) < 12
        place.check(complete=False)
        for scene, key in place.live().items():
            assert place.read(key).startswith(small_jpeg(int(scene[2:])))
        small_disk(place.storage, "8m")
        daemon.wait_live([f"scenes/b-{n:02}.jpg" for n in range(12)], 18)
        wait_for(lambda: daemon.services()["site"]["state"] == "running")
    place.check()


def test_full_storage_once(place: Installation, small_disk: Callable[[Path, str], None]) -> None:
    small_disk(place.storage, "64k")
    for n in range(4):
        place.add(f"b/final_crops/{n}.jpg", small_jpeg(n) + bytes(40_000))
    done = place.once(code=1)
    assert done["state"] == "failed" and "full" in done["error"]
    place.check(complete=False)
    small_disk(place.storage, "8m")
    assert place.once()["state"] == "done"
    place.check()


@pytest.mark.timeout(60)
def test_full_state_folder(place: Installation, small_disk: Callable[[Path, str], None]) -> None:
    small_disk(place.state, "6m")
    place.add("b/final_crops/first.jpg", 1)
    with place.daemon() as daemon:
        daemon.wait_live(["scenes/b-first.jpg"])
        daemon.wait_idle()
        filler = place.state / "filler"
        with filler.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                pass
        for n in range(60):
            place.add(f"b/final_crops/{n}.jpg", n % 20)

        def troubled() -> bool:
            assert daemon.process.poll() is None, "the daemon ended"
            site = daemon.services()["site"]
            return site["state"] != "running" and bool(site["last_error"])

        wait_for(troubled, 18, "told")
        place.check(complete=False)
        filler.unlink()
        keys = [f"scenes/b-{n}.jpg" for n in range(60)]
        daemon.wait_live([*keys, "scenes/b-first.jpg"], 40)
        wait_for(lambda: daemon.services()["site"]["state"] == "running")
        page = daemon.get("/api/activity?limit=1000")
        ids = [item["id"] for item in page["items"]]
        assert ids == list(range(ids[0], ids[0] + len(ids)))
    place.check()
