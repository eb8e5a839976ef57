"""Receipts: what arrived, signed by who asked, for who gave.

The last line of a receipt is an Ed25519 signature (RFC 8032) over a SHA-256 of all the lines before it. The
key is this installation's own; its public half stands in every list, so that the giver knows whose receipt
it has to be.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from functools import partial
from pathlib import Path

import aiosqlite
import anyio.to_thread
import msgspec

from syncd.catalogue import exchange as queries
from syncd.catalogue.exchange import FileRow
from syncd.catalogue.exchange_archive import Archive
from syncd.control import schema
from syncd.errors import Refused
from syncd.flows import exchange_files as formats
from syncd.flows.exchange_home import find_list
from syncd.remotes.keys import read_private, sync_folder, write_new
from syncd.text import now_text, printable

KEY_FILE = "exchange.key"
_DOMAIN = b"syncd exchange receipt v1\0"
_ROWS_AT_ONCE = 5_000


class SigningKey:
    """The installation's key, in a file that only its user can read; made when it is first needed."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / KEY_FILE

    def public(self) -> str:
        """The public half, hex."""
        return self._load()[1]

    def sign(self, message: bytes) -> bytes:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return Ed25519PrivateKey.from_private_bytes(self._load()[0]).sign(message)

    def _load(self) -> tuple[bytes, str]:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        if not self._path.exists():
            beside = self._path.with_name(f"{KEY_FILE}.{os.getpid()}.tmp")
            beside.unlink(missing_ok=True)
            write_new(beside, os.urandom(32))
            try:
                os.link(beside, self._path)
            except FileExistsError:
                pass  # somebody was faster
            finally:
                beside.unlink()
            sync_folder(self._path.parent)
        private = read_private(self._path, 32)
        if len(private) != 32:
            raise Refused(f"{self._path} is no key of 32 bytes", hint="move it away; a new one is made")
        return private, Ed25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw().hex()


def fingerprint(key: str) -> str:
    """A public key (hex) as people compare it."""
    digest = hashlib.sha256(bytes.fromhex(key)).hexdigest()[:16]
    return ":".join(digest[at : at + 2] for at in range(0, 16, 2))


async def write_receipt(
    archive: Archive, imported: schema.ExchangeImported, folder: Path, key: SigningKey
) -> Path:
    """Writes the receipt of an import below `folder`, instead of an earlier one of the same list."""
    list_id = imported.list_id
    path = folder / f"receipt-{list_id}.jsonl"
    staged = path.with_suffix(".part")
    await anyio.to_thread.run_sync(partial(folder.mkdir, mode=0o700, parents=True, exist_ok=True))
    head = formats.ReceiptHead(
        kind=formats.RECEIPT_KIND, schema=formats.SCHEMA, list_id=list_id, created_at=now_text(),
        key=await anyio.to_thread.run_sync(key.public), arrived=imported.imported + imported.already_here,
        rejected=len(imported.rejected), missing=imported.missing,
    )  # fmt: skip
    digest = hashlib.sha256()
    with staged.open("wb") as file:

        def write(lines: bytes) -> None:
            digest.update(lines)
            file.write(lines)

        await anyio.to_thread.run_sync(write, formats.encode(head))
        after = 0
        while rows := await archive.read(partial(_arrived, list_id, after)):
            after = rows[-1].file_id
            lines = b"".join(
                formats.encode(formats.Arrived(sha256=sha256))
                for row in rows
                if (sha256 := row.sha256 or row.found_sha256)
            )
            await anyio.to_thread.run_sync(write, lines)
        signature = await anyio.to_thread.run_sync(key.sign, _DOMAIN + digest.digest())
        line = formats.encode(formats.Signature(signature=base64.b64encode(signature).decode()))
        await anyio.to_thread.run_sync(file.write, line)
    await anyio.to_thread.run_sync(staged.replace, path)
    return path


async def _arrived(list_id: str, after: int, db: aiosqlite.Connection) -> list[FileRow]:
    return await queries.files(db, list_id, after=after, limit=_ROWS_AT_ONCE, statuses=queries.ARRIVED)


async def check_receipt(archive: Archive, path: Path) -> schema.ExchangeReceipt:
    """Checks a receipt that came back, and notes on the list what arrived when it is from who asked. Raises
    Refused for one that is not whole or not signed as it says, NotFound for a list that is not known."""
    head = await anyio.to_thread.run_sync(_verified, path)
    found = await find_list(archive, head.list_id)
    if found.role != "gives":
        raise Refused(
            "this archive asked for that list: its receipt is for who gives", hint="send it to them"
        )
    is_asker = bool(found.asker_key) and head.key == found.asker_key
    if is_asker:
        await _note(archive, path, found.list_id)
    return schema.ExchangeReceipt(
        list_id=found.list_id, signed_at=head.created_at, signer=fingerprint(head.key), is_asker=is_asker,
        arrived=head.arrived, rejected=head.rejected, missing=head.missing,
    )  # fmt: skip


def _verified(path: Path) -> formats.ReceiptHead:
    """The first line of a receipt whose signature holds."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    with formats.reading(path) as reader:
        head = reader.head(formats.ReceiptHead, formats.RECEIPT_KIND, "a receipt of an exchange")
        digest = hashlib.sha256()
        last = reader.first
        for line in reader.lines():
            digest.update(last)
            last = line
    try:
        signature = base64.b64decode(
            msgspec.json.decode(last, type=formats.Signature).signature, validate=True
        )
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(head.key))
        key.verify(signature, _DOMAIN + digest.digest())
    except (msgspec.DecodeError, UnicodeError, binascii.Error, ValueError, InvalidSignature) as error:
        raise Refused(
            f"{printable(str(path))} is not signed by the key that it names",
            hint="it was changed or cut short on its way: ask for it again",
        ) from error
    return head


async def _note(archive: Archive, path: Path, list_id: str) -> None:
    with formats.reading(path) as reader:
        reader.head(formats.ReceiptHead, formats.RECEIPT_KIND, "a receipt of an exchange")
        lines = reader.lines()

        def page() -> list[str]:
            hashes = []
            for line in lines:
                about = msgspec.json.decode(line, type=dict[str, str])
                hashes.append(about.get("sha256", ""))
                if len(hashes) == _ROWS_AT_ONCE:
                    break
            return hashes

        while hashes := await anyio.to_thread.run_sync(page):
            await archive.write(partial(_deliver, list_id, hashes))


async def _deliver(list_id: str, hashes: list[str], db: aiosqlite.Connection) -> None:
    await queries.note_delivered(db, list_id, hashes)
