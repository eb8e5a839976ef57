"""Requests and replies about the exchange between archives; schema.py has them all. Paths are absolute and
of the daemon's machine. `db` names the archive that works; without it that is the catalogue.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from syncd.control.schema_base import Reply, Request, refuse_nul

Path = Annotated[str, Meta(min_length=1, max_length=4096)]
ListId = Annotated[str, Meta(min_length=1, max_length=64)]

ExchangeSide = Literal["theirs", "near", "ours"]
"""What only they have; of that, what looks like a picture of ours; what only we have."""


class _OnArchive(Request, frozen=True, kw_only=True):
    db: Path | None = None

    def __post_init__(self) -> None:
        refuse_nul(value for name in self.__struct_fields__ if isinstance(value := getattr(self, name), str))


class ExchangeAnalyzeRequest(_OnArchive, frozen=True, kw_only=True):
    """A dry run only counts: no list is made."""

    remote_db: Path
    dry_run: bool = False


class ExchangeExportRequest(_OnArchive, frozen=True, kw_only=True):
    list_file: Path
    output_dir: Path
    dry_run: bool = False


class ExchangeImportRequest(_OnArchive, frozen=True, kw_only=True):
    """A dry run checks every file and takes none."""

    list_id: ListId
    import_dir: Path
    dry_run: bool = False


class ExchangeListRequest(_OnArchive, frozen=True, kw_only=True):
    list_id: ListId


class ExchangeReceiptRequest(_OnArchive, frozen=True, kw_only=True):
    receipt_file: Path


class FileReason(Reply, frozen=True, kw_only=True):
    file: str
    reason: str


class ExchangeAnalysis(Reply, frozen=True, kw_only=True):
    """What the other archive has and this one lacks. `total_files` is `hash_files` and `url_files` (rows
    known only by their address) together; `total_bytes` is null where a size is not known. `near_matches`
    of the hash files look like a picture that is here. `only_here` and `both` count distinct files."""

    list_id: str | None
    list_file: str | None
    total_files: int
    hash_files: int
    url_files: int
    total_bytes: int | None
    dry_run: bool
    near_matches: int = 0
    only_here: int = 0
    both: int = 0
    remote_db: str = ""


class ExchangeExported(Reply, frozen=True, kw_only=True):
    """`missing` are asked for and no longer there, `failed` are there and could not be given. The named
    ones are the first thousand."""

    list_id: str
    exported: int
    missing: int
    failed: list[FileReason]
    bytes: int
    output_dir: str
    dry_run: bool = False
    missing_files: list[FileReason] = []
    manifest: str | None = None


class ExchangeImported(Reply, frozen=True, kw_only=True):
    """`missing` are asked for and not in the folder. `receipt` is the signed file that tells the sender."""

    list_id: str
    imported: int
    already_here: int
    rejected: list[FileReason]
    missing: int
    bytes: int = 0
    dry_run: bool = False
    receipt: str | None = None


class ExchangeVerified(Reply, frozen=True, kw_only=True):
    """Of the files that were imported; `problems` names the first thousand that are not as they came."""

    list_id: str
    total: int
    ok: int
    missing: int
    corrupt: int
    problems: list[FileReason] = []


class ExchangeCleaned(Reply, frozen=True, kw_only=True):
    """How many staged files went, and how much they took."""

    list_id: str
    removed: int
    bytes: int


class ExchangeReceipt(Reply, frozen=True, kw_only=True):
    """What a receipt says; its signature was checked. `signer` is a fingerprint, and `is_asker` says whether
    it is that of whoever asked for the list."""

    list_id: str
    signed_at: str
    signer: str
    is_asker: bool
    arrived: int
    rejected: int
    missing: int


class ExchangeList(Reply, frozen=True, kw_only=True):
    """`role`: this archive `asks` for these files, or `gives` them. `status` is `pending` (nothing came or
    went yet), `running`, `partial`, `completed`, `verified` or `failed`; `processed_files` came or went.
    `folder` is where they were last read from or written to."""

    list_id: str
    role: Literal["asks", "gives"]
    status: str
    created_at: str
    remote: str
    list_file: str | None
    total_files: int
    hash_files: int
    url_files: int
    total_bytes: int | None
    processed_files: int
    error_count: int
    near_matches: int
    only_here: int
    folder: str | None
    error: str | None


class ExchangeListPage(Reply, frozen=True, kw_only=True):
    items: list[ExchangeList]
    next_cursor: str | None = None


class ExchangeNear(Reply, frozen=True, kw_only=True):
    """The picture here that looks most alike; `distance` is 0 to 64, of perceptual hashes."""

    image_id: int
    distance: int
    local_path: str | None


class ExchangeFile(Reply, frozen=True, kw_only=True):
    """One file of a list. `status` is `pending`, `exported`, `imported`, `already_here`, `missing`,
    `rejected` or `failed`; `reason` says why it is one of the last three. With the side `ours`, one file
    that only this archive has."""

    file_id: int
    sha256: str | None
    url: str | None
    size_bytes: int | None
    name: str
    title: str | None
    author: str | None
    status: str
    reason: str | None
    near: ExchangeNear | None = None


class ExchangeShown(ExchangeList, frozen=True, kw_only=True):
    """One list with a page of its files."""

    items: list[ExchangeFile]
    next_cursor: str | None = None
