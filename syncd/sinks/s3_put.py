"""Storing an object with one PUT, signed and sent without a client of boto.

A client's `put_object` spends several times the processor time of the transfer itself on models, hooks and
endpoint rules, and boto's signer as much as the transfer, which for a first sync of small photos is most of
what the daemon does. Here is what is left of it:
https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html
https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final, Self
from urllib.parse import quote

from syncd import __version__
from syncd.config import StorageConfig
from syncd.sinks import endpoint_of

CONNECT_TIMEOUT_S: Final = 10


class Puts:
    """PUTs into one bucket over connections that are kept. A context manager; made in a thread.

    Raises ClientError of botocore for a refusal, and what aiohttp raises without an answer.
    """

    def __init__(self, config: StorageConfig, read_timeout_s: float) -> None:
        from yarl import URL

        from syncd.sinks.s3_transport import Session

        url = URL(endpoint_of(config))
        self._host = url.host_port_subcomponent or ""
        self._origin = f"{url.scheme}://{self._host}"
        self._bucket_path = f"{url.raw_path.rstrip('/')}/{quote(config.bucket_name)}/"
        self._signer = Signer(config.access_key_id, config.secret_access_key, config.region or "auto")
        self._session = Session(
            self._origin,
            connect_timeout_s=CONNECT_TIMEOUT_S,
            read_timeout_s=read_timeout_s,
            connections=max(1, config.concurrency),
        )

    async def __aenter__(self) -> Self:
        await self._session.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._session.__aexit__(*exc)

    async def put(self, key: str, body: bytes | memoryview, headers: Mapping[str, str]) -> str:
        """Stores `body` under `key`; the ETag, without quotes. `headers` hold its Content-MD5."""
        path = self._bucket_path + quote(key)
        sent = self._signer.signed("PUT", path, {**headers, "Host": self._host}, datetime.now(UTC))
        sent["User-Agent"] = f"syncd/{__version__}"
        sent["Content-Length"] = str(len(body))
        answer = await self._session.put(self._origin + path, sent, body)
        if not 200 <= answer.status < 300:
            raise _refusal(answer.status, answer.headers, answer.body)
        return answer.headers.get("etag", "").strip('"')


class Signer:
    """Signature Version 4 of requests whose body is vouched for by its Content-MD5, which is signed, so that
    it need not be hashed a second time."""

    def __init__(self, access_key_id: str, secret_access_key: str, region: str) -> None:
        self._access_key_id = access_key_id
        self._secret = secret_access_key
        self._region = region
        self._day, self._key = "", b""

    def signed(self, method: str, path: str, headers: Mapping[str, str], at: datetime) -> dict[str, str]:
        """`headers`, all of which are signed, and those that prove who sends them. `path` is quoted already
        and has no query; `at` is UTC."""
        time = at.strftime("%Y%m%dT%H%M%SZ")
        sent = {**headers, "X-Amz-Date": time, "X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"}
        named = sorted([(name.lower(), " ".join(sent[name].split())) for name in sent])
        lines = "".join([f"{name}:{value}\n" for name, value in named])
        names = ";".join([name for name, _ in named])
        canonical = f"{method}\n{path}\n\n{lines}\n{names}\nUNSIGNED-PAYLOAD"
        scope = f"{time[:8]}/{self._region}/s3/aws4_request"
        to_sign = f"AWS4-HMAC-SHA256\n{time}\n{scope}\n{sha256(canonical.encode()).hexdigest()}"
        signature = hmac.digest(self._key_of(time[:8]), to_sign.encode(), "sha256").hex()
        sent["Authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={self._access_key_id}/{scope}, SignedHeaders={names}, "
            f"Signature={signature}"
        )
        return sent

    def _key_of(self, day: str) -> bytes:
        """The key of a day (`YYYYMMDD`)."""
        if day != self._day:
            key = f"AWS4{self._secret}".encode()
            for part in (day, self._region, "s3", "aws4_request"):
                key = hmac.digest(key, part.encode(), "sha256")
            self._day, self._key = day, key
        return self._key


def _refusal(status: int, headers: Mapping[str, str], body: bytes) -> Exception:
    from botocore.exceptions import ClientError
    from botocore.parsers import RestXMLParser

    answer = {"status_code": status, "headers": headers, "body": body}
    error: Exception = ClientError(RestXMLParser().parse(answer, None), "PutObject")
    return error
