"""What an S3 storage, botocore and aiohttp raise, as syncd's decisions.

Codes: https://developers.cloudflare.com/r2/api/error-codes/ and
https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
"""

from __future__ import annotations

import email.utils
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from syncd.errors import AuthRejected, Refused, SyncdError, Transient

_KEYS: Final = "check access_key_id and secret_access_key under [storage]"
_CLOCK: Final = "the clock of this machine is off: set it (timedatectl set-ntp true), then sync again"
_RIGHTS: Final = "let the token read and write objects of the bucket, or " + _KEYS

AUTH_HINTS: Final[Mapping[str, str]] = {
    "AccessDenied": _RIGHTS,
    "AllAccessDisabled": _RIGHTS,
    "AuthorizationHeaderMalformed": "check region, access_key_id and endpoint_url under [storage]",
    "ExpiredRequest": _CLOCK,
    "ExpiredToken": _KEYS,
    "InvalidAccessKeyId": _KEYS,
    "InvalidToken": _KEYS,
    "NotEntitled": "enable R2 for the account in Cloudflare's dashboard",
    "ObjectLockedByBucketPolicy": "a lock rule of the bucket forbids to overwrite or delete; relax it",
    "PermanentRedirect": "check region and endpoint_url under [storage]",
    "RequestTimeTooSkewed": _CLOCK,
    "SignatureDoesNotMatch": _KEYS,
    "Unauthorized": _KEYS,
}
TRANSIENT_CODES: Final = frozenset(
    [
        "BadDigest",
        "ClientDisconnect",
        "ConditionalRequestConflict",
        "IncompleteBody",
        "InternalError",
        "InvalidPart",
        "NoSuchUpload",
        "OperationAborted",
        "PreconditionFailed",
        "RequestTimeout",
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequests",
        "TooManyRequestsException",
    ]
)
_CHECKSUM_TRAP: Final = (
    "this storage takes no checksum headers: unset AWS_REQUEST_CHECKSUM_CALCULATION, and look for a proxy "
    "that adds x-amz-checksum or aws-chunked"
)


@contextmanager
def translating(what: str, *, bucket: str) -> Iterator[None]:
    """Turns every foreign exception of the block into Transient, AuthRejected or Refused."""
    try:
        yield
    except SyncdError:
        raise
    except Exception as error:
        found = _translated(error, what, bucket)
        if found is None:
            raise
        raise found from error


def _translated(error: Exception, what: str, bucket: str) -> SyncdError | None:
    """None for what is none of storage's. Boto is loaded here, where something is wrong, at the latest."""
    import aiohttp
    from botocore.exceptions import BotoCoreError, ClientError

    if isinstance(error, ClientError):
        return _answered(error.response, what, bucket)
    if isinstance(error, BotoCoreError):
        return _unanswered(error, what)
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return _distrusted(what)
    if isinstance(error, aiohttp.ClientError | TimeoutError):
        reason = str(error) or type(error).__name__
        return Transient(f"{what}: the connection broke ({reason})")
    return None


def _distrusted(what: str) -> SyncdError:
    return AuthRejected(
        f"{what}: the server's certificate is not trusted",
        hint="check endpoint_url under [storage] and the clock; AWS_CA_BUNDLE names an authority",
    )


def _answered(response: Mapping[str, Any], what: str, bucket: str) -> SyncdError:
    """Storage answered with an error. HEAD has no body: botocore gives the status as the code then."""
    error = response.get("Error", {})
    about = response.get("ResponseMetadata", {})
    status = int(about.get("HTTPStatusCode", 0))
    code = str(error.get("Code", status))
    message = f"{what}: storage says {status} {code}"
    if text := str(error.get("Message", "")).strip()[:200]:
        message += f" ({text})"
    if code == "NoSuchBucket":
        return AuthRejected(
            message,
            hint=f"create the bucket {bucket!r}, or set bucket_name under [storage] to one that exists",
        )
    if hint := AUTH_HINTS.get(code):
        return AuthRejected(message, hint=hint)
    if status == 501 or code == "NotImplemented":
        trap = "checksum" in text.lower() or "aws-chunked" in text.lower() or "STREAMING-" in text
        return Refused(message, hint=_CHECKSUM_TRAP if trap else None)
    if code in TRANSIENT_CODES or status in (408, 409, 412, 425, 429) or status >= 500:
        return Transient(message, retry_after_s=_retry_after_s(about.get("HTTPHeaders", {})))
    if status in (401, 403):
        return AuthRejected(message, hint=_RIGHTS)
    if 300 <= status < 400:
        return AuthRejected(message, hint=AUTH_HINTS["PermanentRedirect"])
    return Refused(message)


def _unanswered(error: Exception, what: str) -> SyncdError:
    """No usable answer: no connection, a broken one, a timeout, or nonsense instead of S3."""
    from botocore import exceptions, parsers

    if isinstance(error, exceptions.SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(error):
        return _distrusted(what)
    broken = exceptions.HTTPClientError, exceptions.ConnectionError, exceptions.IncompleteReadError
    if isinstance(error, broken):
        return Transient(f"{what}: {error}")
    if isinstance(error, parsers.ResponseParserError):
        return Transient(f"{what}: the answer is not S3's", hint="check endpoint_url under [storage]")
    return AuthRejected(f"{what}: {error}", hint="check [storage], and the AWS_ variables of the environment")


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds that a Retry-After header asks for (a number or an HTTP date), None without one."""
    value = headers.get("retry-after", "").strip()
    if value.isdigit():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None
