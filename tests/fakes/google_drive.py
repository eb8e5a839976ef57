"""Google Drive on loopback: the API that a polling client uses, the sign-in servers, and accidents by script.

async with fake_drive() as drive:
    folder = drive.add_folder("Wedding", drive.root)
    drive.fail("changes.list", error(403, "rateLimitExceeded"))
    … drive.base_url, drive.token_url, drive.auth_url …
"""

from __future__ import annotations

import re
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.fakes.drive_language import DEFAULTS, SCHEMAS, Mask, Query, Wrong, apply_fields, parse_fields
from tests.fakes.drive_model import FOLDER, Item, Model
from tests.fakes.faults import Handler, Script, refusal
from tests.fakes.google_sign_in import Access, SignIn

ACCOUNT = "photographer@example.com"
_SCOPES = re.compile(r"/auth/drive(\.readonly|\.metadata\.readonly|\.file)?$")
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")
UNITS = {"changes.list": 100, "files.list": 100, "media": 200, "files.get": 5, "about": 5}


@dataclass
class Logged:
    """One request as it came in; `status` is 0 where the connection was dropped."""

    operation: str
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    at: float
    status: int = 0


@dataclass
class Channel:
    id: str
    resource_id: str
    token: str
    address: str
    corpus: str
    expiration_ms: int
    pushes: list[dict[str, str]] = field(default_factory=list)
    """Headers of the notifications that would have been sent, oldest first."""


class FakeDrive(Model, SignIn):
    """The model, its servers and its log. `page_limit` caps pages from the server's side; `empty_pages` is
    how many of the next pages of a feed come empty; `lost_token_answer` is what a page token that was
    never given out gets: 400, 403, 404 or 410; `missing_parent_is_404` is how `files.list` answers for a
    folder that is not there."""

    def __init__(self) -> None:
        Model.__init__(self)
        SignIn.__init__(self)
        self.base_url = self.token_url = self.auth_url = ""
        self.root = self.add_account(ACCOUNT)
        self.requests: list[Logged] = []
        self.calls: Counter[str] = Counter()
        self.units = 0
        self.script = Script()
        self.page_limit: int | None = None
        self.empty_pages = 0
        self.lost_token_answer = 400
        self.missing_parent_is_404 = True
        self.incomplete_search = False
        self.channels: dict[str, Channel] = {}
        self.abusive: set[str] = set()
        self._listings: dict[str, tuple[str, list[str]]] = {}

    def fail(self, where: str, *acts: Any) -> None:
        """Accidents for the next requests of an operation, in order."""
        self.script.add(where, *acts)

    def lose_page_tokens(self) -> None:
        """No token that was given out before is known any more."""
        for log in self.logs.values():
            log.issued.clear()
        self._listings.clear()

    def changed(self, corpus: str) -> None:
        for channel in getattr(self, "channels", {}).values():
            if channel.corpus == corpus and channel.expiration_ms > time.time() * 1000:
                self._push(channel, "change")

    def _push(self, channel: Channel, state: str) -> None:
        channel.pushes.append(
            {
                "X-Goog-Channel-ID": channel.id,
                "X-Goog-Channel-Token": channel.token,
                "X-Goog-Resource-ID": channel.resource_id,
                "X-Goog-Resource-State": state,
                "X-Goog-Message-Number": str(len(channel.pushes) + 1),
            }
        )

    # --- serving --------------------------------------------------------------------------------------

    def application(self) -> web.Application:
        app = web.Application(middlewares=[self._guard])
        drive: list[tuple[str, str, str, Any]] = [
            ("GET", "/drive/v3/about", "about", self._about),
            ("GET", "/drive/v3/changes/startPageToken", "changes.start", self._start),
            ("GET", "/drive/v3/changes", "changes.list", self._changes),
            ("POST", "/drive/v3/changes/watch", "changes.watch", self._watch),
            ("POST", "/drive/v3/channels/stop", "channels.stop", self._stop),
            ("GET", "/drive/v3/files", "files.list", self._list),
            ("GET", "/drive/v3/files/{id}", "files.get", self._get),
        ]
        for method, path, name, handler in drive:
            app.router.add_route(method, path, self._authorised(handler), name=name)
        app.router.add_route("POST", "/token", self.token, name="token")
        app.router.add_route("GET", "/o/oauth2/v2/auth", self.consent, name="auth")
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Counts, and lets the script have its say."""
        operation = request.match_info.route.name or "unknown"
        if operation == "files.get" and request.query.get("alt") == "media":
            operation = "media"
        logged = Logged(
            operation,
            request.method,
            request.path,
            dict(request.query),
            dict(request.headers),
            time.monotonic(),
        )
        self.requests.append(logged)
        self.calls[operation] += 1
        self.units += UNITS.get(operation, 5)
        fault = self.script.next(operation)
        try:
            answer = await (fault.act(request, handler) if fault else handler(request))
        except web.HTTPNotFound:
            answer = web.Response(status=404, text="<html>Not Found</html>", content_type="text/html")
        closing = request.transport is None or request.transport.is_closing()
        logged.status = 0 if closing else answer.status
        return answer

    def _authorised(self, handler: Callable[[web.Request, str], Any]) -> Handler:
        async def checked(request: web.Request) -> web.StreamResponse:
            header = request.headers.get("Authorization")
            if header is None:
                words = "Method doesn't allow unregistered callers (callers without established identity)."
                return refusal(403, "forbidden", words, word="PERMISSION_DENIED")
            access = self.account_of(header.removeprefix("Bearer "))
            if access is None:
                return refusal(
                    401,
                    "authError",
                    location="Authorization",
                    location_type="header",
                    word="UNAUTHENTICATED",
                )
            if not self._may(access, request):
                return refusal(403, "insufficientPermissions", word="PERMISSION_DENIED")
            self.add_account(access.account)
            answer = await handler(request, access.account)
            assert isinstance(answer, web.StreamResponse)
            return answer

        return checked

    @staticmethod
    def _may(access: Access, request: web.Request) -> bool:
        scopes = [scope for scope in access.scope.split() if _SCOPES.search(scope)]
        if request.query.get("alt") == "media":
            scopes = [scope for scope in scopes if "metadata" not in scope]
        return bool(scopes)

    def _masked(self, request: web.Request, kind: str, value: dict[str, Any]) -> web.Response:
        asked = request.query.get("fields")
        if asked is None and kind == "about":
            return refusal(
                400, "required", "The 'fields' parameter is required for this method.", location="fields"
            )
        try:
            mask: Mask = parse_fields(DEFAULTS[kind] if asked is None else asked, SCHEMAS[kind])
        except Wrong as wrong:
            return refusal(400, "invalidParameter", str(wrong), location="fields")
        return web.json_response(apply_fields(mask, value))

    # --- the API --------------------------------------------------------------------------------------

    async def _about(self, request: web.Request, account: str) -> web.Response:
        user = {"kind": "drive#user", "displayName": account.partition("@")[0], "emailAddress": account}
        return self._masked(request, "about", {"kind": "drive#about", "user": user})

    async def _start(self, request: web.Request, account: str) -> web.Response:
        corpus = self._corpus(request, account)
        if isinstance(corpus, web.Response):
            return corpus
        log = self.logs[corpus]
        value = {"kind": "drive#startPageToken", "startPageToken": log.issue(log.last + 1)}
        return self._masked(request, "start", value)

    async def _changes(self, request: web.Request, account: str) -> web.Response:
        size = _page_size(request)
        if isinstance(size, web.Response):
            return size
        corpus = self._corpus(request, account)
        if isinstance(corpus, web.Response):
            return corpus
        if corpus != account and request.query.get("includeItemsFromAllDrives") != "true":
            return refusal(400, "invalid", location="includeItemsFromAllDrives")
        log, token = self.logs[corpus], request.query.get("pageToken")
        if token is None:
            return refusal(400, "required", "Required parameter: pageToken", location="pageToken")
        if token not in log.issued:
            return self._lost()
        entries = log.since(int(token))
        if self.empty_pages > 0:
            self.empty_pages -= 1
            return self._feed_page(request, account, corpus, [], log.issue(int(token)), None)
        size = min(size, self.page_limit or size)
        page, rest = entries[:size], entries[size:]
        following = log.issue(rest[0][0]) if rest else None
        return self._feed_page(
            request, account, corpus, page, following, log.issue(log.last + 1) if not rest else None
        )

    def _feed_page(
        self,
        request: web.Request,
        account: str,
        corpus: str,
        page: list[tuple[int, str, str]],
        following: str | None,
        start: str | None,
    ) -> web.Response:
        changes = []
        for _, item_id, at in page:
            item = self.items[item_id]
            if item_id in self.members and item_id != corpus:
                drive = {"kind": "drive#drive", "id": item_id, "name": item.name}
                changes.append(
                    {
                        "kind": "drive#change",
                        "type": "drive",
                        "changeType": "drive",
                        "time": at,
                        "removed": False,
                    }
                    | {"driveId": item_id, "drive": drive}
                )
                continue
            change = {"kind": "drive#change", "type": "file", "changeType": "file", "time": at}
            gone = not self.visible(item, account)
            if gone and request.query.get("includeRemoved", "true") != "true":
                continue
            hidden = request.query.get("restrictToMyDrive") == "true" and not gone
            if hidden and not self.in_my_drive(item, account):
                continue
            more: dict[str, Any] = {} if gone else {"file": self.resource(item, account)}
            changes.append({**change, "removed": gone, "fileId": item_id, **more})
        value: dict[str, Any] = {"kind": "drive#changeList", "changes": changes}
        value |= {"nextPageToken": following} if following is not None else {"newStartPageToken": start}
        return self._masked(request, "changes", value)

    def _lost(self) -> web.Response:
        status = self.lost_token_answer
        if status == 403:
            return refusal(403, "pageTokenExpired")
        if status == 400:
            return refusal(400, "invalid", location="pageToken")
        return refusal(status, "notFound" if status == 404 else "gone", "Invalid page token")

    def _corpus(self, request: web.Request, account: str) -> str | web.Response:
        drive_id = request.query.get("driveId")
        if drive_id is None:
            return account
        if request.query.get("supportsAllDrives") != "true":
            return refusal(403, "teamDriveNotSupported", "supportsAllDrives must be true")
        if account not in self.members.get(drive_id, ()):
            return refusal(404, "notFound", f"Shared drive not found: {drive_id}", location="driveId")
        return drive_id

    async def _list(self, request: web.Request, account: str) -> web.Response:
        size = _page_size(request)
        if isinstance(size, web.Response):
            return size
        text = request.query.get("q", "").replace("'root' in", f"'{self.roots[account]}' in")
        try:
            query = Query(text)
        except Wrong:
            return refusal(400, "invalid", location="q")
        token = request.query.get("pageToken")
        if token is None:
            missing = [one for one in query.parents if not self._sees(one, account)]
            if missing and self.missing_parent_is_404:
                return refusal(404, "notFound", "File not found: .", location="fileId")
            ids = [item.id for item in self._found(request, account, query)]
        else:
            made_for, ids = self._listings.get(token, ("", []))
            if made_for != text:
                return refusal(400, "invalid", location="pageToken")
        size = min(size, self.page_limit or size)
        # What was moved away while pages were turned is not shown any more.
        shown = [self.items[one] for one in ids[:size]]
        files = [self.resource(item, account) for item in shown if self.visible(item, account)]
        value = {"kind": "drive#fileList", "incompleteSearch": self.incomplete_search, "files": files}
        if ids[size:]:
            value["nextPageToken"] = following = f"~!!~{secrets.token_urlsafe(12)}"
            self._listings[following] = (text, ids[size:])
        return self._masked(request, "files", value)

    def _found(self, request: web.Request, account: str, query: Query) -> list[Item]:
        drive_id = request.query.get("driveId") if request.query.get("corpora") == "drive" else None
        found = []
        for item in self.items.values():
            if item.drive_id != drive_id or item.id in (item.drive_id, *self.roots.values()):
                continue
            if self.visible(item, account) and query.matches(self.resource(item, account)):
                found.append(item)
        return found

    def _sees(self, item_id: str, account: str) -> bool:
        return item_id in self.items and self.visible(self.items[item_id], account)

    async def _get(self, request: web.Request, account: str) -> web.Response:
        item_id = request.match_info["id"]
        item = self.items.get(self.roots[account] if item_id == "root" else item_id)
        shared = item is not None and item.drive_id is not None
        hidden = shared and request.query.get("supportsAllDrives") != "true"
        if item is None or hidden or not self.visible(item, account):
            return refusal(404, "notFound", f"File not found: {item_id}.", location="fileId")
        if request.query.get("alt") != "media":
            return self._masked(request, "file", self.resource(item, account))
        if item.content is None:
            return refusal(403, "fileNotDownloadable", location="alt")
        if not item.can_download:
            return refusal(403, "cannotDownloadFile", "This file cannot be downloaded by the user.")
        if item.id in self.abusive and request.query.get("acknowledgeAbuse") != "true":
            return refusal(403, "cannotDownloadAbusiveFile")
        return _media(item.content, item.mime_type, request.headers.get("Range"))

    # --- channels -------------------------------------------------------------------------------------

    async def _watch(self, request: web.Request, account: str) -> web.Response:
        body = await request.json()
        corpus = self._corpus(request, account)
        if isinstance(corpus, web.Response):
            return corpus
        if request.query.get("pageToken") not in self.logs[corpus].issued:
            return self._lost()
        if not str(body.get("address", "")).startswith("https://"):
            return refusal(400, "push.webhookUrlNotHttps", "WebHook callback must be HTTPS")
        if body["id"] in self.channels:
            return refusal(400, "channelIdNotUnique", f"Channel id {body['id']} not unique")
        now_ms = int(time.time() * 1000)
        expiration = min(int(body.get("expiration", now_ms + 3_600_000)), now_ms + 7 * 86_400_000)
        channel = Channel(
            body["id"], secrets.token_hex(8), body.get("token", ""), body["address"], corpus, expiration
        )
        self.channels[channel.id] = channel
        self._push(channel, "sync")
        answer = {"kind": "api#channel", "id": channel.id, "resourceId": channel.resource_id}
        return web.json_response({**answer, "token": channel.token, "expiration": str(expiration)})

    async def _stop(self, request: web.Request, account: str) -> web.Response:
        body = await request.json()
        channel = self.channels.get(body.get("id"))
        if channel is None or channel.resource_id != body.get("resourceId"):
            return refusal(404, "notFound", f"Channel '{body.get('id')}' not found for project.")
        del self.channels[channel.id]
        return web.Response(status=204)


def _page_size(request: web.Request) -> int | web.Response:
    text = request.query.get("pageSize", "100")
    if not re.fullmatch(r"-?\d+", text):
        words = f"Invalid value at 'page_size' (TYPE_INT32), \"{text}\""
        return refusal(400, "invalid", words, word="INVALID_ARGUMENT")
    if not 1 <= int(text) <= 1000:
        words = f"Invalid value '{text}'. Values must be within the range: [value: 1\n, value: 1000\n]"
        return refusal(400, "invalidParameter", words, location="page_size")
    return int(text)


def _media(content: bytes, mime_type: str, asked: str | None) -> web.Response:
    headers = {"Content-Type": mime_type}
    match = _RANGE.fullmatch(asked) if asked else None
    if match is None:
        return web.Response(body=content, headers=headers)
    first, last = int(match[1]), min(int(match[2] or len(content) - 1), len(content) - 1)
    if first >= len(content) or last < first:
        return web.Response(status=416, headers={"Content-Range": f"bytes */{len(content)}"})
    headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
    return web.Response(status=206, body=content[first : last + 1], headers=headers)


@asynccontextmanager
async def fake_drive() -> AsyncIterator[FakeDrive]:
    """A running FakeDrive on loopback with one account, `ACCOUNT`, and its root folder `drive.root`."""
    drive = FakeDrive()
    runner = web.AppRunner(drive.application(), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        drive.base_url = f"http://127.0.0.1:{port}"
        drive.token_url = f"{drive.base_url}/token"
        drive.auth_url = f"{drive.base_url}/o/oauth2/v2/auth"
        yield drive
    finally:
        await runner.cleanup()


__all__ = ["ACCOUNT", "FOLDER", "FakeDrive", "fake_drive"]
