"""Listings of real folders, with everything that a folder can hold."""

from __future__ import annotations

import os
import socket
import unicodedata
from pathlib import Path

import pytest

from syncd.errors import Transient
from syncd.model import BatchListing
from syncd.watchers import listing
from syncd.watchers.listing import list_batch, list_batches, list_tree
from syncd.watchers.settle import SettleTracker

STAGES = ("final_crops", "initial_scan")


def put(path: Path, content: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def names(found: BatchListing) -> list[str]:
    return [file.relative_path for file in found.files]


def reasons(found: BatchListing) -> dict[str, str]:
    return {path[path.index(f"/{found.batch_name}") + 1 :]: reason for path, reason in found.skipped}


def test_stages_loose_files_and_what_is_known_of_them(tmp_path: Path) -> None:
    crop = put(tmp_path / "b1/final_crops/a.JPG", "12345")
    put(tmp_path / "b1/initial_scan/a.tiff")
    put(tmp_path / "b1/loose.heic")
    found = list_batch(tmp_path, "b1", STAGES, 0)
    assert [(file.stage, file.file_name) for file in found.files] == [
        ("final_crops", "a.JPG"),
        ("initial_scan", "a.tiff"),
        ("initial_scan", "loose.heic"),
    ]
    first = found.files[0]
    status = crop.stat()
    assert first.relative_path == "b1/final_crops/a.JPG"
    assert first.local_path == str(crop)
    assert first.stat == (status.st_ctime_ns, status.st_mtime_ns, 5, status.st_ino)
    assert (found.skipped, found.ignored, found.unsettled_s, found.error) == ((), 0, None, None)


def test_hidden_and_partial_names_are_only_counted(tmp_path: Path) -> None:
    ignored = [".hidden.jpg", ".syncthing.a.jpg.tmp", "~a.jpg", "a.jpg.part", "a.PART", "b.tmp", "c.partial"]
    ignored += ["d.crdownload", "e.filepart", "Thumbs.db", "desktop.ini", ".DS_Store"]
    for name in ignored:
        put(tmp_path / "b1/final_crops" / name)
    put(tmp_path / "b1/.hidden/deep.jpg")
    put(tmp_path / "b1/final_crops/part")
    found = list_batch(tmp_path, "b1", STAGES, 0)
    assert found.ignored == len(ignored) + 1
    assert reasons(found) == {"b1/final_crops/part": "not an image"}
    assert names(found) == []


def test_what_is_not_published_is_named_with_its_reason(tmp_path: Path) -> None:
    put(tmp_path / "b1/notes.txt")
    put(tmp_path / "b1/jpg")
    put(tmp_path / "b1/Final_Crops/a.jpg")
    put(tmp_path / "b1/final_crops/deeper/a.jpg")
    outside = put(tmp_path / "outside.jpg")
    (tmp_path / "b1/link.jpg").symlink_to(outside)
    (tmp_path / "b1/initial_scan").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "b1/fifo.jpg")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "b1/s.jpg"))
        found = list_batch(tmp_path, "b1", STAGES, 0)
    other = "folder is not a stage (stages: final_crops, initial_scan)"
    assert reasons(found) == {
        "b1/notes.txt": "not an image",
        "b1/jpg": "not an image",
        "b1/Final_Crops": other,
        "b1/final_crops/deeper": other,
        "b1/link.jpg": "symbolic link",
        "b1/initial_scan": "symbolic link",
        "b1/fifo.jpg": "not a regular file",
        "b1/s.jpg": "not a regular file",
    }
    assert names(found) == [] and found.error is None


def test_bad_names_are_skipped_and_named_as_they_are(tmp_path: Path) -> None:
    folder = tmp_path / "b1" / "final_crops"
    folder.mkdir(parents=True)
    for name in (
        b"\xff.jpg",
        b"a\x1b[31m.jpg",
        "x\u202egpj.jpg".encode(),
        b"line\nbreak.jpg",
        b"del\x7f.jpg",
    ):
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).touch()
    (tmp_path / "b1" / "evil\x07").mkdir()
    found = list_batch(tmp_path, "b1", STAGES, 0)
    control = "name has control characters"
    assert reasons(found) == {
        r"b1/final_crops/\xff.jpg": "name is not valid UTF-8",
        "b1/final_crops/a\x1b[31m.jpg": control,
        "b1/final_crops/x\u202egpj.jpg": control,
        "b1/final_crops/line\nbreak.jpg": control,
        "b1/final_crops/del\x7f.jpg": control,
        "b1/evil\x07": control,
    }
    assert names(found) == []


def test_twins_in_case_and_in_normal_form_are_files_of_their_own(tmp_path: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "café.jpg") for form in ("NFC", "NFD"))
    for name in ("A.jpg", "a.jpg", composed, decomposed):
        put(tmp_path / "b1/final_crops" / name)
    found = list_batch(tmp_path, "b1", STAGES, 0)
    assert {file.file_name for file in found.files} == {"A.jpg", "a.jpg", composed, decomposed}


def test_batches_that_are_links_or_badly_named_are_listed_and_refused(tmp_path: Path) -> None:
    root = tmp_path / "images"
    put(root / "good/final_crops/a.jpg")
    put(root / "loose.jpg")
    (root / ".hidden").mkdir()
    (root / "bad\nname").mkdir()
    put(tmp_path / "elsewhere/a.jpg")
    (root / "link").symlink_to(tmp_path / "elsewhere")
    assert list_batches(root) == ["bad\nname", "good", "link"]
    tree = list_tree(root, STAGES, 0)
    assert names(tree["good"]) == ["good/final_crops/a.jpg"]
    assert reasons(tree["link"]) == {"link": "symbolic link"}
    assert reasons(tree["bad\nname"]) == {"bad\nname": "name has control characters"}
    assert list(list_tree(root, STAGES, 0, only=["good", "absent"])) == ["absent", "good"]


def test_an_absent_batch_is_empty_and_an_absent_root_is_an_error(tmp_path: Path) -> None:
    assert list_batch(tmp_path, "none", STAGES, 0) == BatchListing("none")
    put(tmp_path / "file")
    assert list_batch(tmp_path, "file", STAGES, 0) == BatchListing("file")
    gone = list_batch(tmp_path / "nowhere", "b1", STAGES, 0)
    assert gone.error == f"{tmp_path}/nowhere cannot be listed: No such file or directory"
    with pytest.raises(Transient, match="cannot be listed"):
        list_batches(tmp_path / "nowhere")


@pytest.mark.parametrize("failing", ["b1", "final_crops"])
def test_a_folder_that_cannot_be_listed_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    put(tmp_path / "b1/final_crops/a.jpg")
    put(tmp_path / "b1/initial_scan/b.jpg")
    real = os.open

    def refuse(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if path == failing:
            raise PermissionError(13, "Permission denied", path)
        return real(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(listing.os, "open", refuse)
    found = list_batch(tmp_path, "b1", STAGES, 0)
    assert found.error is not None and found.error.endswith(f"{failing} cannot be listed: Permission denied")
    assert names(found) == ([] if failing == "b1" else ["b1/initial_scan/b.jpg"])


def test_a_stage_that_vanishes_in_the_middle_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "b1/final_crops/a.jpg")
    real = os.open

    def vanish(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if path == "final_crops":
            (tmp_path / "b1/final_crops").rename(tmp_path / "b1/elsewhere")
        return real(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(listing.os, "open", vanish)
    found = list_batch(tmp_path, "b1", STAGES, 0)
    assert found.error is not None and "No such file" in found.error


def test_young_files_are_left_out_and_the_wait_is_told(tmp_path: Path) -> None:
    old = put(tmp_path / "b1/final_crops/old.jpg")
    young = put(tmp_path / "b1/final_crops/young.jpg")
    born_ns = max(young.stat().st_ctime_ns, old.stat().st_ctime_ns)
    tracker = SettleTracker()
    early = list_batch(tmp_path, "b1", STAGES, 5.0, born_ns + 2_000_000_000, tracker)
    assert names(early) == [] and len(early.unsettled) == 2
    assert early.unsettled_s == pytest.approx(3.0, abs=0.5)
    late = list_batch(tmp_path, "b1", STAGES, 5.0, born_ns + 5_000_000_000, tracker)
    assert len(late.files) == 2 and late.unsettled == () and late.unsettled_s is None


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    put(tmp_path / "b1/final_crops/a.jpg")
    put(tmp_path / "b2/final_crops/deep/a.jpg")
    (tmp_path / "link").symlink_to(tmp_path / "b1")
    before = sorted(os.listdir("/proc/self/fd"))
    for _ in range(3):
        list_tree(tmp_path, STAGES, 0)
        list_batch(tmp_path, "none", STAGES, 0)
    assert sorted(os.listdir("/proc/self/fd")) == before
