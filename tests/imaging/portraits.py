"""Real faces for tests: the portraits in the source distribution of face_recognition on PyPI.

They are fetched with pip and kept in the user's cache, never in the repository: the package's licence covers
its code, and nothing says that it covers the photographs. pip runs no more than the package's own set-up, and
the archive is checked against its SHA-256.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

_PACKAGE = "face_recognition==1.3.0"
_ARCHIVE = "face_recognition-1.3.0.tar.gz"
_SHA256 = "5e5efdd1686aa566af0d3cc1313b131e4b197657a8ffd03669e6d3fad92705ec"
_FOLDER = "face_recognition-1.3.0/tests/test_images"


def portraits() -> dict[str, Path]:
    """File name -> path of `biden.jpg`, `obama.jpg`, `obama2.jpg`, `obama3.jpg`, `32bit.png` (he again) and
    two in which a part of his face is cut off."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "syncd-tests"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:  # several test processes may start at once
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (cache / _FOLDER).is_dir():
            _fetch(cache)
    return {path.name: path for path in (cache / _FOLDER).iterdir()}


def _fetch(cache: Path) -> None:
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    options = ["--no-deps", "--no-binary", ":all:", "--no-build-isolation"]
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        subprocess.run([*pip, *options, "--dest", folder, _PACKAGE], check=True, capture_output=True)
        archive = Path(folder, _ARCHIVE)
        found = hashlib.sha256(archive.read_bytes()).hexdigest()
        if found != _SHA256:
            raise RuntimeError(f"{_ARCHIVE} has SHA-256 {found}, not {_SHA256}")
        with tarfile.open(archive) as tar:
            members = [member for member in tar.getmembers() if member.name.startswith(f"{_FOLDER}/")]
            tar.extractall(folder, members, filter="data")
        Path(cache, _FOLDER).parent.mkdir(parents=True, exist_ok=True)
        Path(folder, _FOLDER).rename(cache / _FOLDER)
