"""The service `describe`: has a vision model describe the library's photos, and an embedding model make
their descriptions findable by meaning."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any

import aiosqlite
import anyio
import anyio.abc

from syncd.catalogue import descriptions as queries
from syncd.catalogue.database import Catalogue
from syncd.catalogue.descriptions import Text, Work
from syncd.config import AiConfig, Config
from syncd.errors import AuthRejected, Refused, SyncdError
from syncd.flows.describe import Describer, Embedder, Library, Pool, Trouble
from syncd.remotes.vision import Vision
from syncd.supervisor import ServiceHandle

Emit = Callable[[str, str, str, str, dict[str, Any] | None], object]
"""activity.emit: kind, service, subject, message, data."""

NO_MODEL = "no embedding model is set"
NO_MODEL_HINT = "set base_url and embedding_model in [ai] of syncd.toml"
_LOOK_S = 2.0
_TIDY_S = 60.0
_TEXTS_AT_ONCE = 16
_FIRST_BACK_OFF_S, _LONGEST_BACK_OFF_S = 1.0, 64.0
_TELL_S = 5.0


class _Gate:
    """Whether one kind of work may go on. After trouble it waits 1, 2, 4 … 64 s, or as long as the other side
    asks; a key that is refused shuts it for good."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.trouble: Trouble | None = None
        self.failures = 0
        self.not_before_s = 0.0

    @property
    def is_locked(self) -> bool:
        # Where the library asks for a sign-in, its own service says so.
        trouble = self.trouble
        return trouble is not None and trouble.of == "model" and isinstance(trouble.error, AuthRejected)

    @property
    def is_shut(self) -> bool:
        return self.is_locked or anyio.current_time() < self.not_before_s

    def heed(self, trouble: Trouble | None) -> None:
        """How a piece of work ended."""
        self.trouble = trouble
        if trouble is None:
            self.failures = 0
            return
        if anyio.current_time() >= self.not_before_s:  # not once more for each that was under way
            self.failures += 1
            back_off_s = min(_LONGEST_BACK_OFF_S, _FIRST_BACK_OFF_S * 2.0 ** (self.failures - 1))
            self.not_before_s = anyio.current_time() + back_off_s * self._rng.uniform(0.75, 1.25)
        asked_s = getattr(trouble.error, "retry_after_s", None) or 0.0
        self.not_before_s = max(self.not_before_s, anyio.current_time() + asked_s)


class DescribeService:
    """Describes what is `pending`, at most `batch_size` photos at a time. A server that is down, slow or
    full makes work wait, not fail; a key that is refused stops it until the settings change or somebody
    asks again. `today` gives the day (UTC) that the budget counts by."""

    name = "describe"

    def __init__(
        self,
        *,
        catalogue: Catalogue,
        library: Library,
        pool: Pool,
        config: Callable[[], Config],
        emit: Emit,
        today: Callable[[], str] = lambda: datetime.now(UTC).date().isoformat(),
        rng: random.Random | None = None,
        **client: Any,
    ) -> None:
        self._catalogue = catalogue
        self._config = config
        self._emit = emit
        self._today = today
        self._client_options = client
        self._rng = rng or random.Random()
        self._describer = Describer(catalogue, library, pool, self._rng)
        self._embedder = Embedder(catalogue)
        self._stack = AsyncExitStack()
        self._opening = anyio.Lock()
        self._vision: Vision | None = None
        self._busy: set[int] = set()
        self._texts_busy = False
        self._model = ""  # of the vectors in the catalogue
        self._wake = anyio.Event()
        self._told = 0
        self.is_running = False
        self._begin_anew()

    def _begin_anew(self) -> None:
        """What was met before holds no more."""
        self._photos, self._texts = _Gate(self._rng), _Gate(self._rng)
        self._limit_reached = False

    # --- what others ask ----------------------------------------------------------------------------

    def wake(self, *, again: bool = False, edited: int | None = None) -> None:
        """There may be something to do. `again`: somebody asks for what was turned down before; `edited`:
        this description is another one now."""
        if again:
            self._begin_anew()
            self._embedder.refused.clear()
        if edited is not None:
            self._embedder.refused.discard(edited)
        self._wake.set()

    @property
    def is_configured(self) -> bool:
        """Whether photos can be described."""
        return bool(self._ai.base_url and self._ai.model)

    async def is_idle(self, db: aiosqlite.Connection) -> bool:
        """There is nothing to do now; what waits for a server, a day or another try does not count."""
        if self._busy or self._texts_busy:
            return False
        if not self.is_running:
            return True
        may_embed = self._can_embed and not self._texts.is_shut
        if may_embed and await queries.due_texts(db, 1, self._embedder.refused):
            return False
        is_open = self.is_configured and not self._limit_reached and not self._photos.is_shut
        return not (is_open and await queries.next_due_in_s(db) == 0)

    async def embed(self, text: str) -> bytes:
        """The vector of a text that somebody searches with. Raises Refused without a model for it."""
        if not self._can_embed:
            raise Refused(NO_MODEL, hint=NO_MODEL_HINT)
        vision = await self._client()
        vectors = await vision.embed([text])
        return vectors[0]

    @property
    def _ai(self) -> AiConfig:
        return self._config().ai

    @property
    def _can_embed(self) -> bool:
        return bool(self._ai.base_url and self._ai.embedding_model)

    async def _client(self) -> Vision:
        """The client of the server in the settings, which remembers what that server takes."""
        async with self._opening:
            if self._vision is None or self._vision.config != self._ai:
                opened = Vision(self._ai, **self._client_options)
                self._vision = await self._stack.enter_async_context(opened)
                self.wake(again=True)  # other settings may do better
            return self._vision

    # --- running ------------------------------------------------------------------------------------

    async def __aenter__(self) -> DescribeService:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    async def run(self, handle: ServiceHandle) -> None:
        self._busy.clear()
        self._begin_anew()
        await self._catalogue.write(queries.interrupted)
        self.is_running = True
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._tidy)
                tasks.start_soon(self._tell)
                handle.ready()
                while True:
                    self._wake = anyio.Event()
                    wait_s = await self._start_what_is_due(tasks)
                    self._say(handle)
                    with anyio.move_on_after(wait_s):
                        await self._wake.wait()
        finally:
            self.is_running = False
            self._busy.clear()
            self._texts_busy = False
            with anyio.CancelScope(shield=True):
                await self._catalogue.write(queries.interrupted)

    async def _start_what_is_due(self, tasks: anyio.abc.TaskGroup) -> float:
        """Starts what may start now; returns after how many seconds to look again."""
        if not (self.is_configured or self._can_embed):
            self._begin_anew()
            return _LOOK_S
        await self._client()  # other settings end what the old ones were held for
        if self._can_embed and not (self._texts_busy or self._texts.is_shut):
            await self._start_texts(tasks, self._ai.embedding_model)
        wait_s = await self._start_photos(tasks) if self.is_configured else _LOOK_S
        open_s = [gate.not_before_s - anyio.current_time() for gate in (self._photos, self._texts)]
        return min(wait_s, *(open_in_s for open_in_s in open_s if open_in_s > 0), _LOOK_S)

    async def _start_photos(self, tasks: anyio.abc.TaskGroup) -> float:
        """As above."""
        if self._photos.is_shut:
            return _LOOK_S
        ai, day = self._ai, self._today()
        # While the server is in doubt, one photo finds out for all.
        room = (1 if self._photos.failures else ai.batch_size) - len(self._busy)
        if room > 0:
            claimed = await self._claim(room, day, ai.daily_limit)
            for work in claimed:
                self._busy.add(work.id)
                tasks.start_soon(self._one, work, day)
        async with self._catalogue.reader() as db:
            due_s = await queries.next_due_in_s(db)
            spent = await queries.sent_on(db, day) if ai.daily_limit else 0
        self._limit_reached = bool(due_s is not None and 0 < ai.daily_limit <= spent)
        waits = due_s is None or self._limit_reached or len(self._busy) >= ai.batch_size
        return _LOOK_S if waits or due_s is None else min(_LOOK_S, max(0.05, due_s))

    async def _claim(self, room: int, day: str, daily_limit: int) -> list[Work]:
        async with self._catalogue.reader() as db:  # a look costs the writer nothing
            if await queries.next_due_in_s(db) != 0:
                return []
        busy, suspects = set(self._busy), self._describer.suspects

        async def claim(db: aiosqlite.Connection) -> list[Work]:
            for left_out in (busy | suspects, busy):
                found = await queries.claim(db, limit=room, busy=left_out, day=day, daily_limit=daily_limit)
                if found or not suspects:
                    break
            return found

        return await self._catalogue.write(claim)

    async def _one(self, work: Work, day: str) -> None:
        try:
            vision = await self._client()
            trouble = await self._describer.describe(work, vision, day, approve=self._ai.auto_approve)
            if vision is self._vision:  # else it is about settings that hold no more
                self._photos.heed(trouble)
        finally:
            self._busy.discard(work.id)
            self._wake.set()

    async def _start_texts(self, tasks: anyio.abc.TaskGroup, model: str) -> None:
        if model != self._model:
            await self._catalogue.write(lambda db: queries.forget_other_models(db, model))
            self._model = model
        async with self._catalogue.reader() as db:
            texts = await queries.due_texts(db, _TEXTS_AT_ONCE, self._embedder.refused)
        if texts:
            self._texts_busy = True
            tasks.start_soon(self._embed, texts)

    async def _embed(self, texts: list[Text]) -> None:
        try:
            vision = await self._client()
            trouble = await self._embedder.embed(texts, vision)
            if vision is self._vision:
                self._texts.heed(trouble)
        finally:
            self._texts_busy = False
            self._wake.set()

    def _say(self, handle: ServiceHandle) -> None:
        for gate in (self._photos, self._texts):
            if gate.trouble is not None:
                words = words_of(gate.trouble.error)
                handle.set_state("needs_auth" if gate.is_locked else "backing_off", words)
                return
        if self._limit_reached:
            limit = self._ai.daily_limit
            handle.set_state(
                "backing_off", f"today's limit of {limit:,} photos is used up; goes on at 00:00 UTC"
            )
            return
        handle.set_state("running")

    async def _tidy(self) -> None:
        while True:
            await self._catalogue.write(queries.tidy)
            await anyio.sleep(_TIDY_S)

    async def _tell(self) -> None:
        """Descriptions are told of in groups, never one by one."""
        while True:
            await anyio.sleep(_TELL_S)
            count, self._told = self._describer.done - self._told, self._describer.done
            if count:
                words = f"{count:,} photos described" if count != 1 else "a photo described"
                self._emit("described", self.name, "", words, {"count": count})


def words_of(error: SyncdError) -> str:
    return f"{error} ({error.hint})" if error.hint else str(error)
