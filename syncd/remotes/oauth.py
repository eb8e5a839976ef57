"""Signing in, whoever the provider is: an address for a browser, and an answer that comes back by a redirect
to this machine, or is pasted where no browser is near.

A provider says how it begins and what it makes of the answer; OAuth 2 and OAuth 1.0a differ only there.
"""

from __future__ import annotations

import copy
import hmac
import html
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, NamedTuple, Protocol, Self
from urllib.parse import parse_qsl, unquote, urlsplit

import anyio
import anyio.abc

from syncd.errors import Refused, SyncdError
from syncd.remotes.http import said
from syncd.remotes.tokens import TokenStore

FLOW_LIFE_S: Final = 600.0
MOST_FLOWS: Final = 16
LONGEST_ANSWER: Final = 8192
VISIT_S: Final = 60.0
NOWHERE: Final = "http://127.0.0.1:1"
"""Where a browser is sent when nobody listens: the answer is pasted then."""


@dataclass(frozen=True, slots=True)
class Started:
    """A sign-in that has begun. `state` comes back with the answer and ties it to this question; `private`
    is what only the provider needs again: a verifier, the secret of a request token."""

    url: str
    state: str = field(repr=False)
    private: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Grant:
    """What a person granted: the secrets to store for an account."""

    account: str
    values: Mapping[str, str] = field(repr=False)


class Declined(Refused):
    """The person said no."""


class SignedIn(NamedTuple):
    provider: str
    account: str


class Provider(Protocol):
    """One way to sign in. `code_parameter` and `state_parameter` are the words of its redirect: `code` and
    `state`, or `oauth_verifier` and `oauth_token`."""

    name: str
    code_parameter: str
    state_parameter: str

    async def start(self, redirect_uri: str) -> Started: ...

    async def exchange(self, started: Started, code: str, redirect_uri: str) -> Grant: ...


@dataclass(slots=True)
class _Flow:
    provider: Provider
    started: Started
    redirect_uri: str
    turn: anyio.Lock = field(default_factory=anyio.Lock)
    done: anyio.Event = field(default_factory=anyio.Event)
    result: SignedIn | None = None
    declined: Declined | None = None


class SignIns:
    """Sign-ins under way; each is answered within ten minutes or forgotten. A context manager, which owns
    the listeners for redirects."""

    def __init__(self, store: TokenStore, *, life_s: float = FLOW_LIFE_S) -> None:
        self._store = store
        self._life_s = life_s
        self._flows: dict[str, _Flow] = {}

    async def __aenter__(self) -> Self:
        self._group = anyio.create_task_group()
        await self._group.__aenter__()
        return self

    async def __aexit__(self, *exc: Any) -> None:
        self._group.cancel_scope.cancel()
        await self._group.__aexit__(*exc)

    async def begin(self, provider: Provider, *, by_code: bool = False) -> tuple[str, str]:
        """The address to open in a browser, and the id to finish with. `by_code` is for a browser on another
        machine: nobody waits for it here, and the answer is pasted."""
        if len(self._flows) >= MOST_FLOWS:
            raise Refused("too many sign-ins are under way", hint="finish one of them, or wait ten minutes")
        listener, redirect_uri = (None, NOWHERE) if by_code else await _listen()
        try:
            started = await provider.start(redirect_uri)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await _close(listener)
            raise
        flow_id = secrets.token_urlsafe(16)
        self._flows[flow_id] = flow = _Flow(provider, started, redirect_uri)
        self._group.start_soon(self._tend, flow_id, flow, listener)
        return started.url, flow_id

    async def finish(self, flow_id: str, answer: str) -> SignedIn:
        """Takes the pasted code, or the whole address that the browser was sent to, and stores what it is
        exchanged for. A sign-in that is finished already answers the same again.

        Raises Refused for an answer that does not belong to this sign-in, or when the person said no;
        AuthRejected when the provider does not take the code.
        """
        return await self._take(self._flow(flow_id), answer)

    async def wait(self, flow_id: str) -> SignedIn:
        """Returns when the sign-in has been answered, by redirect or pasted. Raises Refused when its time is
        over, or the person said no."""
        flow = self._flow(flow_id)
        await flow.done.wait()
        if flow.declined is not None:
            raise copy.copy(flow.declined)
        if flow.result is None:
            raise _over()
        return flow.result

    def _flow(self, flow_id: str) -> _Flow:
        if (flow := self._flows.get(flow_id)) is None:
            raise _over()
        return flow

    async def _take(self, flow: _Flow, answer: str) -> SignedIn:
        try:
            code = code_of(answer, flow.provider, flow.started.state)
        except Declined as error:
            flow.declined = error
            flow.done.set()
            raise
        async with flow.turn:
            if flow.result is None:
                grant = await flow.provider.exchange(flow.started, code, flow.redirect_uri)
                with anyio.CancelScope(shield=True):  # the code is spent: what it bought must be kept
                    await self._store.save(
                        flow.provider.name, grant.account, grant.values, expected_generation=None
                    )
                flow.result = SignedIn(flow.provider.name, grant.account)
                flow.done.set()
        return flow.result

    async def _tend(self, flow_id: str, flow: _Flow, listener: Any) -> None:
        """Hears redirects until the flow is answered; forgets it when its time is over."""
        try:
            with anyio.move_on_after(self._life_s):
                if listener is not None:
                    await self._hear(flow, listener)
                else:
                    await flow.done.wait()
                await anyio.sleep_forever()  # who asks again is told again
        finally:
            self._flows.pop(flow_id, None)
            flow.done.set()

    async def _hear(self, flow: _Flow, listener: Any) -> None:
        async with listener, anyio.create_task_group() as visitors, anyio.create_task_group() as serving:
            serving.start_soon(listener.serve, partial(self._visit, flow), visitors)
            await flow.done.wait()
            serving.cancel_scope.cancel()  # visitors still get their answer

    async def _visit(self, flow: _Flow, stream: anyio.abc.SocketStream) -> None:
        """One request of a browser."""
        broken = anyio.BrokenResourceError, anyio.EndOfStream, anyio.ClosedResourceError
        async with stream:
            with anyio.move_on_after(VISIT_S):
                try:
                    head = b""
                    while b"\r\n\r\n" not in head and len(head) <= LONGEST_ANSWER:
                        head += await stream.receive()
                    await stream.send(await self._reply(flow, head))
                except broken:
                    return

    async def _reply(self, flow: _Flow, head: bytes) -> bytes:
        method, _, rest = head.partition(b"\r\n")[0].decode("latin-1").partition(" ")
        target = rest.partition(" ")[0]
        if method != "GET" or not target.startswith("/?"):
            return _page("404 Not Found", "There is nothing here.")
        try:
            found = await self._take(flow, target)
        except SyncdError as error:
            words = f"Signing in failed: {error.message}." + (f" Hint: {error.hint}." if error.hint else "")
            return _page("400 Bad Request", words)
        return _page("200 OK", f"Signed in as {found.account}. You can close this page.")


async def _listen() -> tuple[Any, str]:
    """A listener for redirects and its address; none, and an address that leads nowhere, where this machine
    does not let us listen: the code is pasted then."""
    try:
        listener: Any = await anyio.create_tcp_listener(local_host="127.0.0.1")
    except OSError:
        return None, NOWHERE
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    return listener, f"http://127.0.0.1:{port}"


async def _close(listener: Any) -> None:
    if listener is not None:
        await listener.aclose()


def code_of(answer: str, provider: Provider, state: str) -> str:
    """The code in what a person pasted or a browser brought: the code alone, or a whole address, whose state
    must then be that of this sign-in. Raises Refused."""
    text = answer.strip()
    if not text or len(text) > LONGEST_ANSWER or not text.isprintable():
        raise Refused("this is no code", hint="paste the code, or the whole address that the browser shows")
    if "?" not in text and f"{provider.code_parameter}=" not in text:
        return unquote(text)
    try:
        found = dict(parse_qsl(urlsplit(text).query if "?" in text else text))
    except ValueError:
        raise Refused("this is no address", hint="paste the whole address that the browser shows") from None
    # An answer without the right state is somebody else's, whatever else it says.
    if not hmac.compare_digest(found.get(provider.state_parameter, "").encode(), state.encode()):
        raise Refused(
            "this answer belongs to another sign-in",
            hint="open the newest address, and paste what the browser shows after that",
        )
    if no := found.get("error") or found.get("oauth_problem"):
        raise Declined(f"the sign-in was turned down ({said(no, 60)})", hint="begin again")
    if not (code := found.get(provider.code_parameter)):
        raise Refused("there is no code in this address", hint="paste the whole address")
    return code


def _over() -> Refused:
    return Refused("this sign-in is over or was never begun", hint="begin again: syncctl auth")


def _page(status: str, words: str) -> bytes:
    body = f"<!doctype html><meta charset=utf-8><title>syncd</title><p>{html.escape(words)}</p>".encode()
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {len(body)}\r\n"
        "Cache-Control: no-store\r\nReferrer-Policy: no-referrer\r\n"
        "Content-Security-Policy: default-src 'none'\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
