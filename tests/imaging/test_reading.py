"""Bytes are from one regular file that stayed the same, or there are none."""

from __future__ import annotations

import hashlib
import os
import socket
from pathlib import Path

import pytest

import syncd.imaging.reading as reading
from syncd.errors import Changed, Refused
from syncd.imaging.reading import open_photo


def refusal(path: str | Path, root: str | None = None) -> str:
    with pytest.raises(Refused) as caught, open_photo(str(path), root):
        pass
    return caught.value.message


def test_hashes_and_stat_are_of_the_bytes(tmp_path: Path) -> None:
    file = tmp_path / "a.jpg"
    file.write_bytes(b"photo" * 1000)
    with open_photo(str(file), str(tmp_path)) as photo:
        assert photo.sha256 == hashlib.sha256(b"photo" * 1000).hexdigest()
        assert photo.md5 == hashlib.md5(b"photo" * 1000).hexdigest()
        assert photo.stat.size_bytes == 5000
        assert photo.stat.inode == file.stat().st_ino


def test_large_files_are_hashed_without_being_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "IN_MEMORY_BYTES", 1000)
    monkeypatch.setattr(reading, "CHUNK_BYTES", 64)
    file = tmp_path / "a.jpg"
    file.write_bytes(os.urandom(1001))
    steps: list[None] = []
    with open_photo(str(file), None, lambda: steps.append(None)) as photo, photo.open() as again:
        assert photo.data is None
        assert photo.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
        assert again.read() == file.read_bytes()
        assert photo.head() == file.read_bytes()[:64]
    assert len(steps) == 1001 // 64


def test_what_is_no_regular_file_is_refused_without_blocking(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "zero.jpg").symlink_to("/dev/zero")
    (tmp_path / "good.jpg").write_bytes(b"x")
    (tmp_path / "link.jpg").symlink_to("good.jpg")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s.jpg"))
        assert refusal(tmp_path / "s.jpg") == "a socket, not a photo"
    assert refusal(tmp_path / "pipe.jpg") == "a named pipe, not a photo"
    assert refusal(tmp_path / "folder.jpg") == "a folder, not a photo"
    assert refusal(tmp_path / "zero.jpg") == "a symbolic link, not a photo"
    assert refusal(tmp_path / "link.jpg") == "a symbolic link, not a photo"
    assert refusal("/dev/zero") == "a device, not a photo"
    assert refusal(f"{tmp_path}/a\0b.jpg") == "unreadable: its name holds a NUL byte"


def test_a_file_outside_the_root_is_refused_whatever_the_path_says(tmp_path: Path) -> None:
    root, outside = tmp_path / "images", tmp_path / "images-private"
    (root / "batch").mkdir(parents=True)
    outside.mkdir()
    (outside / "secret.jpg").write_bytes(b"x")
    (root / "linked").symlink_to(outside)
    assert refusal(root / "linked" / "secret.jpg", str(root)) == "outside the images folder"
    assert refusal(root / ".." / "images-private" / "secret.jpg", str(root)) == "outside the images folder"


def test_a_root_that_is_itself_a_link_is_fine(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.jpg").write_bytes(b"x")
    (tmp_path / "images").symlink_to("real")
    with open_photo(str(tmp_path / "images" / "a.jpg"), str(tmp_path / "images")) as photo:
        assert photo.data == b"x"


def test_a_missing_file_is_changed_and_an_unreadable_one_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Changed, match="gone"), open_photo(str(tmp_path / "a.jpg")):
        pass

    def denied(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", denied)  # root may read everything
    assert refusal(tmp_path / "a.jpg") == "unreadable: permission denied"


@pytest.mark.parametrize("how", ["grow", "shrink", "rewrite", "swap", "remove"])
def test_a_file_that_changes_during_the_read_is_changed(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, other = tmp_path / "a.jpg", tmp_path / "b.jpg"
    file.write_bytes(b"a" * 4096)
    other.write_bytes(b"b" * 4096)
    stat = file.stat()
    real_read = os.read

    def read_and_change(fd: int, count: int) -> bytes:
        data = real_read(fd, count)
        monkeypatch.setattr(os, "read", real_read)
        if how == "grow":
            with file.open("ab") as handle:
                handle.write(b"more")
        elif how == "shrink":
            os.truncate(file, 10)
        elif how == "rewrite":  # same size, old mtime: only ctime tells
            file.write_bytes(b"c" * 4096)
            os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        elif how == "swap":
            other.rename(file)
        else:
            file.unlink()
        return data

    monkeypatch.setattr(os, "read", read_and_change)
    with pytest.raises(Changed), open_photo(str(file)):
        pass
