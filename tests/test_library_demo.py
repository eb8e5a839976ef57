"""`./dev demo --library`, as a newcomer runs it without an account anywhere."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_library_is_read_and_described_without_an_account(tmp_path: Path) -> None:
    home = tmp_path / "demo"
    done = subprocess.run(
        [sys.executable, "-m", "tests.library_demo", "--no-tui", "--dir", home],
        capture_output=True, text=True, timeout=170, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for wanted in (
        "$ syncctl smugmug albums",
        "Lions vs Tigers 05/30/2026",
        "▲ review",
        "Lions vs Tigers - May 30",
    ):
        assert wanted in done.stdout
    with sqlite3.connect(f"file:{home}/.syncd/catalogue.db?mode=ro", uri=True) as db:
        described = "SELECT count(*) FROM ai_metadata WHERE processing_status = 'review'"
        (albums,) = db.execute("SELECT count(*) FROM smugmug_albums").fetchone()
        assert (albums, db.execute(described).fetchone()) == (7, (41,))
    assert not [word for word in ("fakeSecret", "sk-fake") if word in (home / "daemon.log").read_text()]
