"""Storing an object with one PUT, by boto's own signer and transport.

A client's `put_object` spends twice the processor time of the transfer itself on models, hooks and endpoint
rules, which for a first sync of small photos is most of what the daemon does. Here is what is left of it:
https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import AsyncExitStack
from functools import cache
from typing import Any, Final, Self
from urllib.parse import quote

from syncd import __version__
from syncd.config import StorageConfig
from syncd.sinks import endpoint_of

CONNECT_TIMEOUT_S: Final = 10


class Puts:
    """PUTs into one bucket over connections that are kept. A context manager.

    Raises what a client of botocore raises: ClientError for a refusal, BotoCoreError without an answer.
    """

    def __init__(self, config: StorageConfig, read_timeout_s: float) -> None:
        from aiobotocore.httpsession import AIOHTTPSession
        from botocore.auth import S3SigV4Auth
        from botocore.credentials import Credentials
        from botocore.utils import get_environ_proxies

        endpoint = endpoint_of(config)
        self._bucket_url = f"{endpoint}/{quote(config.bucket_name)}/"
        region = config.region or "auto"
        self._signer = S3SigV4Auth(Credentials(config.access_key_id, config.secret_access_key), "s3", region)
        self._transport = AIOHTTPSession(
            # Reading the certificate authorities takes 50 ms, for nothing on plain http.
            verify=(os.environ.get("AWS_CA_BUNDLE") or True) if endpoint.startswith("https:") else False,
            proxies=get_environ_proxies(endpoint),
            timeout=(CONNECT_TIMEOUT_S, read_timeout_s),
            max_pool_connections=max(1, config.concurrency),
        )
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self._transport)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    async def put(self, key: str, body: bytes, headers: Mapping[str, str]) -> str:
        """Stores `body` under `key`; the ETag, without quotes. `headers` hold its Content-MD5."""
        from botocore.awsrequest import AWSRequest

        sent = {**headers, "User-Agent": f"syncd/{__version__}"}
        request = AWSRequest("PUT", self._bucket_url + quote(key), sent, body)
        request.context["client_config"] = _unsigned_body()
        self._signer.add_auth(request)
        answer = await self._transport.send(request.prepare())
        if answer.status_code != 200:
            raise _refusal(answer.status_code, answer.headers, await answer.content)
        return str(answer.headers.get("etag", "")).strip('"')


@cache
def _unsigned_body() -> Any:
    """The signed Content-MD5 vouches for the body, so it need not be hashed a second time."""
    from botocore.config import Config

    return Config(s3={"payload_signing_enabled": False})


def _refusal(status: int, headers: Mapping[str, str], body: bytes) -> Exception:
    from botocore.exceptions import ClientError
    from botocore.parsers import RestXMLParser

    answer = {"status_code": status, "headers": headers, "body": body}
    error: Exception = ClientError(RestXMLParser().parse(answer, None), "PutObject")
    return error
