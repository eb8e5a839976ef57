"""The sample archive and `syncd demo`, as a newcomer runs it."""

from __future__ import annotations

import hashlib
import os
import pty
import re
import select
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys
import termios
import time
from contextlib import suppress
from fcntl import ioctl
from pathlib import Path

import imagehash
import pytest
from PIL import Image

from syncd.sample import SampleArchive, add_scan, make_archive

DEMO = [sys.executable, "-m", "syncd", "demo"]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> SampleArchive:
    return make_archive(tmp_path_factory.mktemp("sample") / "images")


def test_the_sample_is_an_archive_of_photographs(archive: SampleArchive) -> None:
    assert 30 <= len(archive.files) <= 50
    assert {path.parent.name for path in archive.files} == {
        "initial_scan", "inverted_original_scans", "final_crops",
    }  # fmt: skip
    formats = []
    for path in archive.files:
        if path == archive.broken:
            continue
        with Image.open(path) as picture:
            picture.load()
            formats.append(picture.format)
            taken_at = picture.getexif().get_ifd(0x8769)[0x9003]
            assert re.fullmatch(r"19\d\d:\d\d:\d\d \d\d:\d\d:\d\d", taken_at)
            lightest = max(high for _, high in picture.convert("RGB").getextrema())
            assert lightest > 150, f"{path} is nearly black"
    assert (formats.count("TIFF"), formats.count("PNG")) == (1, 1)


def test_the_broken_scan_is_cut_off(archive: SampleArchive) -> None:
    with Image.open(archive.broken) as picture, pytest.raises(OSError, match="truncated"):
        picture.load()


def test_two_frames_show_the_same_and_no_others(archive: SampleArchive) -> None:
    crops = [path for path in archive.files if path.parent.name == "final_crops" and path != archive.broken]
    hashes = {path: imagehash.phash(Image.open(path)) for path in crops}
    first, second = archive.similar
    assert 0 < hashes[first] - hashes[second] <= 8
    others = [hashes[first] - value for path, value in hashes.items() if path not in archive.similar]
    assert min(others) > 8


def test_the_same_seed_gives_the_same_files_and_another_other_ones(
    tmp_path: Path, archive: SampleArchive
) -> None:
    first, again, other = (
        make_archive(tmp_path / name, seed) for name, seed in (("1", 1), ("2", 1), ("3", 2))
    )

    def digests(made: SampleArchive) -> set[str]:
        return {hashlib.sha256(path.read_bytes()).hexdigest() for path in made.files}

    assert digests(first) == digests(again)
    assert not digests(first) & digests(other)


def test_a_new_scan_arrives_whole(tmp_path: Path, archive: SampleArchive) -> None:
    shutil.copytree(archive.images_dir, tmp_path / "images")
    before = set((tmp_path / "images").rglob("*"))
    added = [add_scan(tmp_path / "images", archive.batches[0], number) for number in range(3)]
    assert set((tmp_path / "images").rglob("*")) - before == set(added)
    for path in added:
        with Image.open(path) as picture:
            picture.load()


def test_demo_without_a_terminal_says_what_is_where(tmp_path: Path) -> None:
    home = tmp_path / "demo"
    done = subprocess.run(
        [*DEMO, "--no-tui", "--dir", home], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    published = [Path(url) for url in re.findall(r"file://(\S+)", done.stdout)]
    assert published
    for path in published:
        with Image.open(path) as picture:
            picture.load()
    assert "across-the-bay_crop.jpg: " in done.stdout
    assert f"rm -r {home}" in done.stdout
    with sqlite3.connect(f"file:{home}/.syncd/catalogue.db?mode=ro", uri=True) as db:
        live = db.execute("SELECT count(*) FROM image_versions WHERE r2_key IS NOT NULL").fetchone()[0]
        public = db.execute("SELECT count(*) FROM public_site_batches WHERE is_public = 1").fetchone()[0]
    assert (live, public) == (10, 2)
    assert len([path for path in (home / "storage" / "scenes").iterdir() if path.is_file()]) == live
    assert not (home / ".syncd" / "syncd.sock").exists(), "the daemon was not stopped in order"


def test_demo_refuses_a_folder_in_use(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    done = subprocess.run(
        [*DEMO, "--no-tui", "--dir", tmp_path], capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 1
    assert "not empty" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_demo_on_a_terminal_opens_the_dashboard_and_cleans_up_after_it(tmp_path: Path) -> None:
    home = tmp_path / "demo"
    leader, follower = pty.openpty()
    ioctl(leader, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    environment = os.environ | {"TERM": "xterm-256color", "LANG": "C.UTF-8"}
    process = subprocess.Popen(
        [*DEMO, "--dir", home], stdin=follower, stdout=follower, stderr=follower, env=environment
    )
    os.close(follower)
    try:
        screen = _read_until(leader, b"2025-11-04-batch-1", b"\x1b[?1049h")
        assert b"\x1b[?1049h" in screen, "no dashboard opened"
        time.sleep(1)
        os.write(leader, b"q")
        end = _read_until(leader, b"Remove it with")
        assert b"Remove it with" in end
        assert process.wait(15) == 0
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(15)
        os.close(leader)


def _read_until(terminal: int, *wanted: bytes, within_s: float = 17.0) -> bytes:
    """What the program drew, up to the last of `wanted` or the end of time."""
    seen = b""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline and not all(text in seen for text in wanted):
        if select.select([terminal], [], [], 0.2)[0]:
            with suppress(OSError):  # the other end has closed
                seen += os.read(terminal, 65536)
    return seen
