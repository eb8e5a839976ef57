"""Google Drive in the name of one account: its feed of changes, its folders and its files.

https://developers.google.com/workspace/drive/api/reference/rest/v3
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import quote

import anyio.lowlevel

from syncd.config import DriveConfig
from syncd.errors import Refused, Transient
from syncd.remotes.drive_errors import InvalidPageToken, explain_drive, explain_feed
from syncd.remotes.drive_items import (
    ITEM_FIELDS,
    Change,
    ChangePage,
    Channel,
    Downloaded,
    DriveItem,
    item_of,
    whole,
)
from syncd.remotes.http import ApiClient, Authoriser, NotFound, Parameters
from syncd.remotes.pacer import Pacer
from syncd.remotes.staging import Staged
from syncd.text import printable

PAGE_SIZE: Final = 1000
RESTARTS: Final = 3
_AT_ONCE: Final = 100
_PREFIX: Final = "/drive/v3"
_FEED_FIELDS: Final = (
    f"nextPageToken,newStartPageToken,changes(changeType,time,removed,fileId,file({ITEM_FIELDS}))"
)
_LIST_FIELDS: Final = f"nextPageToken,incompleteSearch,files({ITEM_FIELDS})"
_EVERY_DRIVE: Final = {"supportsAllDrives": True, "includeItemsFromAllDrives": True}


class GoogleDrive:
    """A client for one account. A context manager.

    Every call may raise Transient (no answer after all attempts; `QuotaExceeded` until the day's quota
    resets; `retry_after_s` says when to come back), AuthRejected (the account must sign in again) and
    Refused (`NotFound`, `InvalidPageToken`, or no right to this one thing). `page_size` is for tests, as is
    what `client` passes to the HTTP client.
    """

    def __init__(
        self,
        config: DriveConfig,
        authoriser: Authoriser,
        *,
        page_size: int = PAGE_SIZE,
        pacer: Pacer | None = None,
        **client: Any,
    ) -> None:
        self.pacer = pacer or Pacer(config.requests_per_second)
        self._page_size = page_size
        self._api = ApiClient(
            "Google Drive",
            config.api_base_url,
            pacer=self.pacer,
            authoriser=authoriser,
            explain=explain_drive,
            **client,
        )

    async def __aenter__(self) -> Self:
        await self._api.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._api.__aexit__(*exc)

    async def about(self) -> str:
        """The e-mail address of the account."""
        answer = await self._get("/about", "see whose Drive this is", {"fields": "user(emailAddress)"})
        user = answer.get("user")
        if not isinstance(user, dict) or not isinstance(address := user.get("emailAddress"), str):
            raise Transient("Google Drive does not say whose it is")
        return address

    # --- the feed -------------------------------------------------------------------------------------

    async def start_page_token(self, drive_id: str | None = None) -> str:
        """Where the feed of the account, or of a shared drive, stands now. Take it before the first listing:
        what changes between the two is then seen twice, and not never."""
        params = {"supportsAllDrives": True, "driveId": drive_id, "fields": "startPageToken"}
        answer = await self._get("/changes/startPageToken", "ask where the feed stands", params)
        if not isinstance(token := answer.get("startPageToken"), str) or not token:
            raise Transient("Google Drive gave no start token")
        return token

    async def changes(self, page_token: str, drive_id: str | None = None) -> ChangePage:
        """One page of the feed from `page_token` on. A page may be short or empty and still not the last.
        Raises InvalidPageToken where the place is lost: then take a new start token and list everything."""
        params = {
            **_EVERY_DRIVE,
            "pageToken": page_token,
            "driveId": drive_id,
            "pageSize": self._page_size,
            "includeRemoved": True,
            # Folders that were shared with the account are not in its own tree.
            "restrictToMyDrive": False,
            "spaces": "drive",
            "fields": _FEED_FIELDS,
        }
        answer = await self._api.json(
            "GET", f"{_PREFIX}/changes", what="read the feed", params=params, explain=explain_feed
        )
        following, start = answer.get("nextPageToken"), answer.get("newStartPageToken")
        if not isinstance(following, str) and not isinstance(start, str):
            raise Transient("Google Drive gave a page of the feed without a token to go on from")
        changes = [await self._change(found) async for found in _in_turns(_list_of(answer, "changes"))]
        return ChangePage(
            tuple(change for change in changes if change is not None),
            following if isinstance(following, str) else None,
            None if isinstance(following, str) else start,
        )

    async def _change(self, found: Mapping[str, Any]) -> Change | None:
        """None for what concerns no file, such as a membership of a shared drive."""
        file_id, time = found.get("fileId"), found.get("time")
        if not isinstance(file_id, str) or found.get("changeType", "file") != "file":
            return None
        item = None
        if found.get("removed") is not True:
            try:
                item = item_of(found["file"]) if "file" in found else await self.get_file(file_id)
            except NotFound:
                item = None
        return Change(file_id, item, time if isinstance(time, str) else None)

    # --- folders and files ----------------------------------------------------------------------------

    async def list_folder(self, folder_id: str, drive_id: str | None = None) -> AsyncIterator[DriveItem]:
        """The images, folders and shortcuts directly in a folder, without those in the trash; each once.
        `drive_id` is that of the shared drive which the folder is on.

        Only a listing that ends without an error is whole: nothing may be concluded from what is absent in
        another. Raises Transient at the end where Drive says that its own search was not complete. Drive
        may show a folder that is gone as an empty one: `get_folder` tells.
        """
        params = {
            **_EVERY_DRIVE,
            "q": f"'{_escaped(folder_id)}' in parents and trashed = false",
            "pageSize": self._page_size,
            "spaces": "drive",
            "corpora": "drive" if drive_id else "user",
            "driveId": drive_id,
            "fields": _LIST_FIELDS,
        }
        given: set[str] = set()
        restarts = 0
        incomplete = False
        page_token: str | None = None
        while True:
            try:
                answer = await self._get("/files", "list a folder", {**params, "pageToken": page_token})
            except InvalidPageToken:
                # Tokens of listings last some hours only.
                restarts += 1
                if page_token is None or restarts > RESTARTS:
                    raise
                page_token = None
                continue
            incomplete |= answer.get("incompleteSearch") is True
            async for found in _in_turns(_list_of(answer, "files")):
                item = item_of(found)
                if item.id not in given and (item.is_image or item.is_folder or item.is_shortcut):
                    given.add(item.id)
                    yield item
            following = answer.get("nextPageToken")
            if not isinstance(following, str):
                break
            if following == page_token:
                raise Transient("Google Drive lists a folder in a circle")
            page_token = following
        if incomplete:
            raise Transient("Google Drive could not search the whole folder")

    async def get_file(self, file_id: str, resource_key: str | None = None) -> DriveItem:
        """A file, folder or shortcut as it is now, in the trash or not. NotFound when it was deleted or is
        not shared with the account. `resource_key` is for what is shared by a link only."""
        params: Parameters = {"supportsAllDrives": True, "fields": ITEM_FIELDS}
        path = f"{_PREFIX}/files/{quote(file_id, safe='')}"
        return item_of(
            await self._api.json(
                "GET", path, what="look at a file", params=params, headers=_keys(file_id, resource_key)
            )
        )

    async def get_folder(self, folder_id: str, resource_key: str | None = None) -> DriveItem:
        """As `get_file`. Refused when it is no folder."""
        found = await self.get_file(folder_id, resource_key)
        if not found.is_folder:
            raise Refused(
                f"{printable(found.name)} in Google Drive is no folder",
                hint="give the id of a folder: the last part of its address in the browser",
            )
        return found

    async def download(
        self, file: DriveItem, destination: Path, *, limit_bytes: int | None = None
    ) -> Downloaded:
        """Writes the bytes of a file into `destination`, a new file that must not be there yet, and goes on
        where a broken connection left off. What was written has the size and checksums of `file`, or an error
        is raised and `destination` is removed.

        Raises Changed when the file is not any more what `file` says (look at it again), Refused for what is
        larger than `limit_bytes` or may not be downloaded, Transient for bytes that keep arriving damaged.
        """
        if limit_bytes is not None and (file.size_bytes or 0) > limit_bytes:
            raise Refused(
                f"{printable(file.name)} has {file.size_bytes:,} bytes, more than the {limit_bytes:,} allowed"
            )
        params: Parameters = {"alt": "media", "supportsAllDrives": True}
        path = f"{_PREFIX}/files/{quote(file.id, safe='')}"
        # As it lies in Drive, so that ranges and lengths are those of the file.
        headers = {"Accept-Encoding": "identity", **_keys(file.id, file.resource_key)}
        async with Staged(file, destination, limit_bytes) as staged:

            async def once() -> None:
                call = self._api.once(
                    "GET",
                    path,
                    what="download a file",
                    params=params,
                    headers=headers | staged.range_header,
                    follow=True,
                )
                if not staged.complete:
                    async with staged.ranges_checked(), call as response:
                        await staged.take(response)
                await staged.check(self.get_file)

            await self._api.persist(once, progress_bytes=lambda: staged.written_bytes)
            return staged.facts

    # --- notifications --------------------------------------------------------------------------------

    async def watch(
        self,
        page_token: str,
        *,
        address: str,
        channel_id: str,
        channel_token: str,
        expires_at_ms: int | None = None,
        drive_id: str | None = None,
    ) -> Channel:
        """Asks for a notification at `address` (https) after each change of the feed. Store the channel
        before: the first notification may come sooner than the answer. Lasts 7 days at most."""
        params = {**_EVERY_DRIVE, "pageToken": page_token, "driveId": drive_id}
        payload = {"id": channel_id, "type": "web_hook", "address": address, "token": channel_token}
        if expires_at_ms is not None:
            payload["expiration"] = str(expires_at_ms)
        answer = await self._api.json(
            "POST",
            f"{_PREFIX}/changes/watch",
            what="ask for notifications",
            params=params,
            payload=payload,
            attempts=1,  # an id can be used once: who tries again makes a new one
            explain=explain_feed,
        )
        if not isinstance(resource_id := answer.get("resourceId"), str):
            raise Transient("Google Drive gave no channel")
        return Channel(channel_id, resource_id, whole(answer.get("expiration")))

    async def stop(self, channel: Channel) -> None:
        """Ends a channel. One that is over already is no error."""
        payload = {"id": channel.id, "resourceId": channel.resource_id}
        try:
            await self._api.json(
                "POST", f"{_PREFIX}/channels/stop", what="end notifications", payload=payload
            )
        except NotFound:
            return

    async def _get(self, path: str, what: str, params: Mapping[str, Any]) -> dict[str, Any]:
        return await self._api.json("GET", _PREFIX + path, what=what, params=params)


def _list_of(answer: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    found = answer.get(key, [])
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise Transient(f"Google Drive gave no list of {key}")
    return found


async def _in_turns(rows: list[dict[str, Any]]) -> AsyncIterator[dict[str, Any]]:
    """The rows of a page, with turns for others between them: a thousand at once hold the event loop."""
    for place, row in enumerate(rows):
        if place % _AT_ONCE == 0:
            await anyio.lowlevel.checkpoint()
        yield row


def _keys(file_id: str, resource_key: str | None) -> dict[str, str]:
    if not resource_key:
        return {}
    return {"X-Goog-Drive-Resource-Keys": f"{quote(file_id, safe='')}/{quote(resource_key, safe='')}"}


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'")
