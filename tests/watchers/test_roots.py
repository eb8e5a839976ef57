"""Roots that must not be believed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from syncd.watchers import roots
from syncd.watchers.roots import check_root


def test_a_root_that_is_there_is_believed(tmp_path: Path) -> None:
    assert check_root(tmp_path, []) is None
    (tmp_path / "b1").mkdir()
    assert check_root(tmp_path, ["b1", "b2"]) is None
    assert check_root(tmp_path, ["b2"]) is None


def test_missing_wrong_empty_and_foreign_roots_are_not(tmp_path: Path) -> None:
    assert check_root(tmp_path / "none", []) == f"{tmp_path}/none is missing"
    (tmp_path / "file").touch()
    assert check_root(tmp_path / "file", []) == f"{tmp_path}/file is not a folder"
    empty = tmp_path / "empty"
    (empty / ".lost").mkdir(parents=True)
    assert check_root(empty, ["b1"]) == f"{empty} is empty, with 1 batch known: it looks unmounted"
    (empty / "lost+found").mkdir()
    before = os.listdir(empty)
    assert check_root(empty, ["a", "b"]) == (f"{empty} holds none of the 2 batches known: it looks unmounted")
    assert os.listdir(empty) == before


def test_an_unreadable_root_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: object) -> object:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(roots.os, "scandir", refuse)
    assert check_root(tmp_path, []) == f"{tmp_path} is unreadable: Input/output error"
