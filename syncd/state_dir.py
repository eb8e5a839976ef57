"""The folder that holds what syncd knows: private to its user, whatever the umask."""

from __future__ import annotations

import os
from pathlib import Path

from syncd.errors import ExitCode, Fatal


def prepare_state_dir(folder: Path) -> None:
    """Makes `folder` (0700) where it is missing, and sees to it that what is made in it is private."""
    os.umask(0o077)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
    except OSError as error:
        raise Fatal(
            f"{folder} cannot be made or kept private: {error.strerror}",
            hint="set state_dir under [daemon] to a folder that belongs to this user",
            exit_code=ExitCode.CONFIG,
        ) from error


def empty_staging(folder: Path) -> None:
    """Makes the staging folder, empty: what a killed run left half made is of no use. For the holder of the
    lock only."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for left in folder.iterdir():
        if left.is_file() or left.is_symlink():
            left.unlink(missing_ok=True)
