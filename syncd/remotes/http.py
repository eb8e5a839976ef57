"""One client for web APIs: paced, retried, and every answer and accident turned into a decision.

Redirects are followed for downloads only, and credentials never go with them to another host; bodies have a
limit; and no message holds a header, a form or a signed address.
"""

from __future__ import annotations

import email.utils
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final, NamedTuple, Protocol, Self, TypeVar
from urllib.parse import quote, urlencode

import anyio
from anyio import to_thread

from syncd import __version__
from syncd.errors import AuthRejected, Refused, SyncdError, Transient
from syncd.log import redact
from syncd.remotes.pacer import PATIENCE_S, Pacer, RateLimited
from syncd.remotes.redirects import MOST_HOPS, elsewhere, for_anybody
from syncd.text import printable

T = TypeVar("T")
Parameters = Mapping[str, str | int | float | bool | None]

ATTEMPTS: Final = 6
FIRST_WAIT_S: Final = 1.0
LONGEST_RETRY_AFTER_S: Final = 86_400.0
BODY_LIMIT_BYTES: Final = 16 << 20
ERROR_LIMIT_BYTES: Final = 64 << 10
CONNECT_TIMEOUT_S: Final = 15.0
READ_TIMEOUT_S: Final = 60.0
PROGRESS_BYTES: Final = 1 << 20


class NotFound(Refused):
    """What was asked for is not there, or not for this account."""


class Request(NamedTuple):
    """What goes out, for whoever signs it. `url` is exactly as sent, query included."""

    method: str
    url: str
    body: bytes | None


class Authoriser(Protocol):
    """Proves who asks."""

    async def authorise(self, request: Request) -> Mapping[str, str]:
        """The headers to add; asked anew for every attempt, so that each has its own nonce and time."""
        ...

    async def rejected(self, headers: Mapping[str, str]) -> bool:
        """The answer to these headers was 401. True when new ones may do better."""
        ...


class Answer(NamedTuple):
    """An answer that is no success. `what` was wanted, in words that follow "cannot"."""

    service: str
    what: str
    status: int
    headers: Mapping[str, str]
    body: bytes


Explain = Callable[[Answer], SyncdError]


class Response:
    """A successful answer whose body is still to come."""

    def __init__(self, response: Any, doing: str) -> None:
        self._response = response
        self._doing = doing
        self.status: int = response.status
        self.headers: Mapping[str, str] = response.headers

    async def chunks(self, chunk_bytes: int) -> AsyncIterator[bytes]:
        """The body piece by piece. Raises Transient where the connection breaks."""
        pieces = aiter(self._response.content.iter_chunked(chunk_bytes))
        while True:
            with translating(self._doing):
                chunk = await anext(pieces, None)
            if chunk is None:
                return
            yield chunk

    async def read(self, limit_bytes: int) -> bytes:
        """The whole body. Refused when it is longer than the limit."""
        body = bytearray()
        async for chunk in self.chunks(64 << 10):
            body += chunk
            if len(body) > limit_bytes:
                raise Refused(f"{self._doing}: the answer is longer than {limit_bytes:,} bytes")
        return bytes(body)


class ApiClient:
    """One API in the name of one account.

    `name` is what people call the service; `explain` reads answers that are no success; `sleep` and
    `jitter` (0 to 1) are for tests.
    """

    def __init__(
        self,
        name: str,
        base_url: str,
        *,
        pacer: Pacer,
        authoriser: Authoriser | None = None,
        explain: Explain | None = None,
        attempts: int = ATTEMPTS,
        read_timeout_s: float = READ_TIMEOUT_S,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.name = name
        self.pacer = pacer
        self._base_url = base_url.rstrip("/")
        self._authoriser = authoriser
        self._explain = explain or explain_plainly
        self._attempts = attempts
        self._read_timeout_s = read_timeout_s
        self._sleep = sleep
        self._jitter = jitter
        self._session: Any = None

    async def __aenter__(self) -> Self:
        await to_thread.run_sync(_import_aiohttp)  # a third of a second, which is for a thread
        import aiohttp

        self._session = aiohttp.ClientSession(
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": f"syncd/{__version__}"},
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=self._read_timeout_s
            ),
        )
        # aiohttp would repeat some requests by itself: without the pacer, and with the same signature.
        self._session._retry_connection = False
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._session.close()

    async def json(
        self,
        method: str,
        path: str,
        *,
        what: str,
        params: Parameters | None = None,
        payload: object = None,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        attempts: int | None = None,
        explain: Explain | None = None,
    ) -> dict[str, Any]:
        """The object that the API answers with, `{}` for an empty answer. `payload` goes out as JSON, `form`
        as a form; `explain` is for calls whose refusals mean something else. Raises what `explain` makes of a
        refusal; Transient when no attempt got through, or the answer is no JSON object."""

        async def once() -> dict[str, Any]:
            call = self.once(
                method,
                path,
                what=what,
                params=params,
                payload=payload,
                form=form,
                headers=headers,
                explain=explain,
            )
            async with call as response:
                body = await response.read(BODY_LIMIT_BYTES)
                kind = response.headers.get("Content-Type", "")
            return _object_of(body, kind, f"cannot {what}: {self.name}") if body else {}

        return await self.persist(once, attempts=attempts)

    @asynccontextmanager
    async def once(
        self,
        method: str,
        path: str,
        *,
        what: str,
        params: Parameters | None = None,
        payload: object = None,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        explain: Explain | None = None,
        follow: bool = False,
    ) -> AsyncIterator[Response]:
        """One attempt, for calls inside `persist`: a 2xx answer with its body still to come. `follow` goes
        where a redirect leads."""
        body, kind = _encoded(payload, form)
        request = Request(method, _address(self._base_url + path, params), body)
        sent = {**(headers or {}), **kind}
        doing = f"cannot {what}: {self.name}"
        for last in (False, True):
            await self.pacer.turn()  # first: what proves who asks does not last for ever
            proof = await self._authoriser.authorise(request) if self._authoriser else {}
            async with self._sent(request, {**sent, **proof}, doing, follow) as answer:
                if 200 <= answer.status < 300:
                    self.pacer.succeeded()
                    yield Response(answer, doing)
                    return
                refusal = (explain or self._explain)(await self._answer(answer, what, doing))
            renewed = (
                answer.status == 401
                and self._authoriser is not None
                and not last
                and await self._authoriser.rejected(proof)
            )
            if not renewed:
                if isinstance(refusal, Transient) and refusal.retry_after_s:
                    self.pacer.hold(refusal, refusal.retry_after_s)
                raise refusal

    @asynccontextmanager
    async def _sent(
        self, request: Request, headers: Mapping[str, str], doing: str, follow: bool
    ) -> AsyncIterator[Any]:
        from yarl import URL

        # As signed, so not to be encoded a second time.
        at_home = url = URL(request.url, encoded=True)
        for hop in range(MOST_HOPS + 1):
            with translating(doing):
                answer = await self._session.request(
                    request.method, url, data=request.body, headers=headers, allow_redirects=False
                )
            there = elsewhere(answer) if follow and hop < MOST_HOPS else None
            if there is None:
                break
            answer.release()
            url = there
            headers = headers if url.origin() == at_home.origin() else for_anybody(headers)
        try:
            yield answer
        finally:
            # A body that was not read to its end cannot be followed by another answer.
            answer.release()

    async def _answer(self, answer: Any, what: str, doing: str) -> Answer:
        try:
            body = await Response(answer, doing).read(ERROR_LIMIT_BYTES)
        except SyncdError:
            body = b""
        return Answer(self.name, what, answer.status, answer.headers, body)

    async def persist(
        self,
        call: Callable[[], Awaitable[T]],
        *,
        attempts: int | None = None,
        progress_bytes: Callable[[], int] = lambda: 0,
    ) -> T:
        """The result of `call`, tried again after each Transient: 1, 2, 4, 8, 16 s apart, with jitter, or
        as far apart as the other side asks. Attempts count anew after each MiB of progress."""
        attempts = attempts or self._attempts
        attempt, reached = 0, 0
        while True:
            try:
                return await call()
            except Transient as error:
                if progress_bytes() - reached >= PROGRESS_BYTES:
                    attempt, reached = 0, progress_bytes()
                attempt += 1
                wait_s = self._wait_s(attempt, error)
                last = attempt >= attempts or wait_s > PATIENCE_S or self.pacer.banned
                if isinstance(error, RateLimited) and not self.pacer.banned:
                    if last:
                        self.pacer.ban(error)
                    elif error.retry_after_s is None:
                        self.pacer.hold(error, wait_s)
                if last:
                    raise
            await self._sleep(wait_s)

    def _wait_s(self, attempt: int, error: Transient) -> float:
        back_off_s = FIRST_WAIT_S * 2.0 ** (attempt - 1) * (0.5 + self._jitter() / 2)
        return max(error.retry_after_s or 0.0, min(PATIENCE_S, back_off_s))


def explain_plainly(answer: Answer) -> SyncdError:
    """The decision that a status alone calls for."""
    message = f"cannot {answer.what}: {answer.service} says {answer.status}"
    status = answer.status
    if status == 429:
        return RateLimited(message, retry_after_s=retry_after_s(answer.headers))
    if status >= 500 or status in (408, 425):
        return Transient(message, retry_after_s=retry_after_s(answer.headers))
    if 300 <= status < 400:
        return Transient(
            f"{message}, a redirect, which is not followed",
            hint="check that the network asks for no sign-in of its own, and the API's address in syncd.toml",
        )
    if status == 401:
        return AuthRejected(message)
    return NotFound(message) if status in (404, 410) else Refused(message)


def said(text: object, limit: int = 200) -> str:
    """Words of the other side, fit for a message: short, printable, without secrets."""
    # Cut only what is redacted: half a secret is not found any more.
    return printable(" ".join(redact(str(text)).split())[:limit])


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds that a Retry-After header asks for (a number or an HTTP date; a day at most), None without."""
    value = headers.get("Retry-After", "").strip()
    if value.isdecimal():
        return min(float(value), LONGEST_RETRY_AFTER_S)
    try:
        wait_s = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
    except (ValueError, OverflowError):
        return None
    return min(max(0.0, wait_s), LONGEST_RETRY_AFTER_S)


@contextmanager
def translating(doing: str) -> Iterator[None]:
    """Turns what aiohttp and the network raise into Transient, or Refused for an address that is none."""
    import aiohttp

    # Without their causes: those hold the request, and with it its headers.
    try:
        yield
    except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError):
        raise Refused(f"{doing} has no valid address", hint="check the API's address in syncd.toml") from None
    except aiohttp.ClientConnectorCertificateError:
        raise Transient(
            f"{doing} shows a certificate that is not trusted",
            hint="check the clock, and that the network asks for no sign-in of its own",
        ) from None
    except TimeoutError:
        raise Transient(f"{doing} did not answer in time") from None
    except aiohttp.ClientConnectorError as error:
        raise Transient(f"{doing} cannot be reached ({said(error.os_error)})") from None
    except aiohttp.ClientPayloadError:
        raise Transient(f"{doing} broke off its answer") from None
    except (aiohttp.ClientError, OSError) as error:
        raise Transient(f"{doing}: the connection broke ({type(error).__name__})") from None


def _import_aiohttp() -> None:
    import aiohttp  # noqa: F401


def _address(url: str, params: Parameters | None) -> str:
    given = {name: _word(value) for name, value in (params or {}).items() if value is not None}
    return f"{url}?{urlencode(given, quote_via=quote, safe='')}" if given else url


def _word(value: str | int | float | bool | None) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _encoded(payload: object, form: Mapping[str, str] | None) -> tuple[bytes | None, dict[str, str]]:
    if form is not None:
        return urlencode(form).encode("ascii"), {"Content-Type": "application/x-www-form-urlencoded"}
    if payload is not None:
        import msgspec

        return msgspec.json.encode(payload), {"Content-Type": "application/json"}
    return None, {}


def _object_of(body: bytes, kind: str, doing: str) -> dict[str, Any]:
    found = parsed(body)
    if found is None:
        words = said(kind.partition(";")[0], 60) or "something else"
        raise Transient(
            f"{doing} answered with {words} that is no JSON object",
            hint="check that the network asks for no sign-in of its own, and the API's address in syncd.toml",
        )
    return found


def parsed(body: bytes) -> dict[str, Any] | None:
    """The JSON object that a body is, None when it is none."""
    import msgspec

    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
