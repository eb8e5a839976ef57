"""Names for imported files: made from what somebody else wrote, and safe on every file system."""

from __future__ import annotations

import re
import unicodedata

UNKNOWN_AUTHOR = "unknown"
_LONGEST_BYTES = 80
_UNSAFE = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]')
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?", re.IGNORECASE)
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,8}")


def safe_name(text: str, fallback: str) -> str:
    """`text` as one component of a path: no separators, no control or invisible characters, no leading dot,
    no name that Windows reserves, at most 80 bytes; `fallback` where nothing is left."""
    text = unicodedata.normalize("NFC", text)
    kept = "".join(
        " " if character.isspace() else character
        for character in text
        if unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co", "Cn") or character.isspace()
    )
    kept = re.sub(r" +", " ", _UNSAFE.sub("_", kept)).strip(" .")
    encoded = kept.encode()[:_LONGEST_BYTES]
    kept = encoded.decode(errors="ignore").strip(" .")
    if not kept:
        return fallback
    return f"_{kept}" if _RESERVED.fullmatch(kept) else kept


def safe_author(author: str | None) -> str:
    """The folder of an author's files."""
    return safe_name(author or "", UNKNOWN_AUTHOR)


def file_name(name: str, sha256: str, *, whole_hash: bool = False) -> str:
    """The name that an imported file gets: what the giver calls it, then the beginning of its hash, so that
    two files never claim the same name, whatever their case."""
    stem, suffix = name, ""
    if match := _SUFFIX.fullmatch(name[name.rfind(".") :] if "." in name else ""):
        suffix = match[0].lower()
        stem = name[: -len(suffix)]
    part = sha256 if whole_hash else sha256[:16]
    return f"{safe_name(stem, 'photo')}-{part}{suffix}"
