"""Where photos are published: a local folder or any S3 storage (Cloudflare R2 first of all)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from syncd.config import StorageConfig
from syncd.errors import ExitCode, Fatal
from syncd.sinks.sink import UploadLedger

if TYPE_CHECKING:
    from syncd.sinks.guarded import GuardedSink


def open_sink(config: StorageConfig, ledger: UploadLedger) -> GuardedSink:
    """The sink that `[storage]` describes, wrapped in retries, pacing and limits. Enter it before use.

    Raises Fatal for an unknown type. Loads boto only for `r2`, and that only when it is entered.
    """
    from syncd.sinks.guarded import GuardedSink

    if config.type == "local":
        from syncd.sinks.local import LocalSink

        local = LocalSink(config.base_path, config.public_url, storage_id_of(config))
        return GuardedSink(local, config.concurrency, key_interval_s=0)
    if config.type == "r2":
        from syncd.sinks.r2 import S3Sink

        return GuardedSink(S3Sink(config, ledger, storage_id_of(config)), config.concurrency)
    raise Fatal(
        f"unknown storage type {config.type!r}",
        hint='set type under [storage] to "local" or "r2"',
        exit_code=ExitCode.CONFIG,
    )


def storage_id_of(config: StorageConfig) -> str:
    """Names the storage that `[storage]` describes, without asking it: the same folder or bucket and
    prefix give the same id for good; credentials, public_url and concurrency do not matter."""
    if config.type == "local":
        place = f"local:{os.path.normpath(config.base_path.absolute())}"
    else:
        place = f"s3:{endpoint_of(config)}/{config.bucket_name}"
    return f"{place}#{config.prefix}"


def public_url(config: StorageConfig, key: str) -> str | None:
    """What `Sink.url` answers, without opening the storage."""
    from syncd.sinks.keys import public_address

    if config.public_url:
        return public_address(config.public_url, key)
    return (config.base_path.absolute() / key).as_uri() if config.type == "local" else None


def endpoint_of(config: StorageConfig) -> str:
    """The S3 endpoint's URL without a trailing slash: `endpoint_url`, or that of the R2 account."""
    if config.endpoint_url:
        return config.endpoint_url.rstrip("/")
    return f"https://{config.account_id}.r2.cloudflarestorage.com"
