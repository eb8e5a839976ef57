"""What a SmugMug account holds: folders, albums, photos, and the stamps that move when something changes.

Nothing here speaks HTTP. Stamps have whole seconds of the model's own clock, which moves on by two seconds
with each change; `frozen` stops it, so that two changes share a stamp.
"""

from __future__ import annotations

import functools
import hashlib
import io
import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from PIL import Image

from tests.pictures import make_jpeg

ALPHABET = "bcdfghjkmnpqrstvwxzBCDFGHJKLMNPQRSTVWXZ23456789"
SIDES = {"Th": 150, "S": 400, "M": 600, "L": 800, "XL": 1024, "X2": 1280, "X3": 1600}
"""Longest sides of renderings, pixels; D is the original."""

SHIFT = timedelta(hours=7)
"""How far `DateTimeOriginal` is off the camera's clock."""

VIDEO = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + b"\0" * 64


@functools.lru_cache(maxsize=512)
def painted(seed: int, width: int, height: int) -> bytes:
    return make_jpeg(seed, width, height, quality=80)


@functools.lru_cache(maxsize=2048)
def reduced(content: bytes, side: int) -> bytes:
    """A JPEG whose sides are at most `side`."""
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(content)) as opened:
        picture = opened.convert("RGB")
        picture.thumbnail((side, side))
        picture.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


@dataclass
class FakeImage:
    """One photo or video, wherever it is shown. `taken_at` is by the camera's clock."""

    key: str
    owner: str
    file_name: str
    seed: int
    added_at: datetime
    updated_at: datetime
    width: int = 480
    height: int = 320
    content: bytes | None = None
    serial: int = 0
    title: str = ""
    caption: str = ""
    keywords: list[str] = field(default_factory=list)
    taken_at: datetime | None = None
    format: str = "JPG"
    is_video: bool = False
    processing: bool = False
    broken: bool = False
    hidden: bool = False
    latitude: float = 0.0
    longitude: float = 0.0
    extra: dict[str, Any] = field(default_factory=dict)
    """Members of the answer that replace what the model would say."""

    @property
    def original(self) -> bytes:
        if self.is_video:
            return VIDEO
        return self.content if self.content is not None else painted(self.seed, self.width, self.height)

    @property
    def md5(self) -> str:
        return hashlib.md5(self.original).hexdigest()

    def rendering(self, size: str) -> bytes:
        """The bytes of one size; a video is shown by a still of it."""
        if size == "D":
            return self.original
        still = painted(self.seed, self.width, self.height) if self.is_video else self.original
        return reduced(still, SIDES[size])

    def hash(self, size: str) -> str:
        return hashlib.sha1(f"secret/{self.key}/{self.serial}/{size}".encode()).hexdigest()[:8]


@dataclass
class Shown:
    """A photo in an album. `origin` is "Album", or "Smart" for what a rule put there."""

    image_key: str
    origin: str = "Album"
    collected_from: str | None = None


@dataclass
class FakeAlbum:
    key: str
    node_id: str
    owner: str
    name: str
    url_name: str
    created_at: datetime
    last_updated: datetime
    images_updated: datetime
    description: str = ""
    keywords: str = ""
    privacy: str = "Public"
    security_type: str = "None"
    allow_downloads: bool = False
    date: datetime | None = None
    shown: list[Shown] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass
class FakeNode:
    """A place in the tree; `album_key` None for a folder."""

    id: str
    owner: str
    name: str
    parent: str | None
    album_key: str | None = None


class Model:
    """Accounts and what is in them. Methods change something and move the stamps that the real one moves."""

    def __init__(self) -> None:
        self.now = datetime(2026, 6, 1, 12)
        self.frozen = False
        self.users: dict[str, str] = {}
        """Nicknames, and the root node of each."""
        self.albums: dict[str, FakeAlbum] = {}
        self.images: dict[str, FakeImage] = {}
        self.nodes: dict[str, FakeNode] = {}
        self.deleted: list[FakeAlbum] = []
        self._random = random.Random(20261121)

    def key(self, length: int) -> str:
        return "".join(self._random.choices(ALPHABET, k=length))

    def changed(self) -> datetime:
        """The stamp of a change that happens now."""
        if not self.frozen:
            self.now += timedelta(seconds=2)
        return self.now

    # --- making ---------------------------------------------------------------------------------------

    def add_user(self, nickname: str) -> str:
        """The root folder of a new account."""
        node = FakeNode(self.key(6), nickname, "", None)
        self.nodes[node.id] = node
        self.users[nickname] = node.id
        return node.id

    def add_folder(self, name: str, parent: str | None = None, owner: str | None = None) -> str:
        owner = owner or next(iter(self.users))
        node = FakeNode(self.key(6), owner, name, parent or self.users[owner])
        self.nodes[node.id] = node
        return node.id

    def add_album(self, name: str, parent: str | None = None, owner: str | None = None, **more: Any) -> str:
        """Its key."""
        owner, now = owner or next(iter(self.users)), self.changed()
        node = FakeNode(self.key(6), owner, name, parent or self.users[owner], self.key(6))
        assert node.album_key is not None
        self.nodes[node.id] = node
        url_name = "-".join("".join(c if c.isalnum() else " " for c in name).split()).title() or node.id
        self.albums[node.album_key] = FakeAlbum(
            node.album_key, node.id, owner, name, url_name, now, now, now, **more
        )
        return node.album_key

    def add_image(self, album_key: str, file_name: str, *, seed: int | None = None, **more: Any) -> str:
        """Its key. A HEIC is kept as the JPEG that it becomes; a video has the extension of one."""
        album, now = self.albums[album_key], self.changed()
        stem, _, extension = file_name.rpartition(".")
        if extension.lower() in ("heic", "heif"):
            file_name = f"{stem}_{extension.lower()}.JPG"
        if extension.lower() in ("mp4", "mov"):
            more = {"format": "MP4", "is_video": True, **more}
        key = self.key(7)
        seed = len(self.images) + 1 if seed is None else seed
        self.images[key] = FakeImage(key, album.owner, file_name, seed, now, now, **more)
        album.shown.append(Shown(key))
        album.images_updated = now
        return key

    def fill(
        self, album_key: str, count: int, *, first: datetime | None = None, seeds: int = 24
    ) -> list[str]:
        """Many photos at once, a minute apart; there are only `seeds` different pictures."""
        first = first or datetime(2026, 5, 30, 14)
        return [
            self.add_image(
                album_key,
                f"IMG_{number:04}.JPG",
                seed=number % seeds,
                taken_at=first + timedelta(minutes=number),
            )
            for number in range(count)
        ]

    def collect(self, image_key: str, album_key: str, origin: str = "Smart") -> None:
        """Shows a photo of one album in another as well."""
        home = next((a.key for a in self.albums.values() if self._shows(a, image_key)), None)
        album = self.albums[album_key]
        album.shown.append(Shown(image_key, origin, home))
        album.images_updated = self.changed()

    # --- changing -------------------------------------------------------------------------------------

    def edit_image(self, image_key: str, **changes: Any) -> None:
        """Caption, keywords and the like: no album's stamp moves."""
        image = self.images[image_key]
        for name, value in changes.items():
            assert hasattr(image, name), name
            setattr(image, name, value)
        image.updated_at = self.changed()

    def replace_image(self, image_key: str, *, seed: int, content: bytes | None = None) -> None:
        """Other bytes under the same key: the serial rises, and with it every address."""
        image = self.images[image_key]
        image.seed, image.content, image.serial = seed, content, image.serial + 1
        image.updated_at = self.changed()
        for album in self._albums_with(image_key):
            album.images_updated = image.updated_at

    def finish_processing(self, image_key: str) -> None:
        self.edit_image(image_key, processing=False)

    def take_out(self, album_key: str, image_key: str) -> None:
        """Removes a photo from one album; from its last, and it is gone."""
        album = self.albums[album_key]
        album.shown = [one for one in album.shown if one.image_key != image_key]
        album.images_updated = self.changed()
        if not any(self._albums_with(image_key)):
            del self.images[image_key]

    def move_image(self, image_key: str, source: str, target: str) -> None:
        now = self.changed()
        self.albums[source].shown = [s for s in self.albums[source].shown if s.image_key != image_key]
        self.albums[target].shown.append(Shown(image_key))
        self.albums[source].images_updated = self.albums[target].images_updated = now

    def rearrange(self, album_key: str) -> None:
        album = self.albums[album_key]
        album.shown.reverse()
        album.images_updated = self.changed()

    def edit_album(self, album_key: str, **changes: Any) -> None:
        album = self.albums[album_key]
        for name, value in changes.items():
            assert hasattr(album, name), name
            setattr(album, name, value)
        self.nodes[album.node_id].name = album.name
        album.last_updated = self.changed()

    def rename_album(self, album_key: str, name: str) -> None:
        """As its owner does in a browser; the address stays."""
        self.edit_album(album_key, name=name)

    def remove_album(self, album_key: str) -> None:
        self.changed()
        album = self.albums.pop(album_key)
        self.deleted.append(album)
        del self.nodes[album.node_id]
        for shown in album.shown:
            if shown.image_key in self.images and not any(self._albums_with(shown.image_key)):
                del self.images[shown.image_key]

    # --- looking --------------------------------------------------------------------------------------

    def albums_of(self, nickname: str) -> list[FakeAlbum]:
        """Newest first."""
        found = [album for album in self.albums.values() if album.owner == nickname]
        return found[::-1]

    def children(self, node_id: str) -> list[FakeNode]:
        return [node for node in self.nodes.values() if node.parent == node_id]

    def path_of(self, node_id: str) -> list[str]:
        """The names from below the root down."""
        names, node = [], self.nodes[node_id]
        while node.parent is not None:
            album = self.albums.get(node.album_key or "")
            names.append(album.url_name if album else node.name.replace(" ", "-"))
            node = self.nodes[node.parent]
        return names[::-1]

    def _albums_with(self, image_key: str) -> Iterable[FakeAlbum]:
        return (album for album in self.albums.values() if self._shows(album, image_key))

    @staticmethod
    def _shows(album: FakeAlbum, image_key: str) -> bool:
        return any(one.image_key == image_key for one in album.shown)
