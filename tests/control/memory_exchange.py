"""The exchange of a daemon, in memory, and calls of every route about it."""

from __future__ import annotations

from typing import Any, Literal

from msgspec.structs import asdict, replace

from syncd.control import schema
from syncd.control.api import Invalid, NotFound
from syncd.errors import Refused

AT = "2026-11-21T12:00:00.000Z"
LIST_ID = "4f1c2a9b7d3e5f60"
FILE = schema.ExchangeFile(
    file_id=1, sha256="a" * 64, url=None, size_bytes=3, name="kép\x1b.jpg", title="A bridge", author="Anna",
    status="pending", reason=None,
    near=schema.ExchangeNear(image_id=7, distance=2, local_path="/photos/bridge.png"),
)  # fmt: skip
LISTED = schema.ExchangeList(
    list_id=LIST_ID, role="asks", status="pending", created_at=AT, remote="/disk/anna.db",
    list_file=f"/state/exchange/{LIST_ID}.list.jsonl", total_files=2, hash_files=1, url_files=1,
    total_bytes=None, processed_files=0, error_count=0, near_matches=1, only_here=4, folder=None, error=None,
)  # fmt: skip

# method, target, body, status
EXCHANGE_CALLS: list[tuple[str, str, Any, int]] = [
    ("POST", "/api/exchange/analyze", {"remote_db": "/disk/anna.db"}, 200),
    ("POST", "/api/exchange/analyze", {"remote_db": "/disk/anna.db", "dry_run": True, "db": "/a.db"}, 200),
    ("POST", "/api/exchange/export", {"list_file": "/a.jsonl", "output_dir": "/disk"}, 200),
    ("POST", "/api/exchange/import", {"list_id": LIST_ID, "import_dir": "/disk"}, 200),
    ("POST", "/api/exchange/verify", {"list_id": LIST_ID}, 200),
    ("POST", "/api/exchange/clean", {"list_id": LIST_ID}, 200),
    ("POST", "/api/exchange/receipt", {"receipt_file": "/disk/receipt.jsonl"}, 200),
    ("GET", "/api/exchange/lists", None, 200),
    ("GET", "/api/exchange/lists?db=/a.db&limit=1", None, 200),
    ("GET", f"/api/exchange/lists/{LIST_ID}", None, 200),
    ("GET", f"/api/exchange/lists/{LIST_ID}?side=near&limit=1&cursor=0", None, 200),
    ("GET", f"/api/exchange/lists/{LIST_ID}/preview/1?of=near&width=80", None, 200),
    # errors
    ("POST", "/api/exchange/import", {"list_id": "none", "import_dir": "/disk"}, 404),
    ("POST", "/api/exchange/verify", {"list_id": "none"}, 404),
    ("GET", "/api/exchange/lists/none", None, 404),
    ("GET", f"/api/exchange/lists/{LIST_ID}/preview/2", None, 404),
    ("GET", "/api/exchange/analyze", None, 405),
    ("POST", "/api/exchange/analyze", {"remote_db": "/busy.db"}, 409),
    ("POST", "/api/exchange/analyze", None, 422),
    ("POST", "/api/exchange/analyze", {"remote_db": ""}, 422),
    ("POST", "/api/exchange/analyze", {"remote_db": "relative.db"}, 422),
    ("POST", "/api/exchange/analyze", {"remote_db": "/a\0b"}, 422),
    ("POST", "/api/exchange/analyze", {"remote_db": "/a", "db": "/a\0b"}, 422),
    ("POST", "/api/exchange/analyze", {"remote_db": "/a", "dryrun": True}, 422),
    ("POST", "/api/exchange/export", {"list_file": "/a.jsonl"}, 422),
    ("GET", f"/api/exchange/lists/{LIST_ID}?side=both", None, 422),
    ("GET", "/api/exchange/lists?limit=0", None, 422),
]

# arguments, the shape of the JSON document
EXCHANGE_COMMANDS: list[tuple[str, Any]] = [
    ("exchange analyze --remote-db /disk/anna.db", schema.ExchangeAnalysis),
    ("exchange lists", schema.ExchangeListPage),
    (f"exchange show {LIST_ID}", schema.ExchangeShown),
    ("exchange export /a.jsonl --output-dir /disk", schema.ExchangeExported),
    (f"exchange import {LIST_ID} --import-dir /disk", schema.ExchangeImported),
    (f"exchange verify {LIST_ID}", schema.ExchangeVerified),
    (f"exchange clean {LIST_ID}", schema.ExchangeCleaned),
    ("exchange receipt /disk/receipt.jsonl", schema.ExchangeReceipt),
]


def _found(list_id: str) -> str:
    if list_id != LIST_ID:
        raise NotFound(f"there is no list {list_id!r}", hint="`syncctl exchange lists` shows them")
    return list_id


class MemoryExchange:
    """One list of two files, of which one came."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.listed = LISTED
        self.bad = 0
        """How many files are missing."""

    async def analyze(self, request: schema.ExchangeAnalyzeRequest) -> schema.ExchangeAnalysis:
        self.asked.append(request)
        if not request.remote_db.startswith("/"):
            raise Invalid("`remote_db` must be absolute")
        if request.remote_db == "/busy.db":
            raise Refused("an exchange works on the catalogue already")
        made = None if request.dry_run else LIST_ID
        return schema.ExchangeAnalysis(
            list_id=made, list_file=made and self.listed.list_file, total_files=2, hash_files=1, url_files=1,
            total_bytes=None, dry_run=request.dry_run, near_matches=1, only_here=4, both=9,
            remote_db=request.remote_db,
        )  # fmt: skip

    async def export(self, request: schema.ExchangeExportRequest) -> schema.ExchangeExported:
        self.asked.append(request)
        missing = [schema.FileReason(file="b" * 64, reason="the file is gone")] * self.bad
        return schema.ExchangeExported(
            list_id=LIST_ID, exported=1, missing=self.bad, failed=[], bytes=3, output_dir=request.output_dir,
            missing_files=missing,
        )  # fmt: skip

    async def take(self, request: schema.ExchangeImportRequest) -> schema.ExchangeImported:
        self.asked.append(request)
        return schema.ExchangeImported(
            list_id=_found(request.list_id), imported=1, already_here=0,
            rejected=[schema.FileReason(file="x\x1b", reason="a symbolic link")] * self.bad, missing=self.bad,
            dry_run=request.dry_run,
        )  # fmt: skip

    async def verify(self, request: schema.ExchangeListRequest) -> schema.ExchangeVerified:
        return schema.ExchangeVerified(
            list_id=_found(request.list_id), total=1 + self.bad, ok=1, missing=self.bad, corrupt=0
        )

    async def clean(self, request: schema.ExchangeListRequest) -> schema.ExchangeCleaned:
        return schema.ExchangeCleaned(list_id=_found(request.list_id), removed=2, bytes=1234)

    async def receipt(self, request: schema.ExchangeReceiptRequest) -> schema.ExchangeReceipt:
        return schema.ExchangeReceipt(
            list_id=LIST_ID, signed_at=AT, signer="ab:cd", is_asker=not self.bad, arrived=1, rejected=0,
            missing=self.bad,
        )  # fmt: skip

    async def lists(self, db: str | None, limit: int, cursor: str | None) -> schema.ExchangeListPage:
        return schema.ExchangeListPage(items=[] if db else [self.listed])

    async def show(
        self, list_id: str, db: str | None, side: schema.ExchangeSide, limit: int, cursor: str | None
    ) -> schema.ExchangeShown:
        _found(list_id)
        items = [FILE if side != "theirs" else replace(FILE, near=None)]
        return schema.ExchangeShown(**asdict(self.listed), items=items)

    async def preview(
        self,
        list_id: str,
        file_id: str,
        of: Literal["theirs", "near", "ours"],
        width: int,
        height: int,
        image_format: Literal["jpeg", "rgb"],
    ) -> bytes:
        if _found(list_id) and file_id != "1":
            raise NotFound("there is no such file in the list")
        return b"\xff\xd8" + of.encode()
