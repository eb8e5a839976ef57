"""The files that archives send each other: lists, manifests and receipts. JSON Lines, the first line says
what it is. All of them come from outside: every line is checked, and an error names the line.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import msgspec

from syncd.errors import Refused
from syncd.text import printable

SCHEMA = 1
LIST_KIND = "syncd-exchange-list"
MANIFEST_KIND = "syncd-exchange-manifest"
RECEIPT_KIND = "syncd-exchange-receipt"
LONGEST_LINE_BYTES = 1 << 20

SHA256 = re.compile(r"[0-9a-f]{64}")
LIST_ID = re.compile(r"[A-Za-z0-9_-]{4,64}")
_PLACE = re.compile(r"files/([0-9a-f]{2})/([0-9a-f]{64})(\.[a-z0-9]{1,8})?")

Head = TypeVar("Head", bound="_Head")


class _Line(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One line: a field that is not known is a mistake, or of a later version."""


class _Head(_Line, frozen=True, kw_only=True):
    kind: str
    schema: int
    list_id: str
    created_at: str


class ListHead(_Head, frozen=True, kw_only=True):
    """Who asks, and for how much. `key` is the public key that will sign the receipt, hex."""

    by: str = ""
    key: str = ""
    total_files: int


class Asked(_Line, frozen=True, kw_only=True):
    """A file that is asked for: by its hash, or where it has none by its address."""

    sha256: str | None = None
    url: str | None = None
    size_bytes: int | None = None


class ManifestHead(_Head, frozen=True, kw_only=True):
    by: str = ""
    total_files: int


class Group(_Line, frozen=True, kw_only=True):
    """An album or a collection."""

    album_id: str | None = None
    collection_id: str | None = None
    title: str | None = None
    url: str | None = None
    is_public: int | None = None


class Metadata(_Line, frozen=True, kw_only=True):
    """What the giver's archive tells of a file."""

    title: str | None = None
    description: str | None = None
    author: str | None = None
    author_url: str | None = None
    license: str | None = None
    camera_make: str | None = None
    camera_model: str | None = None
    focal_length: str | None = None
    aperture: str | None = None
    shutter_speed: str | None = None
    taken_date: str | None = None
    upload_date: str | None = None
    page_url: str | None = None
    perceptual_hash: str | None = None
    tags: list[str] = []
    albums: list[Group] = []
    collections: list[Group] = []


class Given(_Line, frozen=True, kw_only=True):
    """A file of the folder. `file` is its place below it, `name` what the giver calls it."""

    sha256: str
    size_bytes: int
    file: str
    url: str | None = None
    name: str = ""
    metadata: Metadata = msgspec.field(default_factory=Metadata)


class ReceiptHead(_Head, frozen=True, kw_only=True):
    """`key` is the public key that the last line is signed with, hex."""

    key: str
    arrived: int
    rejected: int
    missing: int


class Arrived(_Line, frozen=True, kw_only=True):
    sha256: str


class Signature(_Line, frozen=True, kw_only=True):
    signature: str


_encoder = msgspec.json.Encoder()


def encode(line: msgspec.Struct) -> bytes:
    """A line, with its end."""
    return _encoder.encode(line) + b"\n"


class Reader:
    """The lines of one file, checked one by one."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path = path
        self._file = file
        self.number = 0
        self.first = b""

    def head(self, shape: type[Head], kind: str, what: str) -> Head:
        """The first line. Raises Refused when this is no such file, or one of a later version."""
        self.first = line = self._next() or b""
        try:
            about = msgspec.json.decode(line, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeError):
            about = {}
        if about.get("kind") != kind:
            raise Refused(f"{self} is not {what}", hint="name the file that syncd wrote")
        schema = about.get("schema")
        if isinstance(schema, int) and schema > SCHEMA:
            raise Refused(f"{self} is {what} of a newer syncd", hint="update syncd on this side")
        head: Head = self._decoded(line, shape)
        if schema != SCHEMA or not LIST_ID.fullmatch(head.list_id):
            raise self._wrong("its first line has no schema 1 or no list_id")
        return head

    def lines(self) -> Iterator[bytes]:
        """The other lines, as they are."""
        while (line := self._next()) is not None:
            yield line

    def asked(self) -> Iterator[Asked]:
        """The files that a list asks for."""
        for line in self.lines():
            found: Asked = self._decoded(line, Asked)
            if found.sha256 is None and not found.url:
                raise self._wrong("it names neither a sha256 nor a url")
            if found.sha256 is not None and not SHA256.fullmatch(found.sha256):
                raise self._wrong("its sha256 is not 64 lower-case hex digits")
            if found.size_bytes is not None and not 0 <= found.size_bytes < 1 << 60:
                raise self._wrong("its size_bytes is no size")
            yield found

    def given(self) -> Iterator[Given | Refused]:
        """The entries of a manifest; a Refused for each that is none."""
        for line in self.lines():
            try:
                yield self._decoded(line, Given)
            except Refused as error:
                yield error

    def _decoded(self, line: bytes, shape: type[Any]) -> Any:
        if len(line) > LONGEST_LINE_BYTES:
            raise self._wrong("it is too long")
        try:
            return msgspec.json.decode(line, type=shape)
        except (msgspec.DecodeError, UnicodeError) as error:
            raise self._wrong(str(error)) from None

    def _next(self) -> bytes | None:
        while line := self._line():
            self.number += 1
            if line.strip():
                return line
        return None

    def _line(self) -> bytes:
        """The next line; of one that is too long the beginning."""
        try:
            line = rest = self._file.readline(LONGEST_LINE_BYTES + 1)
            while len(rest) > LONGEST_LINE_BYTES and not rest.endswith(b"\n"):
                rest = self._file.readline(LONGEST_LINE_BYTES + 1)
            return line
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise Refused(f"{self} cannot be read: {reason}", hint="look at its disk") from error

    def _wrong(self, reason: str) -> Refused:
        return Refused(
            f"{self}, line {self.number}: {printable(reason)}",
            hint="it was edited or damaged: ask for it again",
        )

    def __str__(self) -> str:
        return printable(str(self.path))


@contextmanager
def reading(path: Path) -> Iterator[Reader]:
    """A list, manifest or receipt, opened to be read. Never follows a link, never waits on a pipe."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise Refused(
            f"{printable(str(path))} cannot be read: {(error.strerror or str(error)).lower()}",
            hint="name the file that syncd wrote; the daemon has to be able to read it",
        ) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise Refused(f"{printable(str(path))} is not a file", hint="name the file that syncd wrote")
    with os.fdopen(descriptor, "rb") as file:
        yield Reader(path, file)


def manifest_name(list_id: str) -> str:
    return f"manifest-{list_id}.jsonl"


def place_of(sha256: str, source_name: str) -> str:
    """Where a file goes below the folder: by its content, with the giver's suffix."""
    suffix = os.path.splitext(source_name)[1].lower()  # noqa: PTH122 - a name, not a path
    plain = suffix if re.fullmatch(r"\.[a-z0-9]{1,8}", suffix) else ""
    return f"files/{sha256[:2]}/{sha256}{plain}"


def wrong_place(entry: Given) -> str | None:
    """Why an entry of a manifest is not believed; None when it is."""
    if not SHA256.fullmatch(entry.sha256):
        return "its sha256 is not 64 lower-case hex digits"
    match = _PLACE.fullmatch(entry.file)
    if match is None or match[1] != entry.sha256[:2] or match[2] != entry.sha256:
        return "its place is not the one that its content gives it"
    return None if 0 <= entry.size_bytes < 1 << 60 else "its size is no size"
