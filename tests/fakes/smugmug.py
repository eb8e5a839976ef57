"""SmugMug on loopback: what a polling client uses of API v2, its sign-in, its photos, accidents by script.

async with fake_smugmug() as smug:
    album = smug.add_album("Smith Wedding")
    smug.fill(album, 120)
    smug.fail("album.images", refuse(503))
    … smug.base_url (API and sign-in), smug.photos_url, smug.api_key, smug.api_secret …
"""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import anyio
from aiohttp import web

from tests.fakes.faults import Handler, Script
from tests.fakes.smugmug_model import FakeAlbum, FakeImage, Model, Shown
from tests.fakes.smugmug_resources import (
    album_resource,
    image_resource,
    metadata_resource,
    node_resource,
    sizes_resource,
    user_resource,
)
from tests.fakes.smugmug_shape import Envelope, Found, Slice, before, refusal, refuse
from tests.fakes.smugmug_sign_in import Problem, SignIn

NICKNAME = "acme"
MISSING_GRANT = "The user has not granted the required permissions"
_KEY = r"[^/!]+"
_PHOTO = r"/photos/i-{key:[A-Za-z0-9]+}/{serial:\d+}/{hash:[0-9a-f]+}/{size:[A-Za-z0-9]+}/{name:[^/]+}"
_OF_IMAGE = "{what:(!metadata|!sizedetails)?}"
_LIMITS = {"Name": (0, 255), "UrlName": (1, 60), "Description": (0, 65535), "Keywords": (0, 255)}


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


@dataclass(frozen=True)
class Viewer:
    """Who asks, and what they were granted; `nickname` is empty for somebody with no more than a key."""

    nickname: str = ""
    access: str = "Public"
    permissions: str = "Read"

    def owns(self, owner: str) -> bool:
        return self.nickname == owner and self.access == "Full"


Answering = Callable[[web.Request, Viewer], Awaitable[web.Response]]


class FakeSmugmug(Model, SignIn):
    """The model, its servers and its log. `page_limit` is the largest page that it gives; `lost_pages` are
    those that are never found (operation and start); `as_text` writes numbers as texts; `latency_s` is what
    each answer takes; `limit` requests are allowed in each window of `window_s` seconds."""

    def __init__(self) -> None:
        Model.__init__(self)
        SignIn.__init__(self)
        self.base_url = self.photos_url = ""
        self.add_user(NICKNAME)
        self.consenting = NICKNAME
        self.requests: list[Logged] = []
        self.calls: Counter[str] = Counter()
        self.script = Script()
        self.page_limit = 100
        self.lost_pages: set[tuple[str, int]] = set()
        self.as_text = False
        self.latency_s = 0.0
        self.limit = 100_000
        self.window_s = 3600.0
        self._window = 0.0
        self._used = 0

    def fail(self, where: str, *acts: Any) -> None:
        """Accidents for the next requests of an operation ("*": any), in order."""
        self.script.add(where, *acts)

    def api_calls(self) -> list[Logged]:
        """The requests to the API, oldest first: no photos, no sign-in."""
        return [one for one in self.requests if one.path.startswith("/api/")]

    # --- serving --------------------------------------------------------------------------------------

    def application(self) -> web.Application:
        app = web.Application(middlewares=[self._guard])
        api: list[tuple[str, str, str, Answering]] = [
            ("GET", "/api/v2!authuser", "authuser", self._authuser),
            ("GET", f"/api/v2/user/{{nick:{_KEY}}}!albums", "user.albums", self._albums),
            ("GET", f"/api/v2/user/{{nick:{_KEY}}}!deletedalbums", "user.deleted", self._deleted),
            ("GET", f"/api/v2/user/{{nick:{_KEY}}}", "user", self._user),
            ("GET", f"/api/v2/album/{{key:{_KEY}}}!images", "album.images", self._images),
            ("GET", f"/api/v2/album/{{key:{_KEY}}}/image/{{image:{_KEY}}}", "album.image", self._album_image),
            ("GET", f"/api/v2/album/{{key:{_KEY}}}", "album", self._album),
            ("PATCH", f"/api/v2/album/{{key:{_KEY}}}", "album.patch", self._patch),
            ("GET", f"/api/v2/image/{{image:{_KEY}}}{_OF_IMAGE}", "image", self._image),
            ("GET", f"/api/v2/node/{{id:{_KEY}}}!children", "node.children", self._children),
            ("GET", f"/api/v2/node/{{id:{_KEY}}}", "node", self._node),
        ]  # fmt: skip
        for method, path, name, handler in api:
            app.router.add_route(method, path, self._limited(self._authorised(handler)), name=name)
        for path, page in (
            ("getRequestToken", self.request_token),
            ("authorize", self.authorize),
            ("getAccessToken", self.access_token),
        ):
            app.router.add_route("*", f"/services/oauth/1.0a/{path}", page, name=path)
        app.router.add_route("GET", _PHOTO, self._photo, name="photo")
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Counts, and lets the script have its say."""
        operation = request.match_info.route.name or "unknown"
        query, headers = dict(request.query), dict(request.headers)
        logged = Logged(operation, request.method, request.path, query, headers, time.monotonic())
        self.requests.append(logged)
        self.calls[operation] += 1
        if self.latency_s:
            await anyio.sleep(self.latency_s)
        fault = self.script.next(operation)
        try:
            answer = await (fault.act(request, handler) if fault else handler(request))
        except web.HTTPFound as found:
            answer = web.Response(status=302, headers={"Location": str(found.location)})
        except web.HTTPException as refusal:
            answer = web.Response(
                status=refusal.status, text=f"<html>{refusal.reason}</html>", content_type="text/html"
            )
        closing = request.transport is None or request.transport.is_closing()
        logged.status = 0 if closing else answer.status
        return answer

    def _limited(self, handler: Handler) -> Handler:
        """A fixed window that opens with its first request."""

        async def counted(request: web.Request) -> web.StreamResponse:
            now = time.time()
            if now >= self._window:
                self._window, self._used = now + self.window_s, 0
            self._used += 1
            said = {
                "X-RateLimit-Remaining": str(max(0, self.limit - self._used)),
                "X-RateLimit-Reset": str(int(self._window)),
            }
            if self._used > self.limit:
                wait = {"Retry-After": str(int(self._window - now) + 1)}
                return refusal(request, 429, "Too Many Requests", {**said, **wait})
            answer = await handler(request)
            answer.headers.update(said)
            return answer

        return counted

    def _authorised(self, handler: Answering) -> Handler:
        async def checked(request: web.Request) -> web.StreamResponse:
            viewer = Viewer()
            if request.query.get("APIKey") != self.api_key or "Authorization" in request.headers:
                try:
                    viewer = self._viewer(request)
                except Problem as problem:
                    return refusal(request, 401, quote(f"oauth_problem={problem}", safe=""))
            return await handler(request, viewer)

        return checked

    def _viewer(self, request: web.Request) -> Viewer:
        _, token = self.signed(request, self.tokens)
        return Viewer(token.nickname, token.access, token.permissions) if token else Viewer()

    # --- accounts and albums --------------------------------------------------------------------------

    async def _authuser(self, request: web.Request, viewer: Viewer) -> web.Response:
        if not viewer.nickname:
            return refusal(request, 401, quote("oauth_problem=token_rejected", safe=""))
        return Envelope(request, "AuthUser", "User", self._user_value(viewer.nickname)).answer()

    async def _user(self, request: web.Request, viewer: Viewer) -> web.Response:
        nickname = request.match_info["nick"]
        if nickname not in self.users:
            return refusal(request, 404, "Not Found")
        return Envelope(request, "User", "User", self._user_value(nickname)).answer()

    def _user_value(self, nickname: str) -> dict[str, Any]:
        count = sum(image.owner == nickname for image in self.images.values())
        return user_resource(nickname, self.users[nickname], count)

    async def _albums(self, request: web.Request, viewer: Viewer) -> web.Response:
        nickname = request.match_info["nick"]
        if nickname not in self.users:
            return refusal(request, 404, "Not Found")
        listed = [a for a in self.albums_of(nickname) if a.privacy == "Public" or viewer.owns(nickname)]
        return self._page(
            request, viewer, "UserAlbums", "Album", len(listed), 50,
            lambda first, last: [self._album_value(album, viewer) for album in listed[first:last]],
        )  # fmt: skip

    async def _deleted(self, request: web.Request, viewer: Viewer) -> web.Response:
        if not viewer.owns(request.match_info["nick"]):
            return refusal(request, 404, "Not Found")
        gone = [{"Name": album.name, "UrlPath": f"/{album.url_name}"} for album in self.deleted]
        return self._page(request, viewer, "DeletedAlbums", "DeletedAlbum", len(gone), 50,
                          lambda first, last: gone[first:last])  # fmt: skip

    def _page(
        self,
        request: web.Request,
        viewer: Viewer,
        endpoint: str,
        locator: str,
        total: int,
        default: int,
        items: Callable[[int, int], list[dict[str, Any]]],
    ) -> web.Response:
        part = Slice.of(request.query, total, default, self.page_limit)
        operation = request.match_info.route.name or ""
        if part is None:
            return refusal(request, 400, "Bad Request")
        if (operation, part.start) in self.lost_pages:
            return refusal(request, 404, "Not Found")
        size = min(part.asked, self.page_limit)
        pages = part.pages(request.path, request.query, size, self.as_text)
        first = part.start - 1
        value = items(first, first + part.count)
        return Envelope(
            request, endpoint, locator, value, pages, lambda uri: self._linked(uri, viewer)
        ).answer()

    def _album_value(self, album: FakeAlbum, viewer: Viewer) -> dict[str, Any]:
        level = "Full" if viewer.owns(album.owner) else "Public"
        if level == "Public" and album.security_type != "None":
            level = "Password"
        value = album_resource(album, self.path_of(album.node_id), level)
        if self.as_text and "ImageCount" in value:
            value["ImageCount"] = str(value["ImageCount"])
        return value

    def _seen(self, request: web.Request, viewer: Viewer) -> FakeAlbum | None:
        """The album that a path names, None where this viewer is not shown it."""
        album = self.albums.get(request.match_info["key"])
        if album is None or (album.privacy == "Private" and not viewer.owns(album.owner)):
            return None
        return album

    async def _album(self, request: web.Request, viewer: Viewer) -> web.Response:
        if (album := self._seen(request, viewer)) is None:
            return refusal(request, 404, "Not Found")
        value = self._album_value(album, viewer)
        return Envelope(
            request, "Album", "Album", value, None, lambda uri: self._linked(uri, viewer)
        ).answer()

    async def _patch(self, request: web.Request, viewer: Viewer) -> web.Response:
        if (album := self._seen(request, viewer)) is None:
            return refusal(request, 404, "Not Found")
        if not viewer.owns(album.owner) or viewer.permissions != "Modify":
            return refusal(request, 403, quote(MISSING_GRANT))
        try:
            changes = json.loads(await request.read())
        except ValueError:
            changes = None
        if request.content_type != "application/json" or not isinstance(changes, dict):
            return refusal(request, 400, "Bad Request")
        for name, value in changes.items():
            low, high = _LIMITS.get(name, (0, -1))
            if not isinstance(value, str) or not low <= len(value) <= high:
                return refusal(request, 400, f"Invalid value for {name}")
        url_name = changes.get("UrlName", album.url_name)
        if not re.fullmatch(r"[A-Z][A-Za-z0-9-]*", url_name):
            return refusal(request, 400, "Invalid value for UrlName")
        if any(other is not album and other.url_name == url_name for other in self._beside(album)):
            return refusal(request, 409, "Conflict")
        fields = {"Name": "name", "UrlName": "url_name", "Description": "description", "Keywords": "keywords"}
        self.edit_album(album.key, **{fields[name]: value for name, value in changes.items()})
        return Envelope(request, "Album", "Album", self._album_value(album, viewer)).answer()

    def _beside(self, album: FakeAlbum) -> list[FakeAlbum]:
        parent = self.nodes[album.node_id].parent
        return [self.albums[node.album_key] for node in self.children(parent or "") if node.album_key]

    # --- photos ---------------------------------------------------------------------------------------

    def _shown_to(self, album: FakeAlbum, viewer: Viewer) -> list[Shown]:
        if viewer.owns(album.owner):
            return album.shown
        return [one for one in album.shown if not self.images[one.image_key].hidden]

    async def _images(self, request: web.Request, viewer: Viewer) -> web.Response:
        album = self._seen(request, viewer)
        if album is None or (album.security_type != "None" and not viewer.owns(album.owner)):
            return refusal(request, 404, "Not Found")
        shown = self._shown_to(album, viewer)
        return self._page(
            request, viewer, "AlbumImages", "AlbumImage", len(shown), 100,
            lambda first, last: [self._image_value(one, album, viewer) for one in shown[first:last]],
        )  # fmt: skip

    async def _album_image(self, request: web.Request, viewer: Viewer) -> web.Response:
        album = self._seen(request, viewer)
        key = request.match_info["image"].partition("-")[0]
        shown = self._shown_to(album, viewer) if album else []
        one = next((one for one in shown if one.image_key == key), None)
        if album is None or one is None:
            return refusal(request, 404, "Not Found")
        value = self._image_value(one, album, viewer)
        linked = lambda uri: self._linked(uri, viewer)  # noqa: E731
        return Envelope(request, "AlbumImage", "AlbumImage", value, None, linked).answer()

    def _image_value(self, shown: Shown, album: FakeAlbum, viewer: Viewer) -> dict[str, Any]:
        return image_resource(
            self.images[shown.image_key], self.photos_url, shown=shown, album_key=album.key,
            downloads=viewer.owns(album.owner) or album.allow_downloads, as_text=self.as_text,
        )  # fmt: skip

    async def _image(self, request: web.Request, viewer: Viewer) -> web.Response:
        found = self._linked(request.path, viewer)
        if found is None:
            return refusal(request, 404, "Not Found")
        endpoint, locator, value = found
        return Envelope(
            request, endpoint, locator, value, None, lambda uri: self._linked(uri, viewer)
        ).answer()

    async def _photo(self, request: web.Request) -> web.StreamResponse:
        """The host of the photos: an address is good while the photo is as it was, and private photos ask for
        a signature."""
        image = self.images.get(request.match_info["key"])
        size = request.match_info["size"]
        wanted = request.match_info["serial"], request.match_info["hash"]
        if image is None or wanted != (str(image.serial), image.hash(size)) or image.processing:
            raise web.HTTPNotFound
        albums = [album for album in self.albums.values() if self._shows(album, image.key)]
        if all(album.privacy == "Private" for album in albums) or "Authorization" in request.headers:
            try:
                viewer = self._viewer(request)
            except Problem:
                raise web.HTTPForbidden from None
            if all(album.privacy == "Private" for album in albums) and not viewer.owns(image.owner):
                raise web.HTTPForbidden
        kind = "video/mp4" if image.is_video and size == "D" else "image/jpeg"
        return web.Response(body=await anyio.to_thread.run_sync(image.rendering, size), content_type=kind)

    # --- the tree, and what links lead to -------------------------------------------------------------

    async def _node(self, request: web.Request, viewer: Viewer) -> web.Response:
        found = self._linked(request.path, viewer)
        return refusal(request, 404, "Not Found") if found is None else Envelope(request, *found).answer()

    async def _children(self, request: web.Request, viewer: Viewer) -> web.Response:
        nodes = [
            node
            for node in self.children(request.match_info["id"])
            if viewer.owns(node.owner)
            or not node.album_key
            or self.albums[node.album_key].privacy == "Public"
        ]
        return self._page(
            request, viewer, "ChildNodes", "Node", len(nodes), 10,
            lambda first, last: [node_resource(node, self.path_of(node.id)) for node in nodes[first:last]],
        )  # fmt: skip

    def _linked(self, uri: str, viewer: Viewer) -> Found | None:
        """The object at an address of the API."""
        if match := re.fullmatch(r"/api/v2/album/([^/!]+)", uri):
            album = self.albums.get(match[1])
            return ("Album", "Album", self._album_value(album, viewer)) if album else None
        if match := re.fullmatch(r"/api/v2/node/([^/!]+)", uri):
            node = self.nodes.get(match[1])
            return ("Node", "Node", node_resource(node, self.path_of(node.id))) if node else None
        if match := re.fullmatch(r"/api/v2/image/([^/!-]+)(?:-\d+)?(!\w+)?", uri):
            image = self.images.get(match[1])
            return self._of_image(image, match[2], viewer) if image else None
        return None

    def _of_image(self, image: FakeImage, what: str | None, viewer: Viewer) -> Found:
        downloads = viewer.owns(image.owner)
        if what == "!metadata":
            return "ImageMetadata", "ImageMetadata", metadata_resource(image)
        if what == "!sizedetails":
            return "ImageSizeDetails", "ImageSizeDetails", sizes_resource(image, self.photos_url, downloads)
        value = image_resource(
            image, self.photos_url, shown=None, album_key="", downloads=downloads, as_text=self.as_text
        )
        return "Image", "Image", value


@asynccontextmanager
async def fake_smugmug() -> AsyncIterator[FakeSmugmug]:
    """A running FakeSmugmug on loopback with one account, `NICKNAME`; photos have a port of their own."""
    smug = FakeSmugmug()
    runner = web.AppRunner(smug.application(), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        for _ in range(2):
            await web.TCPSite(runner, "127.0.0.1", 0).start()
        smug.base_url, smug.photos_url = (f"http://127.0.0.1:{port}" for _, port in runner.addresses)
        yield smug
    finally:
        await runner.cleanup()


__all__ = ["MISSING_GRANT", "NICKNAME", "FakeSmugmug", "before", "fake_smugmug", "refuse"]
