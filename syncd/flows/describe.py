"""One photo of the library through the vision model, and one group of texts through the embedding model."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple, Protocol

from syncd.catalogue import descriptions as queries
from syncd.catalogue.database import Catalogue
from syncd.catalogue.descriptions import Text, Work, Written
from syncd.errors import AuthRejected, Refused, SyncdError, Transient
from syncd.remotes.vision import Vision
from syncd.remotes.vision_answer import Description
from syncd.text import rfc3339

MAX_SIDE = 1024
"""Pixels: models look at no more, and larger pictures cost more."""
MAX_ATTEMPTS = 3
_FIRST_WAIT_S = 2.0
MOST_TROUBLES = 5
"""So often a server may fail with one photo while it does others before the photo is to blame."""
_KNOWN_CHARACTERS = 500


class Pictures(Protocol):
    """Who gives the bytes of a picture at an address; remotes/smugmug.py has it."""

    async def picture(self, url: str) -> bytes: ...


class Library(Protocol):
    """Whoever is signed in to the library; api_accounts.py has it."""

    async def client(self) -> Pictures: ...


class Pool(Protocol):
    """What descriptions need of the worker processes."""

    async def preview_of_bytes(
        self, data: bytes, width: int, height: int, image_format: Literal["jpeg", "rgb"] = "jpeg"
    ) -> bytes: ...


class Trouble(NamedTuple):
    """Why nothing can be described now. `of` is "model" or "library"."""

    of: str
    error: SyncdError


class Describer:
    """Describes photos that were claimed. What it raises is left to nobody: outcomes are in the catalogue,
    and a Trouble tells that others would meet the same."""

    def __init__(
        self, catalogue: Catalogue, library: Library, pool: Pool, rng: random.Random | None = None
    ) -> None:
        self._catalogue = catalogue
        self._library = library
        self._pool = pool
        self._rng = rng or random.Random()
        self._troubles: dict[int, tuple[int, int]] = {}  # by id: how often, and `done` at the first
        self.done = 0

    async def describe(self, work: Work, vision: Vision, day: str, *, approve: bool) -> Trouble | None:
        """One attempt; why work should wait, None where it need not."""
        of = "library"
        try:
            jpeg = await self._picture(work)
            of = "model"
            found = await vision.describe(jpeg, known(work))
        except (AuthRejected, Transient) as error:
            if not self._is_to_blame(work, of, error):
                await self._put_back(work, day)
                return Trouble(of, error)
            await self._fail(work, f"{error} ({MOST_TROUBLES} times, and not with other photos)", last=True)
            return None
        except Refused as error:
            await self._fail(work, str(error))
            return None
        self._troubles.pop(work.id, None)
        self.done += 1
        model = vision.config.model
        await self._catalogue.write(
            lambda db: queries.record(db, work, written(found), model, approve=approve)
        )
        return None

    async def _picture(self, work: Work) -> bytes:
        """A JPEG of at most MAX_SIDE pixels. Raises Refused where there is none."""
        library = await self._library.client()
        data = await _first(library.picture, [work.large_url, work.thumbnail_url])
        return await self._pool.preview_of_bytes(data, MAX_SIDE, MAX_SIDE)

    def _is_to_blame(self, work: Work, of: str, error: SyncdError) -> bool:
        """Whether this photo meets trouble again and again, and others do not."""
        times, done = self._troubles.get(work.id, (0, self.done))
        self._troubles[work.id] = (times + 1, done)
        # A model's error with a hint, such as a key that is refused, is never one photo's doing.
        is_for_all = of == "model" and (isinstance(error, AuthRejected) or bool(error.hint))
        return not is_for_all and times + 1 >= MOST_TROUBLES and self.done > done

    @property
    def suspects(self) -> frozenset[int]:
        """Photos that met trouble: others go first, in case that it is the photo's doing."""
        return frozenset(self._troubles)

    async def _put_back(self, work: Work, day: str) -> None:
        await self._catalogue.write(lambda db: queries.put_back(db, work, day))

    async def _fail(self, work: Work, reason: str, *, last: bool = False) -> None:
        self._troubles.pop(work.id, None)
        is_over = last or work.attempts >= MAX_ATTEMPTS
        at = None if is_over else self._in(_FIRST_WAIT_S * 4.0 ** (work.attempts - 1))
        await self._catalogue.write(lambda db: queries.fail(db, work, reason, at))

    def _in(self, wait_s: float) -> str:
        return rfc3339(datetime.now(UTC) + timedelta(seconds=wait_s * self._rng.uniform(0.75, 1.25)))


class Embedder:
    """Embeds descriptions; those that the model refuses are left alone until they change."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self.refused: set[int] = set()

    async def embed(self, texts: Sequence[Text], vision: Vision) -> Trouble | None:
        """Vectors for these; why work should wait, None where it need not."""
        try:
            vectors = await vision.embed([text.description for text in texts])
        except (Transient, AuthRejected) as error:
            return Trouble("model", error)
        except Refused as error:
            if len(texts) > 1:  # one of them spoils it for the others
                for text in texts:
                    if (trouble := await self.embed([text], vision)) is not None:
                        return trouble
                return None
            self.refused.add(texts[0].id)
            reason = f"{queries.UNFINDABLE}: {error}"
            await self._catalogue.write(lambda db: queries.note_unembedded(db, texts[0], reason))
            return None
        pairs = list(zip(texts, vectors, strict=True))
        model = vision.config.embedding_model
        await self._catalogue.write(lambda db: queries.set_vectors(db, pairs, model))
        return None


async def _first(fetch: Callable[[str], Awaitable[bytes]], urls: Sequence[str | None]) -> bytes:
    """The picture at the first address that has one."""
    refused: Refused | None = None
    for url in urls:
        if url:
            try:
                return await fetch(url)
            except Refused as error:
                refused = refused or error
    raise refused or Refused("the library gives no address for a picture of it")


def known(work: Work) -> str:
    """What the library says of a photo, for the model."""
    facts = {
        "albums": ", ".join(work.albums),
        "title": work.title,
        "caption": work.caption,
        "keywords": ", ".join(work.keywords),
    }
    return "\n".join(
        f"{name}: {' '.join(text.split())[:_KNOWN_CHARACTERS]}"
        for name, text in facts.items()
        if text.strip()
    )


def written(found: Description) -> Written:
    """What the catalogue keeps of an answer."""
    return Written(*found)
