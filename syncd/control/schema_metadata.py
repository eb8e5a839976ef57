"""Requests and replies about descriptions of the library's photos; schema.py has them all."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from syncd.control.schema_base import Reply, Request, refuse_nul

MetadataStatus = Literal["pending", "processing", "review", "approved", "rejected", "failed"]

Text = Annotated[str, Meta(max_length=10_000)]
Word = Annotated[str, Meta(max_length=80)]
Words = Annotated[list[Word], Meta(max_length=100)]
Who = Annotated[str, Meta(min_length=1, max_length=200)]
Share = Annotated[float, Meta(ge=0, le=1)]
Id = Annotated[int, Meta(ge=1, le=2**63 - 1)]


class Metadata(Reply, frozen=True, kw_only=True):
    """What is written about one photo. `pending`: not described yet; `review`: described, not approved.
    `albums` are titles, `album_keys` their keys in the same order; `confidence` is 0 to 1."""

    id: int
    image_key: str
    filename: str
    albums: list[str]
    status: MetadataStatus
    description: str
    tags: list[str]
    categories: list[str]
    confidence: float | None
    approved: bool
    approved_by: str | None
    approved_at: str | None
    version: int
    error: str | None
    attempts: int
    photo_id: int = 0
    album_keys: list[str] = []
    title: str = ""
    caption: str = ""
    teams: list[str] = []
    event: str = ""
    sport: str = ""
    model: str | None = None
    described_at: str | None = None
    updated_at: str | None = None
    thumbnail_url: str | None = None
    web_url: str | None = None


class MetadataPage(Reply, frozen=True, kw_only=True):
    items: list[Metadata]
    next_cursor: str | None = None


class MetadataChange(Reply, frozen=True, kw_only=True):
    """One change; `version` is the one that it made. What did not change is the same before and after."""

    version: int
    changed_at: str
    changed_by: str
    change_reason: str
    previous_description: str | None
    new_description: str | None
    previous_tags: list[str] | None
    new_tags: list[str] | None
    previous_categories: list[str] | None
    new_categories: list[str] | None
    previous_status: str | None
    new_status: str | None


class MetadataDetail(Metadata, frozen=True, kw_only=True):
    """`history` is newest first."""

    history: list[MetadataChange] = []


class MetadataPatch(Request, frozen=True, kw_only=True):
    """An absent field stays as it is. A text that a person wrote is not written over by the model; status
    `pending` has the photo described again, `review` and `rejected` take an approval back."""

    description: Text | None = None
    tags: Words | None = None
    categories: Words | None = None
    status: Literal["pending", "review", "approved", "rejected"] | None = None
    changed_by: Who = "api"
    reason: Annotated[str, Meta(max_length=2000)] = ""

    def __post_init__(self) -> None:
        texts = [self.description or "", self.changed_by, self.reason]
        refuse_nul([*texts, *(self.tags or ()), *(self.categories or ())])
        if any(";" in word for word in (*(self.tags or ()), *(self.categories or ()))):
            raise ValueError("tags and categories: expected words without `;`, which joins them in exports")
        if not self.changed_by.strip():
            raise ValueError("changed_by: expected more than blanks")
        if self.description is not None and not self.description.strip():
            raise ValueError("description: expected more than blanks")


class MetadataApproval(Request, frozen=True, kw_only=True):
    """Either `ids`, or a filter: all that match and are described, in `status` (`review` unless given). An
    empty `q` or `album_key` chooses nothing, and alone is no filter."""

    ids: Annotated[list[Id], Meta(min_length=1, max_length=10_000)] | None = None
    status: MetadataStatus | None = None
    q: Annotated[str, Meta(max_length=1000)] | None = None
    album_key: str | None = None
    min_confidence: Share | None = None
    approved_by: Who = "api"

    def __post_init__(self) -> None:
        refuse_nul([self.q or "", self.album_key or "", self.approved_by])
        words, key = ((text or "").strip() for text in (self.q, self.album_key))
        if (self.ids is None) == (not (self.status or words or key) and self.min_confidence is None):
            raise ValueError("expected either ids or a filter: status, q, album_key, min_confidence")


class NotApproved(Reply, frozen=True, kw_only=True):
    id: int
    reason: str


class MetadataApproved(Reply, frozen=True, kw_only=True):
    """`approved` are those that were not before."""

    approved: int
    skipped: list[NotApproved] = []


class MetadataQuery(Request, frozen=True, kw_only=True):
    """`text` in words of any language that the embedding model knows."""

    text: Annotated[str, Meta(min_length=1, max_length=10_000)]
    limit: Annotated[int, Meta(ge=1, le=1000)] = 50

    def __post_init__(self) -> None:
        refuse_nul([self.text])
        if not self.text.strip():
            raise ValueError("text: expected more than blanks")


class FoundMetadata(Metadata, frozen=True, kw_only=True):
    """`distance` is the cosine distance of the description from the text: 0 the same, 1 unrelated."""

    distance: float


class FoundMetadataPage(Reply, frozen=True, kw_only=True):
    items: list[FoundMetadata]
    next_cursor: str | None = None


class MetadataExport(msgspec.Struct, frozen=True, kw_only=True):
    """One row of an export, with just the fields of the contract."""

    id: int
    image_key: str
    filename: str
    albums: list[str]
    status: MetadataStatus
    description: str
    tags: list[str]
    categories: list[str]
    confidence: float | None
    approved: bool
    approved_by: str | None
    approved_at: str | None
    version: int
    error: str | None
    attempts: int
