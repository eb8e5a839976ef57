"""`syncd init` writes settings that load as the defaults, and overwrites nothing."""

from __future__ import annotations

import os
import tomllib
from dataclasses import fields, replace
from pathlib import Path

import pytest

from syncd.config import SECTIONS, difference, key_of
from syncd.config_file import load_config
from syncd.errors import ExitCode, Fatal
from syncd.init import TEMPLATE, init_project


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.lstat().st_mtime_ns, path.lstat().st_mode) for path in folder.rglob("*")}


def test_what_is_written_loads_as_the_defaults(tmp_path: Path) -> None:
    project = tmp_path / "new" / "project"
    made = init_project(project)
    assert made == [project / name for name in ("syncd.toml", "images", "storage", ".syncd")]
    config = load_config(project / "syncd.toml", {})
    assert config == replace(load_config(None, {"HOME": "/nowhere"}, project), path=project / "syncd.toml")
    assert config.warnings == ()
    assert (project / ".syncd").stat().st_mode & 0o777 == 0o700
    assert all(path.is_dir() for path in (config.batches.images_dir, config.storage.base_path))


def test_every_key_is_there_once() -> None:
    document = tomllib.loads(TEMPLATE)
    assert list(document) == list(SECTIONS)
    section = ""
    found = []
    for line in TEMPLATE.splitlines():
        if line.startswith("["):
            section = line[1 : line.index("]")]
        key, equals, _ = line.removeprefix("# ").partition(" = ")
        if equals and section and key.isidentifier():
            found.append(f"{section}.{key}")
    wanted = [f"{name}.{key_of(field)}" for name, kind in SECTIONS.items() for field in fields(kind)]
    assert sorted(found) == sorted(wanted)


def test_optional_lines_are_right_when_uncommented(tmp_path: Path) -> None:
    lines = [
        line.removeprefix("# ") if " = " in line and line.startswith("# ") and line[2].islower() else line
        for line in TEMPLATE.splitlines()
    ]
    defaults = load_config(None, {"HOME": "/"}, tmp_path)
    (tmp_path / "syncd.toml").write_text("\n".join(lines))
    config = load_config(tmp_path / "syncd.toml", {"HOME": "/"}, secrets="skip")
    assert set(difference(defaults, config)) == {
        "storage.secret_access_key", "drive.client_secret", "smugmug.api_key", "smugmug.api_secret",
        "ai.api_key", "mirror.dsn", "notify.smtp_url", "notify.from", "notify.to",
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["file", "link"])
def test_an_existing_file_stays(tmp_path: Path, kind: str) -> None:
    config = tmp_path / "syncd.toml"
    if kind == "file":
        config.write_text("mine")
    else:
        config.symlink_to("gone")
    before = tree(tmp_path)
    with pytest.raises(Fatal, match=r"syncd\.toml is already there") as caught:
        init_project(tmp_path)
    assert caught.value.exit_code == ExitCode.FAILED
    assert tree(tmp_path) == before


def test_folders_that_are_there_stay(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "scan.jpg").write_bytes(b"x")
    before = tree(tmp_path / "images")
    assert tmp_path / "images" not in init_project(tmp_path)
    assert tree(tmp_path / "images") == before


def test_a_file_in_the_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "storage").write_text("mine")
    with pytest.raises(Fatal, match="storage is there and is not a folder"):
        init_project(tmp_path)
    assert os.listdir(tmp_path) == ["storage"]
    with pytest.raises(Fatal, match="storage is there and is not a folder"):
        init_project(tmp_path / "storage")
