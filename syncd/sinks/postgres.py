"""The mirror: a copy of the library's metadata in Postgres, `photo_metadata` with one row a photo and album."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class NameChange(Protocol):
    """One confirmed change of the journal; times are RFC 3339 in UTC."""

    @property
    def id(self) -> int: ...
    @property
    def album_key(self) -> str: ...
    @property
    def old_name(self) -> str: ...
    @property
    def new_name(self) -> str: ...
    @property
    def changed_at(self) -> str: ...
    @property
    def changed_by(self) -> str: ...
    @property
    def source(self) -> str: ...


class AlbumNames(NamedTuple):
    """What the mirror calls an album: `names` are all that its rows have, "" for rows without one."""

    names: frozenset[str]
    photo_count: int


class Statistics(NamedTuple):
    """Counts of the mirror's rows. `recently_updated` were changed in the last 24 hours."""

    total_albums: int
    total_photos: int
    photos_with_album_key: int
    photos_without_album_key: int
    recently_updated: int


class PostgresMirror:
    """A Postgres database, reached over one connection that is opened when needed. Every method raises one
    of the four errors: Transient (down, busy, slow), AuthRejected (the password), Refused (rights, types)."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn

    async def rename_album(self, album_key: str, new_name: str, change: NameChange) -> None:
        """Gives all rows of the album the name and records the change, in one transaction. Doing it again
        changes nothing. An album without rows is no error: its rows come with the new name."""
        raise NotImplementedError

    async def names(self) -> dict[str, AlbumNames]:
        """The names and the number of rows of every album that the mirror has rows of, by key."""
        raise NotImplementedError

    async def statistics(self) -> Statistics:
        """Counts over all rows, whoever wrote them."""
        raise NotImplementedError

    async def close(self) -> None:
        """Ends the connection; the next call opens another."""
