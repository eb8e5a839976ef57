"""What tests of the exchange share: archives, and the work on them without a daemon."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from syncd.catalogue.database import Catalogue
from syncd.catalogue.exchange_archive import Archive, open_archive
from syncd.control import schema
from syncd.flows.exchange_after import clean, verify
from syncd.flows.exchange_analyze import analyze
from syncd.flows.exchange_export import export
from syncd.flows.exchange_import import take
from syncd.flows.exchange_receipt import SigningKey, check_receipt, write_receipt
from tests.flows_exchange.indafoto import Indafoto


def quiet(done: int, total: int) -> None:
    """Nobody looks at the progress."""


class Desk:
    """Somebody who works on archives: their catalogue, key and scratch space in `folder`."""

    def __init__(self, folder: Path, catalogue: Catalogue) -> None:
        self.folder = folder
        self.catalogue = catalogue
        self.key = SigningKey(folder)
        self._made = 0

    @contextlib.asynccontextmanager
    async def archive(self, path: Path | None) -> AsyncIterator[Archive]:
        async with open_archive(path or self.catalogue.path, self.catalogue) as archive:
            yield archive

    async def analyze(
        self, db: Path | None, remote: Path, *, list_id: str = "", dry_run: bool = False
    ) -> schema.ExchangeAnalysis:
        self._made += 1
        async with self.archive(db) as archive:
            return await analyze(
                archive, remote, list_id=list_id or f"list-{self._made:04}", lists_dir=self.folder / "lists",
                scratch_dir=self.folder, key=self.key.public(), dry_run=dry_run, progress=quiet,
            )  # fmt: skip

    async def export(
        self, db: Path | None, list_file: str | None, disk: Path, *, dry_run: bool = False,
        progress: Callable[[int, int], None] = quiet,
    ) -> schema.ExchangeExported:  # fmt: skip
        async with self.archive(db) as archive:
            return await export(archive, Path(list_file or ""), disk, dry_run=dry_run, progress=progress)

    async def take(
        self, db: Path | None, list_id: str | None, disk: Path, *, dry_run: bool = False,
        progress: Callable[[int, int], None] = quiet,
    ) -> schema.ExchangeImported:  # fmt: skip
        async with self.archive(db) as archive:
            return await take(archive, list_id or "", disk, dry_run=dry_run, progress=progress)

    async def verify(self, db: Path | None, list_id: str | None) -> schema.ExchangeVerified:
        async with self.archive(db) as archive:
            return await verify(archive, list_id or "", progress=quiet)

    async def clean(self, db: Path | None, list_id: str | None) -> schema.ExchangeCleaned:
        async with self.archive(db) as archive:
            return await clean(archive, list_id or "")

    async def receipt(self, db: Path | None, imported: schema.ExchangeImported) -> Path:
        async with self.archive(db) as archive:
            return await write_receipt(archive, imported, self.folder / "lists", self.key)

    async def check(self, db: Path | None, receipt: Path) -> schema.ExchangeReceipt:
        async with self.archive(db) as archive:
            return await check_receipt(archive, receipt)


@contextlib.asynccontextmanager
async def desk_in(folder: Path) -> AsyncIterator[Desk]:
    folder.mkdir(parents=True)
    async with Catalogue.open(folder / "catalogue.db") as catalogue:
        yield Desk(folder, catalogue)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with desk_in(tmp_path / "desk") as made:
        yield made


def snapshot(folder: Path) -> dict[str, Any]:
    """All that is below a folder, byte for byte."""

    def found() -> Iterator[tuple[str, Any]]:
        for path in sorted(folder.rglob("*")):
            facts = path.lstat()
            content = path.read_bytes() if path.is_file() and not path.is_symlink() else None
            yield str(path.relative_to(folder)), (facts.st_mode, facts.st_mtime_ns, content)

    return dict(found())


@pytest.fixture
def ours(tmp_path: Path) -> Indafoto:
    return Indafoto(tmp_path / "ours")
