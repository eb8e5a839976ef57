"""Worker processes for everything that decodes or hashes a photo, as the daemon sees them.

The daemon's side only queues requests and reads short answers. Photos are hostile: a worker that dies or
overruns its time is replaced, its photo is tried again on a fresh one, and a photo that ends three workers
is set aside until it changes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

import anyio
import anyio.abc
import anyio.to_thread

from syncd.errors import Changed, Refused, SyncdError, Transient
from syncd.imaging.faces import MISSING, MISSING_HINT, faces_available, unpack
from syncd.imaging.processes import Nursery, WorkerHandle
from syncd.model import FacesFound, FileStat, PhotoFacts, Rendition

MAX_KILLS = 3
# As many inspections wait inside a worker as it does in this time, so that it never waits for us, but two at
# least and five at most: what somebody waits for comes after them.
PIPELINE_S = 0.03
PIPELINE_DEPTHS = range(2, 6)
IDLE_S = 60.0
MAX_SET_ASIDE = 10_000
MAX_ANSWERS = 32
_ERRORS: dict[str, type[SyncdError]] = {"changed": Changed, "refused": Refused, "transient": Transient}


@dataclass(eq=False, slots=True)
class _Job:
    """One request and, in the end, its answer. `path` is None where the bytes came from memory."""

    request: list[Any]
    path: str | None = None
    data: bytes | None = None
    urgent: bool = False
    kills: int = 0
    stat: FileStat | None = None
    abandoned: bool = False
    answer: Any = None
    error: SyncdError | None = None
    done: anyio.Event = field(default_factory=anyio.Event)

    @property
    def kind(self) -> str:
        return str(self.request[0])

    @property
    def needs_faces(self) -> bool:
        return self.kind in ("faces", "faces_in")


class ImagingPool:
    """At most `workers` processes that read photos; use as an async context manager.

    `staging_dir` is their working folder, so every path given must be absolute. `memory_limit_bytes` bounds
    the address space of each; `time_limit_s` is the wall-clock time that one photo may take (reading a large
    file counts as progress). Nobody waits for a daemon's photos, so it may give its workers a `niceness`.
    Processes start on first use or with `start()`, and leave after a minute without work.
    """

    def __init__(
        self,
        workers: int,
        staging_dir: Path,
        memory_limit_bytes: int = 1536 * 1024**2,
        time_limit_s: float = 20,
        niceness: int = 0,
    ) -> None:
        if workers < 1:
            raise ValueError("workers must be 1 or more")
        self.inspected = 0
        self.killed = 0
        self._workers = workers
        self._time_limit_s = time_limit_s
        self._nursery = Nursery(staging_dir, memory_limit_bytes, niceness)
        self._face_nursery = Nursery(staging_dir, memory_limit_bytes, niceness, faces=True)
        self._urgent: deque[_Job] = deque()
        self._normal: deque[_Job] = deque()
        self._waiting = 0
        self._running = 0
        self._idle: list[anyio.Event] = []
        self._handles: set[WorkerHandle] = set()
        self._set_aside: dict[str, tuple[FileStat, str]] = {}
        self._answers: dict[tuple[Any, ...], FacesFound] = {}
        self._tasks: anyio.abc.TaskGroup | None = None

    async def __aenter__(self) -> Self:
        self._tasks = await anyio.create_task_group().__aenter__()
        for _ in range(self._workers):
            self._tasks.start_soon(self._serve_slot)
        return self

    async def __aexit__(self, *exc_info: Any) -> bool | None:
        assert self._tasks is not None
        tasks, self._tasks = self._tasks, None
        tasks.cancel_scope.cancel()
        try:
            return await tasks.__aexit__(*exc_info)
        finally:
            while self._urgent or self._normal:
                self._finish((self._urgent or self._normal).popleft(), Transient("syncd is stopping"))
            await self._nursery.close()
            await self._face_nursery.close()

    def start(self, faces: bool = False) -> None:
        """Begin to load the imaging libraries now (about 0.2 s in a process of its own; with `faces`, where
        they are installed, 0.9 s in another); returns at once, and needs no event loop yet. Where that fails,
        whoever needs a worker is told."""
        with contextlib.suppress(OSError):
            self._nursery.start()
            if faces and faces_available():
                self._face_nursery.start()

    @property
    def queue(self) -> tuple[int, int]:
        """Requests that wait and requests that a worker has."""
        return self._waiting, self._running

    @property
    def worker_pids(self) -> tuple[int, ...]:
        """Process ids of the workers alive now."""
        return tuple(sorted(handle.pid for handle in self._handles if handle.is_alive))

    async def inspect(self, path: str, root: str | None = None) -> PhotoFacts:
        """Facts of the photo at `path`, which must lie inside `root` where that is given, no link followed.

        A photo that cannot be decoded has facts too, with `decode_error`. Raises Changed when the file was
        changed or replaced meanwhile, Refused when it is no readable regular file or ended three workers,
        Transient when no worker can be started.
        """
        facts = await self._submit(_Job(["inspect", path, root], path=path))
        self.inspected += 1
        return PhotoFacts(**{**facts, "stat": FileStat(*facts["stat"])})

    async def render(self, path: str, destination: str | Path, expect_sha256: str) -> Rendition:
        """A JPEG of the photo in the new file `destination`, durable when this returns.

        Upright, sRGB, without place or thumbnail; the same bytes for the same photo. Raises Changed when
        the photo's SHA-256 is not `expect_sha256`, Refused when it cannot be decoded or `destination`
        exists, Transient when the disk is full.
        """
        request = ["render", path, os.fspath(destination), expect_sha256]
        return Rendition(**await self._submit(_Job(request, path=path)))

    async def preview(
        self, path: str, width: int, height: int, image_format: Literal["jpeg", "rgb"] = "jpeg"
    ) -> bytes:
        """The photo upright, shrunk to fit into `width` x `height` pixels (1 to 4096 each).

        `jpeg`: quality 80; `rgb`: big-endian uint16 width and height, then 3 bytes a pixel, row by row.
        """
        _check_preview(width, height, image_format)
        job = _Job(["preview", path, width, height, image_format], path=path, urgent=True)
        result: bytes = await self._submit(job)
        return result

    async def preview_of_bytes(
        self,
        data: bytes,
        width: int,
        height: int,
        image_format: Literal["jpeg", "rgb"] = "jpeg",
        *,
        urgent: bool = False,
    ) -> bytes:
        """As `preview`, of the photo in `data`; before other work where somebody waits with it (`urgent`)."""
        _check_preview(width, height, image_format)
        request = ["preview_of_bytes", width, height, image_format]
        result: bytes = await self._submit(_Job(request, data=data, urgent=urgent))
        return result

    async def perceptual_hash(self, data: bytes) -> str:
        """`imagehash.phash` of the picture in `data` turned upright, 16 hex digits.

        Raises Refused when the bytes are no picture.
        """
        result: str = await self._submit(_Job(["hash"], data=data, urgent=True))
        return result

    async def find_faces(
        self,
        path: str,
        root: str | None = None,
        *,
        max_side: int = 1600,
        upsample: int = 1,
        expect_sha256: str | None = None,
    ) -> FacesFound:
        """The faces of the photo at `path`, from left to right; none is an answer too.

        The photo is reduced to `max_side` pixels, then looked at `upsample` times twice as large. Raises
        Changed when it is not what `expect_sha256` says or changed meanwhile, Refused when it cannot be
        decoded, ended three workers, or the "faces" extra is missing, Transient when no worker can start.
        """
        _check_faces()
        request = ["faces", path, root, max_side, upsample, expect_sha256]
        return unpack(await self._submit(_Job(request, path=path)))

    async def find_faces_in(self, data: bytes, *, max_side: int = 1600, upsample: int = 1) -> FacesFound:
        """The faces of a picture that somebody waits with; goes before every other work. Raises as above.

        The last pictures' answers are kept: the same one is often sent again, with another tolerance.
        """
        _check_faces()
        key = (await anyio.to_thread.run_sync(_sha256, data), max_side, upsample)
        found = self._answers.pop(key, None)
        if found is None:
            request = ["faces_in", max_side, upsample]
            found = unpack(await self._submit(_Job(request, data=data, urgent=True)))
        self._answers[key] = found
        if len(self._answers) > MAX_ANSWERS:
            self._answers.pop(next(iter(self._answers)))
        return found

    # --- the queue ------------------------------------------------------------------------------------

    async def _submit(self, job: _Job) -> Any:
        if self._tasks is None:
            raise Transient("the image workers are not running")
        if job.path is not None and job.path in self._set_aside:
            await self._refuse_set_aside(job.path)
        (self._urgent if job.urgent else self._normal).append(job)
        self._waiting += 1
        if self._idle:
            self._idle.pop().set()
        try:
            await job.done.wait()
        finally:
            job.abandoned = not job.done.is_set()
        if job.error is not None:
            raise job.error
        return job.answer

    async def _refuse_set_aside(self, path: str) -> None:
        stat, reason = self._set_aside[path]
        if await anyio.to_thread.run_sync(_stat, path) == stat:
            raise Refused(reason)
        self._set_aside.pop(path, None)

    def _take(self) -> _Job | None:
        """The next job that somebody still waits for."""
        while self._urgent or self._normal:
            job = (self._urgent or self._normal).popleft()
            self._waiting -= 1
            if not job.abandoned:
                return job
        return None

    def _put_back(self, jobs: list[_Job]) -> None:
        for job in reversed(jobs):
            (self._urgent if job.urgent else self._normal).appendleft(job)
            self._waiting += 1

    def _finish(self, job: _Job, error: SyncdError | None, answer: Any = None) -> None:
        job.error, job.answer = error, answer
        job.done.set()

    # --- one slot, one worker at a time ------------------------------------------------------------------

    async def _serve_slot(self) -> None:
        worker: WorkerHandle | None = None
        flight: deque[_Job] = deque()
        depth = PIPELINE_DEPTHS[0]
        try:
            while True:
                if not flight and not await self._wait_for_work(math.inf if worker is None else IDLE_S):
                    self._dismiss(worker)
                    worker = None
                    continue
                faces = self._next_needs_faces()
                if worker is not None and faces and not (flight or worker.has_faces):
                    self._dismiss(worker)
                    worker = None
                if worker is None:
                    worker = await self._hire(faces)
                    continue
                self._fill(worker, flight, depth)
                if not flight:
                    continue
                began = anyio.current_time()
                reply = await worker.reply(self._time_limit_s)
                if isinstance(reply, str):
                    self._dismiss(worker)
                    worker = None
                    await self._bury(flight, reply)
                else:
                    self._deliver(flight.popleft(), *reply)
                    depth = _pipeline_depth(anyio.current_time() - began)
        finally:
            self._dismiss(worker)
            for job in flight:
                self._running -= 1
                self._finish(job, Transient("syncd is stopping"))

    async def _wait_for_work(self, timeout_s: float) -> bool:
        """True when there is something to take, False after `timeout_s` without."""
        if self._urgent or self._normal:
            return True
        event = anyio.Event()
        self._idle.append(event)
        try:
            with anyio.move_on_after(timeout_s):
                await event.wait()
        finally:
            if event in self._idle:
                self._idle.remove(event)
        return event.is_set()

    def _next_needs_faces(self) -> bool:
        queue = self._urgent or self._normal
        return bool(queue) and queue[0].needs_faces

    async def _hire(self, faces: bool) -> WorkerHandle | None:
        """A fresh worker; when none can be started, what waits for one like it is told so."""
        try:
            worker = await (self._face_nursery if faces else self._nursery).fork()
        except Transient as error:
            others = []
            while (job := self._take()) is not None:
                if job.needs_faces == faces:
                    self._finish(job, error)
                else:
                    others.append(job)
            self._put_back(others)
            return None
        self._handles.add(worker)
        return worker

    def _dismiss(self, worker: WorkerHandle | None) -> None:
        if worker is not None:
            self._handles.discard(worker)
            worker.kill()

    def _fill(self, worker: WorkerHandle, flight: deque[_Job], depth: int) -> None:
        """Hand over work: one job, or `depth` inspections."""
        while len(flight) < depth:
            if flight and (flight[-1].kind != "inspect" or self._urgent or self._waiting <= self._workers):
                return
            job = self._take()
            if job is None:
                return
            if (flight and job.kind != "inspect") or (job.needs_faces and not worker.has_faces):
                self._put_back([job])
                return
            flight.append(job)
            self._running += 1
            worker.send(json.dumps(job.request).encode(), job.data)

    def _deliver(self, job: _Job, status: str, answer: Any, data: bytes | None) -> None:
        self._running -= 1
        if job.abandoned and job.kind == "render" and status == "ok":
            Path(job.request[2]).unlink(missing_ok=True)
        if status == "ok":
            self._finish(job, None, answer if data is None else data)
        else:
            self._finish(job, _ERRORS[status](str(answer)))

    async def _bury(self, flight: deque[_Job], reason: str) -> None:
        """After a worker's end: its first job is the suspect, the others only go back to the queue."""
        self.killed += 1
        self._running -= len(flight)
        jobs = [job for job in flight if not job.abandoned]
        suspect = flight.popleft()
        flight.clear()
        suspect.kills += 1
        last = suspect.kills >= MAX_KILLS
        self._put_back([job for job in jobs if not (last and job is suspect)])
        if suspect.path is None:
            stat = None
        else:
            with anyio.CancelScope(shield=True):
                stat = await anyio.to_thread.run_sync(_after_death, suspect)
        if suspect.kills == 1:
            suspect.stat = stat
        if last:
            self._give_up(suspect, stat, reason)

    def _give_up(self, job: _Job, stat: FileStat | None, reason: str) -> None:
        message = f"set aside: it killed a worker {_times(job.kills)} ({reason})"
        if job.path is None:
            self._finish(job, Refused(message))
        elif stat is None or stat != job.stat:
            self._finish(job, Changed("the file changed while it was read"))
        else:
            if len(self._set_aside) >= MAX_SET_ASIDE:
                self._set_aside.pop(next(iter(self._set_aside)))
            self._set_aside[job.path] = (stat, message)
            self._finish(job, Refused(message, hint="it is tried again when the file changes"))


def _pipeline_depth(took_s: float) -> int:
    """How many inspections to hand to a worker whose last one took `took_s` seconds."""
    wanted = math.ceil(PIPELINE_S / max(took_s, 0.001))
    return min(max(wanted, PIPELINE_DEPTHS[0]), PIPELINE_DEPTHS[-1])


def _check_preview(width: int, height: int, image_format: str) -> None:
    if not (1 <= width <= 4096 and 1 <= height <= 4096):
        raise Refused("a preview is 1 to 4096 pixels wide and high")
    if image_format not in ("jpeg", "rgb"):
        raise Refused("a preview is jpeg or rgb")


def _check_faces() -> None:
    if not faces_available():
        raise Refused(MISSING, hint=MISSING_HINT)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _times(count: int) -> str:
    return {3: "three times"}.get(count, f"{count} times")


def _after_death(job: _Job) -> FileStat | None:
    """Remove what a killed worker left half-written; the photo's stat."""
    if job.kind == "render":
        Path(f"{job.request[2]}.part").unlink(missing_ok=True)
    return _stat(str(job.path))


def _stat(path: str) -> FileStat | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return FileStat(found.st_ctime_ns, found.st_mtime_ns, found.st_size, found.st_ino)
