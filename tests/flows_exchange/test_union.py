"""An exchange makes of one archive the union of two, whatever they hold, even when it is killed."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import anyio
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.flows_exchange.conftest import Desk, desk_in, snapshot
from tests.flows_exchange.indafoto import Indafoto, told_of

NAMES = st.sampled_from(["Anna", "anna", "ANNA.", "../x", "con", "", "é\u202e", "a/b", None])
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6)


@dataclass(frozen=True)
class Photo:
    """A photo: its content is its number. `there` says who has it: o(urs), t(heirs)."""

    number: int
    there: str
    author: str | None
    title: str
    tags: tuple[str, ...] = ()
    albums: tuple[str, ...] = ()
    with_hash: bool = True
    with_file: bool = True
    copies: int = 1

    @property
    def content(self) -> bytes:
        return f"photo {self.number}".encode() * 40


PHOTOS = st.lists(
    st.builds(
        Photo,
        number=st.integers(0, 10_000),
        there=st.sampled_from(["o", "t", "t", "t", "ot"]),
        author=NAMES,
        title=TEXT,
        tags=st.lists(TEXT.filter(bool), max_size=2, unique=True).map(tuple),
        albums=st.lists(st.sampled_from(["one", "two", "Két"]), max_size=2, unique=True).map(tuple),
        with_hash=st.sampled_from([True, True, True, False]),
        with_file=st.sampled_from([True, True, True, False]),
        copies=st.sampled_from([1, 1, 2]),
    ),
    max_size=9,
    unique_by=lambda photo: photo.number,
)


def fill(archive: Indafoto, photos: list[Photo], whose: str) -> None:
    for photo in (photo for photo in photos if whose in photo.there):
        for copy in range(photo.copies if photo.with_hash else 1):
            columns = {
                "author": photo.author,
                "title": photo.title,
                "url": f"https://x/{photo.number}/{copy}",
            }
            if not photo.with_hash and not photo.with_file:
                archive.add(None, **columns)
                continue
            place = f"images/{photo.number}-{copy}.jpg"
            sha256 = archive.add(photo.content, place=place, tags=photo.tags, albums=photo.albums, **columns)
            if not photo.with_hash:
                archive.sql("UPDATE images SET sha256_hash = NULL WHERE sha256_hash = ?", sha256)
            elif not photo.with_file and whose == "t":
                (archive.folder / place).unlink()


class Killed(BaseException):
    """kill -9, as far as a test can tell: nothing after it runs but the file system and the database."""


@dataclass
class Killer:
    """Ends work at one of its steps."""

    at: int
    seen: int = field(default=0)

    def __call__(self, done: int, total: int) -> None:
        self.seen += 1
        if self.seen == self.at:
            raise Killed


async def exchanged(desk: Desk, ours: Indafoto, theirs: Indafoto, photos: list[Photo], kill_at: int) -> None:
    disk = ours.folder.parent / "disk"
    before = theirs.path.read_bytes()
    found = await desk.analyze(ours.path, theirs.path)
    assert theirs.path.read_bytes() == before
    only_theirs = [photo for photo in photos if photo.there == "t"]
    by_hash = [photo for photo in only_theirs if photo.with_hash]
    by_url = [photo for photo in photos if not photo.with_hash and photo.there == "t"]
    assert (found.hash_files, found.url_files) == (len(by_hash), len(by_url))
    killer = Killer(kill_at)
    for _ in range(3):
        try:
            given_ = await desk.export(theirs.path, found.list_file, disk, progress=killer)
            break
        except Killed:
            continue
    killer = Killer(kill_at)
    for _ in range(3):
        try:
            taken = await desk.take(ours.path, found.list_id, disk, progress=killer)
            break
        except Killed:
            continue
    lost = sum(not photo.with_file for photo in by_hash + by_url)
    arrived = len(by_hash) + len(by_url) - lost
    assert (given_.exported, given_.missing, given_.failed) == (arrived, lost, [])
    assert (taken.imported + taken.already_here, taken.missing, taken.rejected) == (arrived, lost, [])
    for photo in by_hash:
        if photo.with_file:
            sha256 = Indafoto.hash_of(photo.content)
            assert sha256 in ours.hashes()
            theirs_told, ours_told = told_of(theirs.path, sha256), told_of(ours.path, sha256)
            assert ours_told.pop("url").rpartition("/")[0] == theirs_told.pop("url").rpartition("/")[0]
            assert ours_told == theirs_told
    wanted = {Indafoto.hash_of(photo.content) for photo in by_hash + by_url if photo.with_file}
    assert wanted <= ours.hashes()
    assert ours.sql("PRAGMA foreign_key_check") == []
    assert ours.sql("SELECT count(*) FROM images WHERE sha256_hash <> ''")[0][0] == len(
        {row[0] for row in ours.sql("SELECT local_path FROM images WHERE sha256_hash <> ''")}
    )
    if photos:
        verified = await desk.verify(ours.path, found.list_id)
        assert (verified.total, verified.ok) == (taken.imported, taken.imported)
    again = await desk.analyze(ours.path, theirs.path, dry_run=True)
    assert (again.hash_files, again.url_files) == (sum(not photo.with_file for photo in by_hash), 0)
    assert not list(ours.folder.rglob(".syncd*"))
    await desk.clean(ours.path, found.list_id)
    await desk.clean(theirs.path, found.list_id)
    assert snapshot(disk) == {}


@settings(
    max_examples=5,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],
)
@given(PHOTOS, st.integers(1, 3))
def test_the_union(photos: list[Photo], kill_at: int) -> None:
    base = Path(tempfile.mkdtemp(prefix="syncd-union-"))
    try:

        async def run() -> None:
            async with desk_in(base / "desk") as desk:
                ours, theirs = Indafoto(base / "ours"), Indafoto(base / "theirs")
                fill(ours, photos, "o")
                fill(theirs, photos, "t")
                await exchanged(desk, ours, theirs, photos, kill_at)

        anyio.run(run)
    finally:
        shutil.rmtree(base)
