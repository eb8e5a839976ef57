"""A fake Drive, a real catalogue, real workers and a real folder as storage, with events in between."""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import anyio
from PIL import Image

from syncd.catalogue import event_photos as photo_queries
from syncd.catalogue import events as queries
from syncd.catalogue.database import Catalogue
from syncd.config import Config, DaemonConfig, DriveConfig, FacesConfig, StorageConfig
from syncd.errors import AuthRejected, SyncdError
from syncd.flows.event_photos import PhotoWork
from syncd.flows.events import Follower
from syncd.flows.site import Site
from syncd.imaging.pool import ImagingPool
from syncd.remotes.google_drive import GoogleDrive
from syncd.remotes.pacer import Pacer
from tests.fakes.drive_model import FOLDER, SHORTCUT, Item
from tests.fakes.google_drive import ACCOUNT, FakeDrive
from tests.remotes.conftest import Bearer, Clock


@cache
def picture(number: int) -> bytes:
    """A tiny JPEG, another one for each number."""
    buffer = io.BytesIO()
    color = (number * 37 % 256, number * 91 % 256, number * 53 % 256)
    Image.new("RGB", (8 + number % 5, 8), color).save(buffer, "JPEG", comment=str(number).encode())
    return buffer.getvalue()


class OneClient:
    """Accounts of a fake Drive, each with one client that never really waits."""

    def __init__(
        self, stack: AsyncExitStack, fake: FakeDrive, page_size: int, fetched: Counter[tuple[str, str]]
    ) -> None:
        self.fetched = fetched
        self._stack = stack
        self._fake = fake
        self._page_size = page_size
        self._clients: dict[str, GoogleDrive] = {}
        self.clock = Clock()
        self.signed_in = [ACCOUNT]
        self.key_trouble: AuthRejected | None = None

    async def names(self) -> list[str]:
        return self.signed_in

    def unusable(self) -> AuthRejected | None:
        return self.key_trouble

    def accept(self, account: str) -> None:
        if account in self._clients:
            self._clients[account].pacer.release()

    async def drive(self, account: str) -> GoogleDrive:
        if account not in self._clients:
            config = DriveConfig(api_base_url=self._fake.base_url, token_url=self._fake.token_url)
            clock = self.clock
            client = GoogleDrive(
                config,
                Bearer(self._fake.issue_token(account)),
                page_size=self._page_size,
                pacer=Pacer(100_000, clock=clock, sleep=clock.sleep),
                sleep=clock.sleep,
                attempts=2,
            )
            self._clients[account] = await self._stack.enter_async_context(client)
            self._count_downloads(client)
        return self._clients[account]

    def _count_downloads(self, client: GoogleDrive) -> None:
        download = client.download

        async def counted(file: Any, *args: Any, **more: Any) -> Any:
            got = await download(file, *args, **more)
            self.fetched[file.id, got.md5] += 1
            return got

        client.download = counted  # type: ignore[method-assign]


class Place:
    """Everything between a fake Drive and a catalogue, driven by hand."""

    def __init__(self, fake: FakeDrive, config: Config, catalogue: Catalogue, pool: Any, accounts: OneClient):
        self.fake = fake
        self.config = config
        self.catalogue = catalogue
        self.accounts = accounts
        self.told: list[tuple[str, str, str]] = []
        self.parked: list[tuple[str, SyncdError]] = []
        self.site = Site(config, catalogue, pool)
        self.faces_on: Callable[[], bool] = lambda: False
        self.work = PhotoWork(
            accounts=accounts,
            catalogue=catalogue,
            pool=pool,
            storage=self.site,
            config=lambda: self.config,
            faces_on=lambda: self.faces_on(),
            park=self._park,
        )
        self.follower = self.follower_of(ACCOUNT)

    def follower_of(self, account: str) -> Follower:
        return Follower(
            account,
            accounts=self.accounts,
            catalogue=self.catalogue,
            config=lambda: self.config,
            emit=lambda kind, subject, message, data: self.told.append((kind, subject, message)),
            on_work=lambda: None,
        )

    async def _park(self, account: str, error: SyncdError) -> None:
        self.parked.append((account, error))

    async def event(self, name: str, folder_id: str, *, enable: bool = True, **more: Any) -> str:
        options: dict[str, Any] = {"publish": False, "account": ACCOUNT, "drive_id": ""} | more
        row = await self.catalogue.write(lambda db: queries.create(db, name, name, folder_id, **options))
        if enable:
            await self.catalogue.write(lambda db: queries.enable(db, row.event_id, None))
        return row.event_id

    async def bring(self) -> None:
        """Does every job that is due, and those that wait for another try."""
        tried: Counter[str] = Counter()
        while True:
            async with self.catalogue.reader() as db:
                due = await photo_queries.due_photos(db, limit=8, busy=(), parked=())
            if not due or any(tried[job.photo_id] > 4 for job in due):
                return
            tried.update(job.photo_id for job in due)
            async with anyio.create_task_group() as tasks:
                for job in due:
                    tasks.start_soon(self.work.do, job)

    async def quiet(self) -> None:
        """Until there is nothing left to do."""
        await self.follower.poll()
        await self.bring()
        await self.catalogue.write(queries.note_complete)

    async def rows(self, sql: str, *values: Any) -> list[Any]:
        async with self.catalogue.reader() as db:
            return [tuple(row) for row in await db.execute_fetchall(sql, values)]

    async def photos(self, event_id: str) -> dict[str, tuple[str, str]]:
        """(name, md5) of the photos that the event has, by id."""
        rows = await self.rows(
            "SELECT photo_id, photo_name, md5 FROM synced_photos WHERE event_id = ? AND removed_at IS NULL",
            event_id,
        )
        return {row[0]: (row[1], row[2]) for row in rows}

    async def failed(self, event_id: str) -> dict[str, str]:
        """Reasons by name."""
        async with self.catalogue.reader() as db:
            found = await queries.failed(db, event_id)
        return {photo.photo_name: photo.reason for photo in found.get(event_id, [])}

    async def status(self, event_id: str) -> queries.EventRow:
        async with self.catalogue.reader() as db:
            row = await queries.get(db, event_id)
        assert row is not None
        return row

    def downloads(self) -> Counter[str]:
        """How often the bytes of each file were asked for."""
        return Counter(r.path.rpartition("/")[2] for r in self.fake.requests if r.operation == "media")


def held_by(fake: FakeDrive, folder_id: str, account: str = ACCOUNT) -> dict[str, tuple[str, str]]:
    """(name, md5) of the photos that a folder holds for an event, by id: the specification in few words."""
    found: dict[str, tuple[str, str]] = {}

    def add(item: Item) -> None:
        if item.mime_type.startswith("image/") and item.content is not None:
            found[item.id] = (item.name, hashlib.md5(item.content).hexdigest())

    for item in fake.tree(folder_id, account).values():
        add(item)
        if item.mime_type != SHORTCUT:
            continue
        target = fake.items[item.target or ""]
        if not fake.visible(target, account) or fake.in_trash(target):
            continue
        add(target)
        if target.mime_type == FOLDER:
            for child in fake.children(target.id, account):
                add(child)
    return found


def config_of(folder: Path, **storage: Any) -> Config:
    state_dir = folder / "state"
    (state_dir / "staging").mkdir(parents=True, exist_ok=True)
    return replace(
        Config(),
        daemon=DaemonConfig(state_dir=state_dir),
        storage=StorageConfig(base_path=folder / "storage", **storage),
        faces=FacesConfig(enabled=False),
    )


@asynccontextmanager
async def place(
    fake: FakeDrive,
    pool: ImagingPool,
    folder: Path,
    page_size: int = 3,
    fetched: Counter[tuple[str, str]] | None = None,
    **storage: Any,
) -> AsyncIterator[Place]:
    """`fetched` counts downloads that arrived, by file id and MD5, over several of these."""
    config = config_of(folder, **storage)
    async with AsyncExitStack() as stack:
        catalogue = await stack.enter_async_context(Catalogue.open(config.daemon.state_dir / "catalogue.db"))
        accounts = OneClient(stack, fake, page_size, Counter() if fetched is None else fetched)
        made = Place(fake, config, catalogue, pool, accounts)
        await stack.enter_async_context(made.site)
        yield made
