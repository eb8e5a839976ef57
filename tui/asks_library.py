"""What the dashboard asks about the library's photos and the names of its albums."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias


class Shot(NamedTuple):
    """A photo of the library with what is written about it; `meta_id` None: nothing is yet. `distance` is
    how far it is from what was looked for, 0 the nearest."""

    photo_id: str
    name: str
    meta_id: int | None = None
    status: str = ""
    albums: tuple[str, ...] = ()
    caption: str = ""
    keywords: tuple[str, ...] = ()
    description: str = ""
    tags: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    confidence: float | None = None
    version: int = 0
    by: str = ""
    error: str = ""
    taken: str = ""
    size: tuple[int, int] = (0, 0)
    url: str = ""
    scene_id: str = ""
    distance: float | None = None


@dataclass(frozen=True, slots=True)
class SyncLibrary:
    full: bool = False


@dataclass(frozen=True, slots=True)
class SyncAlbum:
    album_key: str


@dataclass(frozen=True, slots=True)
class ApproveShots:
    """By the ids of what is written about them."""

    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SetStatus:
    """`status` is `pending` (described again), `review` or `rejected`."""

    ids: tuple[int, ...]
    status: str


@dataclass(frozen=True, slots=True)
class EditShot:
    """What stays as it is, is None."""

    id: int
    description: str | None
    tags: tuple[str, ...] | None
    categories: tuple[str, ...] | None


LibraryAsk: TypeAlias = SyncLibrary | SyncAlbum | ApproveShots | SetStatus | EditShot


@dataclass(frozen=True, slots=True)
class ApplyNames:
    """Without `album_keys`, all that are above the threshold."""

    album_keys: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class UndoNames:
    change_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class HintName:
    """All empty: no hint."""

    album_key: str
    teams: tuple[str, ...]
    event: str
    sport: str


NamesAsk: TypeAlias = ApplyNames | UndoNames | HintName
