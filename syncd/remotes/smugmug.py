"""SmugMug in the name of one account: its albums, their photos, and the bytes of pictures.

https://api.smugmug.com/api/v2/doc
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from typing import Any, Final, Self
from urllib.parse import parse_qsl, quote, urlsplit

from anyio import to_thread

from syncd.config import SmugmugConfig
from syncd.errors import AuthRejected, Refused, Transient
from syncd.remotes.http import (
    BODY_LIMIT_BYTES,
    Answer,
    ApiClient,
    Authoriser,
    Explain,
    NotFound,
    parsed,
    said,
)
from syncd.remotes.pacer import Pacer, RateLimited
from syncd.remotes.smugmug_errors import (
    GrantMissing,
    Moved,
    explain_picture,
    explain_smugmug,
    explain_write,
)
from syncd.remotes.smugmug_items import (
    AlbumInfo,
    ImageInfo,
    Page,
    album_of,
    expansions_of,
    image_key_in,
    image_of,
    large_url_of,
    object_of,
    objects_of,
    page_of,
    text,
    uri_of,
    whole,
)
from syncd.remotes.smugmug_oauth import import_signing

PICTURE_LIMIT_BYTES: Final = 64 << 20
PICTURE_HOST: Final = "photos.smugmug.com"
PICTURES_PER_SECOND: Final = 10
LONGEST_NAME: Final = 255
_HOPS: Final = 3
_WRITES: Final = 3
_LOOPBACK: Final = frozenset(("127.0.0.1", "localhost", "::1"))
_ACCEPT: Final = {"Accept": "application/json"}
_ALBUM_FIELDS: Final = (
    "AlbumKey,NodeID,Name,UrlName,UrlPath,WebUri,Uri,Description,Keywords,ImageCount,LastUpdated,"
    "ImagesLastUpdated,Date,Privacy,SecurityType,SortMethod,ResponseLevel"
)
_IMAGE_FIELDS: Final = (
    "ImageKey,AlbumKey,Serial,FileName,Title,Caption,Keywords,KeywordArray,Format,Date,DateTimeUploaded,"
    "DateTimeOriginal,LastUpdated,OriginalWidth,OriginalHeight,OriginalSize,ArchivedUri,ArchivedSize,"
    "ArchivedMD5,ThumbnailUrl,IsVideo,Processing,Status,SubStatus,Hidden,Latitude,Longitude,Origin,"
    "CollectedFrom,Uri,WebUri,DateTimeCreated"
)
_SHORT: Final = {"_verbosity": "1", "_shorturis": ""}
_ALBUM: Final = {**_SHORT, "_filter": _ALBUM_FIELDS, "_filteruri": ""}
_IMAGE: Final = {
    **_SHORT,
    "_filter": _IMAGE_FIELDS,
    "_filteruri": "ImageMetadata",
    "_expand": "ImageMetadata",
}
_BOTH: Final = "ImageMetadata,ImageSizeDetails"
_ONE_IMAGE: Final = {**_SHORT, "_filteruri": _BOTH, "_expand": _BOTH}
_NODE: Final = {**_SHORT, "_filteruri": "Album", "_expand": "Album"}


class SmugMug:
    """A client for one account. A context manager.

    Every call may raise Transient (`retry_after_s` says when to come back, even in half an hour),
    AuthRejected (the account must sign in again) and Refused (`http.NotFound`, or no right to this thing).
    `rejection` is the last AuthRejected while it stands. `account` is its nickname where that is known.
    `pacer` is for the API's host; what `client` passes to the HTTP client is for tests.
    """

    def __init__(
        self,
        config: SmugmugConfig,
        authoriser: Authoriser,
        account: str = "",
        *,
        pacer: Pacer | None = None,
        **client: Any,
    ) -> None:
        self.pacer = pacer or Pacer(config.requests_per_second)
        self.rejection: AuthRejected | None = None
        self._account = account
        self._count = config.page_size
        self._base_url = config.api_base_url.rstrip("/")
        self._api = ApiClient("SmugMug", self._base_url, pacer=self.pacer, authoriser=authoriser, **client)
        # The host of the photos has no part in the API's limits.
        self._photos = ApiClient(
            "SmugMug", "", pacer=Pacer(PICTURES_PER_SECOND), authoriser=authoriser, **client
        )
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await to_thread.run_sync(import_signing)
        for api in (self._api, self._photos):
            await self._stack.enter_async_context(api)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    async def nickname(self) -> str:
        """The site nickname of the account; asked for once."""
        if not self._account:
            answer = await self._get("/api/v2!authuser", "see whose SmugMug this is", _SHORT)
            if not (nickname := text(object_of(answer, "User"), "NickName")):
                raise Transient("SmugMug does not say whose it is")
            self._account = nickname
        return self._account

    # --- albums ---------------------------------------------------------------------------------------

    async def albums(self) -> AsyncIterator[Page[AlbumInfo]]:
        """Every album of the account, page by page. Where SmugMug does not give a page of its list, the rest
        comes from the tree of folders, with the same `total`."""
        user = f"/api/v2/user/{quote(await self.nickname(), safe='')}"
        given: set[str] = set()
        total: int | None = None
        path: str | None = self._first(f"{user}!albums")
        while path is not None:
            try:
                answer = await self._get(path, "list the albums", _ALBUM)
            except NotFound:
                # Some accounts have a page that is never found:
                # https://github.com/tommyblue/smugmug-backup/issues/20
                rest = [album async for album in self._tree(user) if album.album_key not in given]
                whole_list = len(given) + len(rest)
                yield Page(tuple(rest), whole_list if total is None else total, len(given) + 1, None)
                return
            albums = tuple(map(album_of, objects_of(answer, "Album")))
            page = page_of(answer, albums, len(albums))
            given.update(album.album_key for album in albums)
            total, path = page.total, page.next_path
            yield page

    async def _tree(self, user: str) -> AsyncIterator[AlbumInfo]:
        """The albums below the root folder, each once."""
        try:
            answer = await self._get(user, "look at the account", {**_SHORT, "_filteruri": "Node"})
        except NotFound as error:
            hint = "nickname under [smugmug] is the name of the site, not an e-mail address"
            raise NotFound(error.message, hint=hint) from error
        root = uri_of(object_of(answer, "User"), "Node")
        folders, seen = [root] if root else [], set()
        while folders:
            folder = folders.pop()
            path: str | None = self._first(f"{urlsplit(folder).path}!children")
            while path is not None:
                answer = await self._get(path, "list a folder", _NODE)
                nodes = objects_of(answer, "Node")
                for node in nodes:
                    uri = text(node, "Uri") or f"/api/v2/node/{text(node, 'NodeID')}"
                    if uri in seen:
                        continue
                    seen.add(uri)
                    if text(node, "Type") == "Folder":
                        folders.append(uri)
                    elif text(node, "Type") == "Album" and (link := uri_of(node, "Album")):
                        yield await self._linked_album(answer, link)
                path = page_of(answer, (), len(nodes)).next_path

    async def _linked_album(self, answer: Mapping[str, Any], uri: str) -> AlbumInfo:
        expansions = answer.get("Expansions")
        expansion = expansions.get(uri) if isinstance(expansions, dict) else None
        found = expansion.get("Album") if isinstance(expansion, dict) else None
        if isinstance(found, dict) and text(found, "AlbumKey"):
            return album_of(found)
        return await self.album(urlsplit(uri).path.rpartition("/")[2])

    async def album(self, album_key: str) -> AlbumInfo:
        """An album as it is now. http.NotFound when it is gone."""
        answer = await self._get(_album(album_key), "look at an album", _ALBUM)
        return album_of(object_of(answer, "Album"))

    async def rename_album(self, album_key: str, name: str) -> AlbumInfo:
        """Gives an album another name; nothing else of it changes, its address neither. The album as SmugMug
        has it then, read back after an unsure answer. Raises Refused for a name that is empty or longer than
        255 characters, or that another album has; GrantMissing where the sign-in grants no changes."""
        if not name.strip() or len(name) > LONGEST_NAME:
            raise Refused(f"an album's name has 1 to {LONGEST_NAME} characters, and this one {len(name)}")
        unsure: Transient | None = None
        for _ in range(_WRITES):
            try:
                answer = await self._ask(
                    "PATCH",
                    _album(album_key),
                    "rename an album",
                    _SHORT,
                    payload={"Name": name},
                    attempts=1,
                    explain=explain_write,
                )
                found, unsure = answer["Response"].get("Album"), None
                if isinstance(found, dict) and text(found, "AlbumKey"):
                    return album_of(found)
            except RateLimited:
                raise  # then nothing was done
            except Transient as error:
                unsure = error
            # It may have been done all the same: to do it again would hide who else renamed it meanwhile.
            album = await self.album(album_key)
            if album.name == name:
                return album
            if unsure is None:
                raise Refused(f"SmugMug took a new name for an album, which is still {said(album.name)}")
        raise unsure or AssertionError("nothing was tried")

    # --- photos ---------------------------------------------------------------------------------------

    async def images(self, album_key: str, start_path: str | None = None) -> AsyncIterator[Page[ImageInfo]]:
        """The photos of an album in its order, with the camera's time, page by page. `start_path` is the
        `next_path` of the page after which to go on. http.NotFound when the album is gone."""
        path: str | None = start_path or self._first(f"{_album(album_key)}!images")
        while path is not None:
            answer = await self._get(path, "list the photos of an album", _IMAGE)
            metadata = expansions_of(answer, "ImageMetadata")
            images = tuple(image_of(found, album_key, metadata) for found in objects_of(answer, "AlbumImage"))
            page = page_of(answer, images, len(images))
            path = page.next_path
            yield page

    async def album_image(self, album_key: str, image_key: str) -> ImageInfo:
        """One photo of an album, with its `large_url`. http.NotFound when it is not in it any more."""
        path = f"{_album(album_key)}/image/{quote(image_key, safe='')}"
        answer = await self._get(path, "look at a photo", _ONE_IMAGE)
        return image_of(
            object_of(answer, "AlbumImage"),
            album_key,
            expansions_of(answer, "ImageMetadata"),
            expansions_of(answer, "ImageSizeDetails"),
        )

    async def picture(self, url: str) -> bytes:
        """The bytes of a picture at an address that SmugMug gave. Refused for an address elsewhere, for what
        is no picture, and for more than 64 MiB; http.NotFound when it is gone or was replaced: look at the
        photo again for its address."""
        url = quote(url, safe="%/:?=&+!$,;'()*@~")
        here = url.startswith(f"{self._base_url}/")
        if not here:
            self._check(url)
        api, path = (self._api, url.removeprefix(self._base_url)) if here else (self._photos, url)

        async def once() -> bytes:
            call = api.once("GET", path, what="download a picture", explain=explain_picture)
            async with call as response:
                kind = response.headers.get("Content-Type", "")
                if not kind.startswith("image/"):
                    words = said(kind.partition(";")[0], 60) or "something unnamed"
                    raise Refused(f"cannot download a picture: SmugMug sent {words} instead")
                return await response.read(PICTURE_LIMIT_BYTES)

        return await api.persist(once)

    async def large_picture(self, url: str) -> bytes:
        """As `picture`, of the photo with this thumbnail, with sides of up to 1600 pixels where the account
        may see it so large; for that, its sizes are looked up."""
        larger = None
        if image_key := image_key_in(url):
            try:
                path = f"/api/v2/image/{image_key}!sizedetails"
                answer = await self._get(path, "look at the sizes of a photo", _SHORT)
                larger = large_url_of(object_of(answer, "ImageSizeDetails"))
            except Refused:
                larger = None  # the thumbnail may be seen all the same
        return await self.picture(larger or url)

    def _check(self, url: str) -> None:
        """Refused for hosts that are not SmugMug's: what proves who asks goes nowhere else, and nobody's
        metadata makes us ask in this network."""
        try:
            address = urlsplit(url)
            right = address.username is None and (
                (address.scheme == "https" and address.netloc == PICTURE_HOST)
                or {address.hostname, urlsplit(self._base_url).hostname} <= _LOOPBACK
            )
        except ValueError:
            raise Refused("this is no address of a picture") from None
        if not right:
            raise Refused(f"SmugMug names a picture at {said(address.netloc, 60)}, which is not its own")

    # --- asking ---------------------------------------------------------------------------------------

    def _first(self, path: str) -> str:
        return f"{path}?start=1&count={self._count}"

    async def _get(self, path: str, what: str, shape: Mapping[str, str]) -> dict[str, Any]:
        for _ in range(_HOPS):
            try:
                return await self._ask("GET", path, what, shape)
            except Moved as moved:
                path = moved.path
        raise Transient(f"cannot {what}: SmugMug sends from one address to the next")

    async def _ask(
        self,
        method: str,
        path: str,
        what: str,
        shape: Mapping[str, str],
        *,
        payload: object = None,
        attempts: int | None = None,
        explain: Explain = explain_smugmug,
    ) -> dict[str, Any]:
        """The envelope of an answer, with its `Response`. The query of `path` wins over `shape`."""
        path, _, query = path.partition("?")
        asked = {**shape, **dict(parse_qsl(query, keep_blank_values=True))}

        async def once() -> dict[str, Any]:
            call = self._api.once(
                method, path, what=what, params=asked, payload=payload, headers=_ACCEPT, explain=explain
            )
            async with call as response:
                body = await response.read(BODY_LIMIT_BYTES)
                headers = response.headers
            answer = parsed(body) or {}
            if (code := whole(answer.get("Code")) or 200) >= 400:  # whatever the envelope's status says
                raise explain(Answer("SmugMug", what, code, headers, body))
            if not isinstance(answer.get("Response"), dict):
                kind = said(headers.get("Content-Type", "").partition(";")[0], 60) or "something else"
                raise Transient(
                    f"cannot {what}: SmugMug answered with {kind} that says nothing",
                    hint="check that the network asks for no sign-in of its own, and api_base_url",
                )
            return answer

        try:
            answer = await self._api.persist(once, attempts=attempts)
        except GrantMissing:
            raise  # the sign-in stands all the same
        except AuthRejected as error:
            self.rejection = error
            raise
        self.rejection = None
        return answer


def _album(album_key: str) -> str:
    return f"/api/v2/album/{quote(album_key, safe='')}"
