"""Tokens at rest: `<state_dir>/secrets.json`, each value sealed with AES-256-GCM.

Which account a value belongs to is bound in (AAD `syncd/token/v1|provider|account|field`), so that a value
copied to another account, or changed by a bit, is refused. Rows are replaced, never removed: a sign-in that
was turned down today may be the one that a person looks for tomorrow.
"""

from __future__ import annotations

import base64
import binascii
import fcntl
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self

from anyio import to_thread

from syncd.errors import AuthRejected, Fatal, Transient
from syncd.remotes.keys import key_id, load_keys, read_private, sync_folder, write_new
from syncd.text import printable

FILE: Final = "secrets.json"
NONCE_BYTES: Final = 12
LIMIT_BYTES: Final = 4 << 20
_WORD: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")


class StaleGeneration(Transient):
    """Somebody else stored newer values first; nothing was written. Load again."""


@dataclass(frozen=True, slots=True)
class StoredToken:
    """The secrets of one account. `generation` rises by one with each save."""

    provider: str
    account: str
    generation: int
    values: Mapping[str, str] = field(repr=False)
    saved_at: str = ""


class TokenStore:
    """The sign-ins of all providers and accounts. Open it with `TokenStore.open`."""

    def __init__(self, state_dir: Path, keys: tuple[bytes, ...]) -> None:
        self._path = state_dir / FILE
        self._lock_path = state_dir / f"{FILE}.lock"
        self._keys = keys

    @classmethod
    async def open(cls, state_dir: Path, credentials_dir: Path | None = None) -> Self:
        """The store in `state_dir`. Raises Fatal (exit 78) for a key that cannot be trusted."""
        return cls(state_dir, await to_thread.run_sync(load_keys, state_dir, credentials_dir))

    async def accounts(self, provider: str) -> list[str]:
        """The accounts of `provider`, sorted. Needs no key."""
        return await to_thread.run_sync(self._accounts, provider)

    async def load(self, provider: str, account: str) -> StoredToken | None:
        """What was stored last, None when nothing was. Raises AuthRejected for values that were changed,
        moved here, or sealed with another key."""
        return await to_thread.run_sync(self._load, provider, account)

    async def save(
        self, provider: str, account: str, values: Mapping[str, str], *, expected_generation: int | None
    ) -> StoredToken:
        """Replaces the values of an account, durably. `expected_generation` is that of the values which
        these are made from, 0 for none yet; None replaces whatever there is, which is for a new sign-in.
        Raises StaleGeneration when another came first."""
        return await to_thread.run_sync(self._save, provider, account, dict(values), expected_generation)

    def _accounts(self, provider: str) -> list[str]:
        return sorted(row["account"] for row in self._read() if row["provider"] == provider)

    def _load(self, provider: str, account: str) -> StoredToken | None:
        row = _row_of(self._read(), provider, account)
        if row is None:
            return None
        values = {
            name: self._opened(provider, account, name, sealed) for name, sealed in row["values"].items()
        }
        return StoredToken(provider, account, row["generation"], values, row["saved_at"])

    def _save(
        self, provider: str, account: str, values: dict[str, str], expected_generation: int | None
    ) -> StoredToken:
        with self._alone():
            rows = self._read()
            old = _row_of(rows, provider, account)
            generation = old["generation"] if old else 0
            if expected_generation not in (None, generation):
                raise StaleGeneration(f"the sign-in of {printable(account)} was renewed by another")
            sealed = {name: self._sealed(provider, account, name, value) for name, value in values.items()}
            new = {
                "provider": provider,
                "account": account,
                "generation": generation + 1,
                "saved_at": datetime.now(UTC).isoformat(timespec="seconds"),
                "values": sealed,
            }
            self._write([*(row for row in rows if row is not old), new])
        return StoredToken(provider, account, generation + 1, values, str(new["saved_at"]))

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One writer at a time, threads and processes alike."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(self._lock_path, flags, 0o600)
        except OSError as error:
            raise self._trouble(error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _read(self) -> list[dict[str, Any]]:
        try:
            content = read_private(self._path, LIMIT_BYTES)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise self._trouble(error) from error
        except Fatal as error:  # a reason not to sign in anywhere, but not to stop
            raise AuthRejected(error.message, hint=error.hint) from error
        try:
            rows = json.loads(content)["accounts"]
            if all(_is_row(row) for row in rows):
                return list(rows)
        except (ValueError, TypeError, KeyError, AttributeError):
            pass
        raise AuthRejected(
            f"{printable(str(self._path))} is damaged, and is left as it is",
            hint="put it back from a backup, or move it away and sign in again",
        )

    def _write(self, rows: list[dict[str, Any]]) -> None:
        beside = self._path.with_name(f"{FILE}.tmp")
        try:
            beside.unlink(missing_ok=True)
            write_new(beside, json.dumps({"accounts": rows}, indent=1).encode())
            beside.replace(self._path)
            sync_folder(self._path.parent)
        except OSError as error:
            raise self._trouble(error) from error

    def _trouble(self, error: OSError) -> Transient:
        where = printable(str(self._path.parent))
        return Transient(
            f"cannot keep sign-ins in {where}: {error.strerror}", hint="look at the disk of state_dir"
        )

    def _sealed(self, provider: str, account: str, name: str, value: str) -> str:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        key = self._keys[0]
        nonce = os.urandom(NONCE_BYTES)
        box = AESGCM(key).encrypt(nonce, value.encode(), _bound(provider, account, name))
        return base64.b64encode(bytes([key_id(key)]) + nonce + box).decode()

    def _opened(self, provider: str, account: str, name: str, sealed: str) -> str:
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        try:
            blob = base64.b64decode(sealed, validate=True)
        except binascii.Error:
            blob = b""
        nonce, box = blob[1 : 1 + NONCE_BYTES], blob[1 + NONCE_BYTES :]
        for key in self._keys:
            if len(box) >= 16 and blob[0] == key_id(key):
                try:
                    return AESGCM(key).decrypt(nonce, box, _bound(provider, account, name)).decode()
                except InvalidTag:
                    continue
        raise AuthRejected(
            f"the stored sign-in of {printable(account)} cannot be opened: changed, or of another key",
            hint=f"bring back the key it was sealed with, or sign in again: syncctl auth {provider}",
        )


def _bound(provider: str, account: str, name: str) -> bytes:
    # With both ends plain words, no two accounts can have the same text.
    if not (_WORD.fullmatch(provider) and _WORD.fullmatch(name)):
        raise ValueError(f"{provider!r} and {name!r} must be plain words")
    return f"syncd/token/v1|{provider}|{account}|{name}".encode()


def _row_of(rows: list[dict[str, Any]], provider: str, account: str) -> dict[str, Any] | None:
    return next((row for row in rows if (row["provider"], row["account"]) == (provider, account)), None)


def _is_row(row: dict[str, Any]) -> bool:
    texts = row["provider"], row["account"], row["saved_at"], *row["values"].values()
    return all(isinstance(text, str) for text in texts) and isinstance(row["generation"], int)
