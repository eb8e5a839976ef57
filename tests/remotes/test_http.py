"""The web client itself: what goes out, what comes back, and what is never said."""

from __future__ import annotations

import io
import logging
import traceback
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import unquote

import aiohttp
import anyio
import pytest
from aiohttp import web

from syncd import log
from syncd.errors import AuthRejected, Refused, SyncdError, Transient
from syncd.remotes import http
from syncd.remotes.google_oauth import TokenEndpoint
from syncd.remotes.http import NotFound, Request, retry_after_s
from syncd.remotes.pacer import RateLimited
from tests.fakes.faults import drop, error, html, says, truncate
from tests.fakes.google_drive import FakeDrive
from tests.remotes.conftest import Bearer, Clock, api_of, client_of, config_of


@asynccontextmanager
async def serving(handler: Any) -> AsyncIterator[str]:
    runner = web.ServerRunner(web.Server(handler), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def test_addresses_arrive_as_they_were_signed(clock: Clock) -> None:
    signed: list[str] = []
    arrived: list[str] = []

    class Signs:
        async def authorise(self, request: Request) -> Mapping[str, str]:
            signed.append(request.url)
            return {"Authorization": f"OAuth nonce={len(signed)}"}

        async def rejected(self, headers: Mapping[str, str]) -> bool:
            return False

    async def handler(request: web.BaseRequest) -> web.Response:
        arrived.append(request.raw_path)
        return web.json_response(
            {"nonce": request.headers["Authorization"]}, status=[500, 200][len(arrived) > 1]
        )

    async with serving(handler) as url, api_of(url, clock, authoriser=Signs()) as api:
        params = {"q": "'a b' in parents & c+d=é/ü", "x": True, "none": None, "n": 7}
        answer = await api.json("GET", "/api/v2/album/KEY!images", what="list", params=params)
    assert answer == {"nonce": "OAuth nonce=2"}  # signed anew for each attempt
    assert [url + path for path in arrived] == signed
    assert unquote(arrived[0]).endswith("!images?q='a b' in parents & c+d=é/ü&x=true&n=7")
    assert "a%20b" in arrived[0] and "%2Bd" in arrived[0]


async def test_forms_and_payloads(clock: Clock) -> None:
    async def handler(request: web.BaseRequest) -> web.Response:
        return web.json_response({"type": request.content_type, "body": await request.text()})

    async with serving(handler) as url, api_of(url, clock) as api:
        form = await api.json("POST", "/", what="post", form={"a": "1 2", "b": "é"})
        payload = await api.json("POST", "/", what="post", payload={"a": [1]})
    assert form == {"type": "application/x-www-form-urlencoded", "body": "a=1+2&b=%C3%A9"}
    assert payload == {"type": "application/json", "body": '{"a":[1]}'}


async def test_bodies_have_a_limit(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "BODY_LIMIT_BYTES", 100_000)

    async def handler(request: web.BaseRequest) -> web.Response:
        answer = web.Response(body=b'{"a": "' + b" " * 500_000 + b'"}', content_type="application/json")
        answer.enable_compression(web.ContentCoding.gzip)
        return answer

    async with serving(handler) as url, api_of(url, clock) as api:
        with pytest.raises(Refused, match="longer than 100,000 bytes"):
            await api.json("GET", "/", what="look")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (301, Transient),
        (400, Refused),
        (401, AuthRejected),
        (403, Refused),
        (404, NotFound),
        (408, Transient),
        (429, RateLimited),
        (500, Transient),
        (599, Transient),
    ],
)
async def test_a_status_alone_is_a_decision(clock: Clock, status: int, kind: type[SyncdError]) -> None:
    async def handler(request: web.BaseRequest) -> web.Response:
        return web.Response(status=status, headers={"Location": "/elsewhere"} if status == 301 else None)

    async with serving(handler) as url, api_of(url, clock, attempts=1) as api:
        with pytest.raises(kind, match=f"cannot look: the API says {status}") as caught:
            await api.json("GET", "/", what="look")
    assert type(caught.value) is kind


async def test_an_empty_answer_is_an_empty_object(clock: Clock) -> None:
    async def handler(request: web.BaseRequest) -> web.Response:
        return web.Response(status=204)

    async with serving(handler) as url, api_of(url, clock) as api:
        assert await api.json("POST", "/", what="stop") == {}


@pytest.mark.parametrize(
    ("url", "kind", "words"),
    [
        ("http://127.0.0.1:1", Transient, "cannot be reached"),
        ("http://does-not-exist.invalid", Transient, "cannot be reached"),
        ("ftp://example.com", Refused, "no valid address"),
        ("http://", Refused, "no valid address"),
    ],
)
async def test_nobody_there(clock: Clock, url: str, kind: type[SyncdError], words: str) -> None:
    async with api_of(url, clock, attempts=1) as api:
        with pytest.raises(kind, match=words):
            await api.json("GET", "/", what="look")


@pytest.mark.parametrize(
    "raw",
    [b"\x16\x03\x01 no http", b"HTTP/1.1 banana\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000, b""],
)
async def test_nonsense_instead_of_http(clock: Clock, raw: bytes) -> None:
    async def babble(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await stream.receive()
            await stream.send(raw)

    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
        anyio.create_task_group() as g,
    ):
        g.start_soon(listener.serve, babble)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        async with api_of(f"http://127.0.0.1:{port}", clock, attempts=2) as api:
            with pytest.raises(Transient):
                await api.json("GET", "/", what="look")
        g.cancel_scope.cancel()


async def test_silence_is_not_waited_for_for_ever(clock: Clock) -> None:
    async def handler(request: web.BaseRequest) -> web.Response:
        await anyio.sleep(30)
        return web.Response()

    async with serving(handler) as url, api_of(url, clock, attempts=1, read_timeout_s=0.1) as api:
        with pytest.raises(Transient, match="did not answer in time"):
            await api.json("GET", "/", what="look")


def _errors(kind: type[BaseException]) -> set[type[BaseException]]:
    return {kind}.union(*map(_errors, kind.__subclasses__()))


def test_everything_that_aiohttp_raises_is_a_decision() -> None:
    kinds = _errors(aiohttp.ClientError)
    assert len(kinds) > 20
    for kind in kinds:
        found = kind.__new__(kind)
        if issubclass(kind, aiohttp.ClientConnectorError):
            found._os_error = OSError(111, "refused")
        with pytest.raises((Transient, Refused)), http.translating("cannot look: the API"):
            raise found


@pytest.mark.parametrize(
    ("value", "wait_s"),
    [
        ("0", 0),
        ("120", 120),
        (" 7 ", 7),
        ("9" * 400, 86400),
        ("Fri, 31 Dec 1999 23:59:59 GMT", 0),
        ("Fri, 31 Dec 2199 23:59:59 GMT", 86400),
        ("Fri, 31 Dec 99999 23:59:59 GMT", None),
        ("-5", None),
        ("²", None),
        ("soon", None),
        ("", None),
    ],
)
def test_retry_after_is_read(value: str, wait_s: float | None) -> None:
    assert retry_after_s({"Retry-After": value}) == wait_s


async def test_the_shared_pace_holds_under_load(drive: FakeDrive, clock: Clock) -> None:
    async with client_of(drive, clock, requests_per_second=10) as google:
        began = clock.now
        async with anyio.create_task_group() as group:
            for _ in range(40):
                group.start_soon(google.about)
        assert clock.now - began == pytest.approx(3.9)


# --- secrets ----------------------------------------------------------------------------------------

CANARIES = {
    "client_secret": "GOCSPX-canary-client-secret",
    "refresh_token": "1//canary-refresh+token=",
    "code": "4/0Acanary-code",
    "code_verifier": "canary-verifier",
    "access_token": "ya29.canary-access",
}


@pytest.mark.parametrize("form", ["json", "html", "drop", "truncate", "envelope", "redirect", "status"])
async def test_no_secret_in_any_message_or_log(drive: FakeDrive, clock: Clock, form: str) -> None:
    """The other side repeats every secret that it was sent, in each way it can."""
    log.register_secret(CANARIES["access_token"])  # as whoever received it has done
    everything = " ".join(CANARIES.values())
    fault = {
        "json": says(
            400, b'{"error":"x y","error_description":"%s"}' % everything.encode(), "application/json"
        ),
        "html": says(502, everything.encode()),
        "drop": drop(),
        "truncate": truncate(0.3),
        "envelope": error(403, CANARIES["access_token"], 9 * CANARIES["access_token"]),
        "redirect": says(302, b"", Location=f"http://127.0.0.1:1/?{CANARIES['access_token']}"),
        "status": html(401),
    }[form]
    drive.fail("*", *[fault] * 40)
    lines = io.StringIO()
    log.configure_logging("debug", as_json=True, stream=lines)
    texts = []
    secrets = {name: value for name, value in CANARIES.items() if name != "access_token"}
    async with (
        TokenEndpoint(config_of(drive), sleep=clock.sleep) as endpoint,
        client_of(drive, clock, authoriser=Bearer(CANARIES["access_token"])) as google,
    ):
        for call in (
            lambda: endpoint.ask("sign in", {"grant_type": "x", **secrets}),
            google.about,
            lambda: google.changes("1"),
        ):
            try:
                await call()
            except SyncdError as caught:
                texts += [str(caught), repr(caught), caught.hint or "", *traceback.format_exception(caught)]
                log.get_logger("test").exception("failed")
                logging.getLogger("test").warning("failed", exc_info=caught)
            else:
                pytest.fail("it should have failed")
    log.configure_logging()
    spoken = "\n".join(texts) + lines.getvalue()
    assert "Traceback" in spoken
    for canary in CANARIES.values():
        assert canary not in spoken
