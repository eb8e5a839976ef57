"""The two small languages of Drive's requests: `q` and `fields`."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

Resource = dict[str, Any]
Condition = Callable[[Resource], bool]
Mask = dict[str, "Mask"]

_TOKEN = re.compile(r"\s*(?:(?P<text>'(?:\\.|[^'\\])*')|(?P<sign>!=|<=|>=|=|<|>|\(|\))|(?P<word>[A-Za-z]+))")
_CHOICES = {"name", "mimeType", "trashed", "modifiedTime", "createdTime", "sharedWithMe"}

_FILE_WORDS = """
    kind id name mimeType parents trashed explicitlyTrashed size md5Checksum sha1Checksum sha256Checksum
    createdTime modifiedTime version headRevisionId originalFilename fileExtension ownedByMe driveId
    resourceKey thumbnailLink webViewLink description starred trashedTime viewedByMe quotaBytesUsed
"""
_FILE: Mask = {name: {} for name in _FILE_WORDS.split()}
_FILE["shortcutDetails"] = {name: {} for name in ("targetId", "targetMimeType", "targetResourceKey")}
_FILE["capabilities"] = {name: {} for name in ("canDownload", "canEdit", "canCopy")}
_FILE["imageMediaMetadata"] = {
    name: {} for name in ("width", "height", "rotation", "time", "cameraMake", "cameraModel", "location")
}
_FILE["videoMediaMetadata"] = {name: {} for name in ("width", "height", "durationMillis")}
_CHANGE: Mask = {
    name: {} for name in ("kind", "type", "changeType", "time", "removed", "fileId", "driveId", "drive")
}
SCHEMAS: dict[str, Mask] = {
    "file": _FILE,
    "files": {"kind": {}, "nextPageToken": {}, "incompleteSearch": {}, "files": _FILE},
    "changes": {
        "kind": {}, "nextPageToken": {}, "newStartPageToken": {}, "changes": {**_CHANGE, "file": _FILE},
    },
    "start": {"kind": {}, "startPageToken": {}},
    "about": {"kind": {}, "user": {n: {} for n in ("kind", "displayName", "emailAddress", "permissionId")}},
}  # fmt: skip
DEFAULTS = {
    "file": "kind,id,name,mimeType",
    "files": "kind,nextPageToken,incompleteSearch,files(kind,id,name,mimeType)",
    "changes": "kind,nextPageToken,newStartPageToken,changes(kind,type,changeType,time,removed,fileId,"
    "file(kind,id,name,mimeType))",
    "start": "kind,startPageToken",
}


class Wrong(Exception):
    """What is wrong with a request."""


# --- fields ---------------------------------------------------------------------------------------------


def parse_fields(text: str, schema: Mask) -> Mask:
    """The tree of what is asked for. Raises Wrong for a field that does not exist."""
    mask, rest = _fields(text, schema) if text else ({}, "")
    if rest:
        raise Wrong(f"Invalid field selection {rest}")
    return mask


def _fields(text: str, schema: Mask) -> tuple[Mask, str]:
    mask: Mask = {}
    while True:
        match = re.match(r"\s*(\*|[A-Za-z0-9]+)\s*", text)
        if match is None:
            raise Wrong(f"Invalid field selection {text}")
        name, text = match[1], text[match.end() :]
        if name == "*":
            mask.update(schema)
        else:
            if name not in schema:
                raise Wrong(f"Invalid field selection {name}")
            inner = schema[name]
            if text.startswith("/"):
                one = re.match(r"/([A-Za-z0-9]+|\*)", text)
                inner, _ = _fields(one[1] if one else "", schema[name])
                text = text[one.end() :] if one else ""
            elif text.startswith("("):
                inner, text = _fields(text[1:], schema[name])
                if not text.startswith(")"):
                    raise Wrong("Invalid field selection")
                text = text[1:]
            mask[name] = {**mask.get(name, {}), **inner}
        if not text.startswith(","):
            return mask, text
        text = text[1:]


def apply_fields(mask: Mask, value: Any) -> Any:
    """Only what the mask names."""
    if isinstance(value, list):
        return [apply_fields(mask, one) for one in value]
    if not isinstance(value, dict):
        return value
    return {name: apply_fields(mask[name], inner) for name, inner in value.items() if name in mask}


# --- q --------------------------------------------------------------------------------------------------


class Query:
    """A parsed `q`. `parents` are the folders that it names."""

    def __init__(self, text: str) -> None:
        self.parents: list[str] = []
        self._tokens = self._split(text)
        self._at = 0
        self.matches: Condition = self._any() if self._tokens else lambda resource: True
        if self._at != len(self._tokens):
            raise Wrong("Invalid Value")

    @staticmethod
    def _split(text: str) -> list[str]:
        tokens, at = [], 0
        while text[at:].strip():
            match = _TOKEN.match(text, at)
            if match is None:
                raise Wrong("Invalid Value")
            tokens.append(match[0].strip())
            at = match.end()
        return tokens

    def _take(self) -> str:
        if self._at >= len(self._tokens):
            raise Wrong("Invalid Value")
        self._at += 1
        return self._tokens[self._at - 1]

    def _next_is(self, word: str) -> bool:
        found = self._at < len(self._tokens) and self._tokens[self._at] == word
        self._at += found
        return found

    def _any(self) -> Condition:
        parts = [self._all()]
        while self._next_is("or"):
            parts.append(self._all())
        return lambda resource: any(part(resource) for part in parts)

    def _all(self) -> Condition:
        parts = [self._one()]
        while self._next_is("and"):
            parts.append(self._one())
        return lambda resource: all(part(resource) for part in parts)

    def _one(self) -> Condition:
        if self._next_is("not"):
            inner = self._one()
            return lambda resource: not inner(resource)
        if self._next_is("("):
            inner = self._any()
            if not self._next_is(")"):
                raise Wrong("Invalid Value")
            return inner
        first = self._take()
        if first.startswith("'"):
            return self._membership(_text(first))
        if first not in _CHOICES:
            raise Wrong("Invalid Value")
        return self._comparison(first, self._take(), self._take())

    def _membership(self, value: str) -> Condition:
        if self._take() != "in":
            raise Wrong("Invalid Value")
        if self._take() != "parents":
            raise Wrong("Invalid Value")
        self.parents.append(value)
        return lambda resource: value in resource.get("parents", [])

    def _comparison(self, name: str, sign: str, value: str) -> Condition:
        if name == "trashed":
            if sign not in ("=", "!=") or value not in ("true", "false"):
                raise Wrong("Invalid Value")
            wanted = (value == "true") == (sign == "=")
            return lambda resource: resource["trashed"] == wanted
        if not value.startswith("'"):
            raise Wrong("Invalid Value")
        text = _text(value)
        if sign == "contains":  # a prefix, of types and of words of a name alike
            return lambda resource: resource[name].lower().startswith(text.lower())
        if name in ("name", "mimeType") and sign in ("=", "!="):
            return lambda resource: (resource[name].lower() == text.lower()) == (sign == "=")
        if name in ("modifiedTime", "createdTime") and sign in ("<", ">", "<=", ">=", "="):
            return lambda resource: _compare(resource[name], sign, text)
        raise Wrong("Invalid Value")


def _compare(left: str, sign: str, right: str) -> bool:
    left, right = left[:19], right[:19]
    return {"<": left < right, ">": left > right, "<=": left <= right, ">=": left >= right}.get(
        sign, left == right
    )


def _text(token: str) -> str:
    return re.sub(r"\\(.)", r"\1", token[1:-1])
