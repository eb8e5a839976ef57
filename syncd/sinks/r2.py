"""The site in an S3 bucket: Cloudflare R2 first, and what speaks the same protocol.

What R2 does differently: https://developers.cloudflare.com/r2/api/s3/api/
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Self

import anyio
from anyio import to_thread

from syncd import __version__
from syncd.config import StorageConfig
from syncd.errors import Changed, Refused, SyncdError, Transient
from syncd.sinks import endpoint_of
from syncd.sinks.bodies import check_md5, open_source, read_cached, read_part, read_whole
from syncd.sinks.keys import check_key, public_address
from syncd.sinks.local import new_file
from syncd.sinks.s3_errors import translating
from syncd.sinks.s3_put import Puts
from syncd.sinks.sink import StoredObject, Upload, UploadLedger

MIB: Final = 1 << 20
SINGLE_PUT_MAX_BYTES: Final = 64 * MIB
PART_BYTES: Final = 16 * MIB
MAX_PARTS: Final = 10_000
# Bodies are held in memory, so that every attempt sends the same bytes: of the large ones two at a time.
LARGE_BODY_BYTES: Final = 8 * MIB
LARGE_BODIES: Final = 2
READ_BYTES: Final = MIB
CLEAN_UP_S: Final = 15.0


class S3Sink:
    """Objects in one bucket, through one long-lived client. Every upload carries its MD5, which storage
    checks, and is confirmed before `put` returns: by the ETag, or by a HEAD with our SHA-256."""

    def __init__(
        self,
        config: StorageConfig,
        ledger: UploadLedger,
        storage_id: str,
        *,
        single_put_max_bytes: int = SINGLE_PUT_MAX_BYTES,
        part_bytes: int = PART_BYTES,
        read_timeout_s: float = 60.0,
    ) -> None:
        self.storage_id = storage_id
        self._config = config
        self._ledger = ledger
        self._bucket = config.bucket_name
        self._single_put_max_bytes = single_put_max_bytes
        self._part_bytes = part_bytes
        self._read_timeout_s = read_timeout_s
        self._large = anyio.Semaphore(LARGE_BODIES)
        self._stack = AsyncExitStack()
        self._opening = anyio.Lock()
        self._client: Any = None

    async def __aenter__(self) -> Self:
        self._puts = await self._stack.enter_async_context(await to_thread.run_sync(self._new_puts))
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    def _new_puts(self) -> Puts:
        with translating("cannot set up the S3 client", bucket=self._bucket):
            return Puts(self._config, self._read_timeout_s)

    async def client(self) -> Any:
        """boto's client, made when something else than a PUT is first asked of storage. Importing boto and
        reading its models takes most of a second of CPU, which is for a thread; connections are only made,
        and bound to an event loop, by requests."""
        async with self._opening:
            if self._client is None:
                opened, client = await to_thread.run_sync(self._open)
                self._stack.push_async_exit(opened)
                self._client = client
        return self._client

    def _open(self) -> tuple[Any, Any]:
        import aioboto3

        with translating("cannot set up the S3 client", bucket=self._bucket):
            opened = self._new_client(aioboto3.Session())

            async def enter() -> Any:
                return await opened.__aenter__()

            client = asyncio.run(enter())
        _expect_nothing(client)
        return opened, client

    def _new_client(self, session: Any) -> Any:
        from aiobotocore.config import AioConfig

        from syncd.sinks.s3_boto import Transport

        endpoint = endpoint_of(self._config)
        return session.client(
            "s3",
            endpoint_url=endpoint,
            region_name=self._config.region or "auto",
            aws_access_key_id=self._config.access_key_id,
            aws_secret_access_key=self._config.secret_access_key,
            # Reading the certificate authorities takes 50 ms, for nothing on plain http.
            verify=None if endpoint.startswith("https:") else False,
            config=AioConfig(
                http_session_cls=Transport,
                # The default since botocore 1.36, a trailing CRC32, is what R2 answers with 401 or 501.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                max_pool_connections=max(1, self._config.concurrency),
                retries={"mode": "standard", "total_max_attempts": 1},  # guarded.py retries
                # The signed Content-MD5 vouches for the body, so it need not be hashed a second time.
                s3={"addressing_style": "path", "payload_signing_enabled": False},
                connect_timeout=10,
                read_timeout=self._read_timeout_s,
                parameter_validation=False,
                user_agent=f"syncd/{__version__}",
            ),
        )

    async def put(self, upload: Upload) -> StoredObject:
        check_key(upload.key)
        if upload.size_bytes > self._single_put_max_bytes:
            return await self._put_parts(upload)
        if upload.size_bytes > LARGE_BODY_BYTES:
            async with self._large:
                return await self._put_whole(upload)
        return await self._put_whole(upload)

    async def _put_whole(self, upload: Upload) -> StoredObject:
        body: bytes | memoryview | None = read_cached(upload)
        if body is None:
            body = await to_thread.run_sync(read_whole, upload)
        try:
            with self._translating(f"cannot store {upload.key}"):
                etag = await self._puts.put(upload.key, body, _put_headers(upload))
        except SyncdError:
            # What storage says to other bytes differs from server to server: look for ourselves.
            await to_thread.run_sync(check_md5, upload, body)
            raise
        if etag != upload.md5:  # encrypted at rest, or a storage that ignores Content-MD5
            await to_thread.run_sync(check_md5, upload, body)
            return await self._confirm(upload)
        return StoredObject(
            upload.key,
            upload.size_bytes,
            etag,
            sha256=upload.sha256,
            source_sha256=upload.source_sha256,
            content_type=upload.content_type,
            cache_control=upload.cache_control,
        )

    async def _confirm(self, upload: Upload) -> StoredObject:
        found = await self.head(upload.key)
        if found is None or (found.size_bytes, found.sha256) != (upload.size_bytes, upload.sha256):
            raise Transient(
                f"storage does not show {upload.key} as it was stored", hint="syncd stores it again"
            )
        return found

    # --- multipart ----------------------------------------------------------------------------------

    async def _put_parts(self, upload: Upload) -> StoredObject:
        source = await to_thread.run_sync(open_source, upload)
        try:
            upload_id = await self._begin(upload)
            try:
                parts = await self._send_parts(upload, source, upload_id)
                await self._complete(upload, upload_id, parts)
            except BaseException:
                with anyio.move_on_after(CLEAN_UP_S, shield=True):
                    await self._abort_quietly(upload.key, upload_id)
                raise
        finally:
            os.close(source)
        with anyio.CancelScope(shield=True):
            await self._ledger.ended(self.storage_id, upload_id)
        return await self._confirm(upload)

    async def _begin(self, upload: Upload) -> str:
        # Not to be interrupted in between: an upload that nobody wrote down is never aborted.
        with anyio.CancelScope(shield=True), self._translating(f"cannot store {upload.key}"):
            answer = await (await self.client()).create_multipart_upload(
                Bucket=self._bucket, Key=upload.key, **_headers(upload)
            )
            upload_id = str(answer["UploadId"])
            await self._ledger.begun(self.storage_id, upload.key, upload_id)
        return upload_id

    async def _send_parts(self, upload: Upload, source: int, upload_id: str) -> list[dict[str, Any]]:
        """Parts of equal size, as R2 wants them, the last one smaller."""
        size = max(self._part_bytes, -(-upload.size_bytes // MAX_PARTS))
        whole = hashlib.md5(usedforsecurity=False)
        parts: list[dict[str, Any]] = []
        for number, offset in enumerate(range(0, upload.size_bytes, size), start=1):
            length = min(size, upload.size_bytes - offset)
            async with self._large:
                body, md5 = await to_thread.run_sync(read_part, upload, source, offset, length, whole)
                with self._translating(f"cannot store part {number} of {upload.key}"):
                    answer = await (await self.client()).upload_part(
                        Bucket=self._bucket,
                        Key=upload.key,
                        UploadId=upload_id,
                        PartNumber=number,
                        Body=body,
                        ContentMD5=md5,
                    )
            parts.append({"PartNumber": number, "ETag": answer["ETag"]})
        if whole.hexdigest() != upload.md5 or os.fstat(source).st_size != upload.size_bytes:
            raise Changed(f"{upload.path} changed after it was read")
        return parts

    async def _complete(self, upload: Upload, upload_id: str, parts: list[dict[str, Any]]) -> None:
        with self._translating(f"cannot complete {upload.key}"):
            await (await self.client()).complete_multipart_upload(
                Bucket=self._bucket, Key=upload.key, UploadId=upload_id, MultipartUpload={"Parts": parts}
            )

    async def _abort_quietly(self, key: str, upload_id: str) -> None:
        """Aborts; what cannot be aborted now stays in the ledger for the next start."""
        try:
            await self._abort(key, upload_id)
        except SyncdError:
            return

    async def _abort(self, key: str, upload_id: str) -> None:
        client = await self.client()
        missing = client.exceptions.NoSuchUpload  # completed, aborted, or expired after seven days
        with self._translating(f"cannot abort an upload of {key}"), suppress(missing):
            await client.abort_multipart_upload(Bucket=self._bucket, Key=key, UploadId=upload_id)
        await self._ledger.ended(self.storage_id, upload_id)

    async def abort_unfinished(self) -> int:
        pending = await self._ledger.pending(self.storage_id)
        for key, upload_id in pending:
            await self._abort(key, upload_id)
        return len(pending)

    # --- reading ------------------------------------------------------------------------------------

    async def head(self, key: str) -> StoredObject | None:
        from botocore.exceptions import ClientError

        check_key(key)
        with self._translating(f"cannot look at {key}"):
            try:
                answer = await (await self.client()).head_object(Bucket=self._bucket, Key=key)
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") in ("404", "NoSuchKey", "NotFound"):
                    return None
                raise
        metadata = answer.get("Metadata", {})
        return StoredObject(
            key,
            int(answer["ContentLength"]),
            _bare(answer.get("ETag", "")),
            sha256=metadata.get("sha256"),
            source_sha256=metadata.get("source-sha256"),
            content_type=answer.get("ContentType"),
            cache_control=answer.get("CacheControl"),
        )

    async def get(self, key: str, destination: Path) -> str:
        with new_file(destination) as target:
            digest = await self._read(key, target)
            await to_thread.run_sync(os.fsync, target)
        return digest

    async def digest(self, key: str) -> str:
        return await self._read(key, None)

    async def _read(self, key: str, target: int | None) -> str:
        """Streams the object, into `target` if given; its SHA-256."""
        check_key(key)
        sha256 = hashlib.sha256()

        def take(chunk: bytes) -> None:
            sha256.update(chunk)
            view = memoryview(chunk)
            while target is not None and view:
                view = view[os.write(target, view) :]

        client = await self.client()
        with self._translating(f"cannot read {key}"):
            try:
                answer = await client.get_object(Bucket=self._bucket, Key=key)
            except client.exceptions.NoSuchKey:
                raise Refused(f"there is no object {key!r} in bucket {self._bucket}") from None
            left = int(answer["ContentLength"])
            body = answer["Body"]
            async with body:
                while chunk := await body.read(READ_BYTES):
                    left -= len(chunk)
                    await to_thread.run_sync(take, chunk)
        if left:
            raise Transient(f"cannot read {key}: the connection ended {left:,} bytes early")
        return sha256.hexdigest()

    async def delete(self, key: str) -> None:
        check_key(key)
        with self._translating(f"cannot delete {key}"):
            await (await self.client()).delete_object(Bucket=self._bucket, Key=key)

    async def list(self, prefix: str) -> AsyncIterator[StoredObject]:
        paginator = (await self.client()).get_paginator("list_objects_v2")
        pages = aiter(paginator.paginate(Bucket=self._bucket, Prefix=prefix, MaxKeys=1000))
        while True:
            with self._translating(f"cannot list bucket {self._bucket}"):
                page = await anext(pages, None)
            if page is None:
                return
            for found in page.get("Contents", ()):
                yield StoredObject(found["Key"], int(found["Size"]), _bare(found.get("ETag", "")))

    def url(self, key: str) -> str | None:
        return public_address(self._config.public_url, key) if self._config.public_url else None

    @contextmanager
    def _translating(self, what: str) -> Iterator[None]:
        with translating(what, bucket=self._bucket):
            yield


def _expect_nothing(client: Any) -> None:
    from botocore.handlers import add_expect_header

    # R2 does not answer 100 Continue.
    client.meta.events.unregister("before-call.s3", add_expect_header)


def _headers(upload: Upload) -> dict[str, Any]:
    metadata = {"sha256": upload.sha256}
    if upload.source_sha256:
        metadata["source-sha256"] = upload.source_sha256
    return {"ContentType": upload.content_type, "CacheControl": upload.cache_control, "Metadata": metadata}


def _put_headers(upload: Upload) -> dict[str, str]:
    """The same, as they go over the wire."""
    about = _headers(upload)
    return {
        "Content-MD5": base64.b64encode(bytes.fromhex(upload.md5)).decode(),
        "Content-Type": about["ContentType"],
        "Cache-Control": about["CacheControl"],
        **{f"x-amz-meta-{name}": value for name, value in about["Metadata"].items()},
    }


def _bare(etag: str) -> str:
    return etag.strip('"')
