"""A PUT as it is signed and sent, next to what botocore makes of the same request."""

from __future__ import annotations

import base64
import hashlib
import random
from datetime import datetime
from unittest import mock
from urllib.parse import quote

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from syncd.config import StorageConfig
from syncd.sinks.s3_put import Puts, Signer
from syncd.sinks.s3_transport import WRITE_BYTES
from tests.servers import SeaweedServer
from tests.sinks.test_r2 import config_for, make_sink

_NAMES = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1, max_size=40)
_VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40)
_HOSTS = st.sampled_from(["127.0.0.1:8333", "account.r2.cloudflarestorage.com", "[::1]:9000"])


def _by_botocore(host: str, path: str, headers: dict[str, str], region: str, at: datetime) -> str:
    request = AWSRequest("PUT", f"http://{host}{path}", {**headers, "Host": host}, b"body")
    request.context["client_config"] = Config(s3={"payload_signing_enabled": False})
    with mock.patch("botocore.auth.get_current_datetime", return_value=at):
        S3SigV4Auth(Credentials("AKID", "s/cr+t"), "s3", region).add_auth(request)
    return str(request.headers["Authorization"])


@given(
    key=_NAMES,
    metadata=st.dictionaries(st.from_regex(r"[a-z][a-z0-9-]{0,12}", fullmatch=True), _VALUES, max_size=4),
    host=_HOSTS,
    region=st.sampled_from(["auto", "eu-central-1"]),
    at=st.datetimes(datetime(2020, 1, 1), datetime(2099, 1, 1)),
)
def test_the_signature_is_botocores(
    key: str, metadata: dict[str, str], host: str, region: str, at: datetime
) -> None:
    headers = {
        "Content-MD5": "1B2M2Y8AsgTpgAmY7PhCfg==",
        "Content-Type": "image/jpeg",
        "Cache-Control": "public, max-age=300",
        **{f"x-amz-meta-{name}": value for name, value in metadata.items()},
    }
    path = f"/bucket/{quote(key)}"
    signer = Signer("AKID", "s/cr+t", region)
    signed = signer.signed("PUT", path, {**headers, "Host": host}, at)
    assert signed["Authorization"] == _by_botocore(host, path, headers, region, at)
    assert signer.signed("PUT", path, {**headers, "Host": host}, at) == signed
    next_day = at.replace(year=at.year + 1, day=1)
    again = signer.signed("PUT", path, {**headers, "Host": host}, next_day)
    assert again["Authorization"] == _by_botocore(host, path, headers, region, next_day)


@pytest.mark.parametrize("size", [0, 1, 1024, 1025, 1024 + WRITE_BYTES, 1025 + WRITE_BYTES, 3_000_000])
async def test_a_body_arrives_whole_however_it_is_cut(s3_server: SeaweedServer, size: int) -> None:
    config = config_for(s3_server, s3_server.make_bucket())
    body = random.Random(size).randbytes(size)
    md5 = hashlib.md5(body)
    headers = {"Content-MD5": base64.b64encode(md5.digest()).decode(), "Content-Type": "image/jpeg"}
    async with Puts(config, 10) as puts, make_sink(config) as sink:
        assert await puts.put("a b/ü+%.jpg", memoryview(body), headers) == md5.hexdigest()
        assert await sink.digest("a b/ü+%.jpg") == hashlib.sha256(body).hexdigest()
        wrong = {**headers, "Content-MD5": base64.b64encode(bytes(16)).decode()}
        with pytest.raises(ClientError, match=r"BadDigest|InvalidDigest|do not match|did not match"):
            await puts.put("wrong.jpg", body, wrong)


@pytest.mark.parametrize(
    ("endpoint", "host"),
    [
        ("https://Account.r2.cloudflarestorage.com:443/", "account.r2.cloudflarestorage.com"),
        ("http://[::1]:9000", "[::1]:9000"),
    ],
)
def test_the_host_is_signed_as_it_is_sent(endpoint: str, host: str) -> None:
    config = StorageConfig(
        type="r2", endpoint_url=endpoint, access_key_id="a", secret_access_key="b", bucket_name="c"
    )
    puts = Puts(config, 10)
    assert puts._host == host and puts._origin.endswith(f"://{host}") and puts._bucket_path == "/c/"
