"""What Google Drive says, as frozen values: https://developers.google.com/workspace/drive/api/reference/rest/v3

Names and ids are somebody else's data: a name is for showing, and neither is ever a path.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from syncd.errors import Transient

FOLDER: Final = "application/vnd.google-apps.folder"
SHORTCUT: Final = "application/vnd.google-apps.shortcut"
_NO_BYTES: Final = "application/vnd.google-apps."

IMAGE_EXTENSIONS: Final = frozenset(
    {"jpg", "jpeg", "jpe", "jfif", "png", "webp", "tif", "tiff", "heic", "heif", "hif", "gif", "bmp", "avif"}
    | {"dng", "cr2", "cr3", "crw", "nef", "nrw", "arw", "sr2", "srf", "orf", "rw2", "raf", "pef", "srw"}
    | {"raw", "rwl", "iiq", "3fr", "erf"}
)
ITEM_FIELDS: Final = (
    "id,name,mimeType,parents,trashed,size,md5Checksum,sha256Checksum,createdTime,modifiedTime,version,"
    "headRevisionId,driveId,resourceKey,capabilities/canDownload,shortcutDetails"
)


@dataclass(frozen=True, slots=True)
class ShortcutTarget:
    id: str
    mime_type: str
    resource_key: str | None = None


@dataclass(frozen=True, slots=True)
class DriveItem:
    """A file, folder or shortcut as it is now.

    `md5` and `sha256` are lower-case hex, None for what has no bytes of its own; `parent_id` is None where
    the parent is not visible to the account; `trashed` is also true below a folder in the trash; times are
    RFC 3339 as Drive gives them, and set by whoever uploaded; `can_download` is False where the owner
    forbids it.
    """

    id: str
    name: str
    mime_type: str
    parent_id: str | None = None
    trashed: bool = False
    size_bytes: int | None = None
    md5: str | None = None
    sha256: str | None = None
    created_at: str | None = None
    modified_at: str | None = None
    version: int | None = None
    head_revision_id: str | None = None
    drive_id: str | None = None
    resource_key: str | None = None
    can_download: bool = True
    target: ShortcutTarget | None = None

    @property
    def is_folder(self) -> bool:
        return self.mime_type == FOLDER

    @property
    def is_shortcut(self) -> bool:
        return self.mime_type == SHORTCUT

    @property
    def is_image(self) -> bool:
        """By type, or by the name's extension: cameras' formats often arrive as octet streams."""
        return self.mime_type.startswith("image/") or (
            not self.mime_type.startswith(_NO_BYTES) and self.extension in IMAGE_EXTENSIONS
        )

    @property
    def extension(self) -> str:
        """In lower case, without the dot; empty when there is none."""
        return self.name.rpartition(".")[2].lower() if "." in self.name else ""


@dataclass(frozen=True, slots=True)
class Change:
    """That something happened to a file; `item` is what it is now, None when it was deleted or is not
    visible any more. It may also have been only looked at: compare with what is known."""

    file_id: str
    item: DriveItem | None
    time: str | None = None

    @property
    def removed(self) -> bool:
        return self.item is None


@dataclass(frozen=True, slots=True)
class ChangePage:
    """A page of the feed, oldest change first. Exactly one of the tokens is set: `next_page_token` while
    there is more, `new_start_page_token` at the end. Keep it only once the changes have been recorded."""

    changes: tuple[Change, ...]
    next_page_token: str | None
    new_start_page_token: str | None


@dataclass(frozen=True, slots=True)
class Channel:
    """A promise of notifications. `expires_at_ms` is Unix time in milliseconds."""

    id: str
    resource_id: str
    expires_at_ms: int | None


@dataclass(frozen=True, slots=True)
class Downloaded:
    """What was written, by its own bytes: lower-case hex and size in bytes."""

    sha256: str
    md5: str
    size_bytes: int


def item_of(found: object) -> DriveItem:
    """A file resource as an item. Raises Transient for what is none."""
    if not isinstance(found, dict):
        raise Transient("Google Drive gave something that is no file")
    texts = {name: _text(found, key) for name, key in _TEXTS.items()}
    item_id, parents = _text(found, "id"), found.get("parents")
    if not item_id:
        raise Transient("Google Drive gave a file without an id")
    capabilities = found.get("capabilities")
    return DriveItem(
        id=item_id,
        name=_text(found, "name") or "",
        mime_type=_text(found, "mimeType") or "",
        parent_id=str(parents[0]) if isinstance(parents, list) and parents else None,
        trashed=found.get("trashed") is True,
        size_bytes=whole(found.get("size")),
        version=whole(found.get("version")),
        can_download=not isinstance(capabilities, dict) or capabilities.get("canDownload") is not False,
        target=_target(found.get("shortcutDetails")),
        **texts,
    )


_TEXTS: Final = {
    "md5": "md5Checksum",
    "sha256": "sha256Checksum",
    "created_at": "createdTime",
    "modified_at": "modifiedTime",
    "head_revision_id": "headRevisionId",
    "drive_id": "driveId",
    "resource_key": "resourceKey",
}


def _target(found: object) -> ShortcutTarget | None:
    if not isinstance(found, dict) or not (target_id := _text(found, "targetId")):
        return None
    return ShortcutTarget(target_id, _text(found, "targetMimeType") or "", _text(found, "targetResourceKey"))


def _text(found: Mapping[str, Any], key: str) -> str | None:
    value = found.get(key)
    return value if isinstance(value, str) else None


def whole(value: object) -> int | None:
    """Drive writes 64-bit numbers as texts."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return (
        int(value)
        if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 20
        else None
    )
