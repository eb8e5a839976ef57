"""The SmugMug library: whether only the allowed pace says how long a first sync takes, and what a sync costs
when nothing changed."""

from __future__ import annotations

import re
import urllib.request
from typing import Any

from anyio.from_thread import start_blocking_portal

from benchmarks.measure import Result, fresh_place
from tests.fakes.smugmug import FakeSmugmug, fake_smugmug
from tests.flows.place import Daemon, eventually

ALBUMS, PHOTOS = 120, 18_543
LATENCY_S = 0.05
PAGE_SIZE = 50
PER_SECOND = 4
_RATIO = 1.05
_MORE = 3


def library_sync() -> Result:
    """120 albums and 18,543 photos behind 50 ms, read by a running daemon; then once more, unchanged."""
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(fake_smugmug()) as smug,
        fresh_place("library") as place,
    ):
        _fill(smug)
        pages = sum(-(-len(album.shown) // PAGE_SIZE) for album in smug.albums.values())
        album_pages = -(-ALBUMS // PAGE_SIZE)
        place.configure(smugmug=_settings(smug))
        with place.daemon() as daemon:
            _sign_in(daemon)
            smug.requests.clear()
            smug.latency_s = LATENCY_S
            eventually(lambda: _is_synced(daemon), 600, 0.5)
            calls = smug.api_calls()
            took_s = calls[-1].at + LATENCY_S - calls[0].at
            before = len(calls)
            _sync(daemon)
            unchanged = len(smug.api_calls()) - before
            found = place.sql("SELECT count(*) FROM smugmug_photos WHERE removed_at IS NULL")
    if found != [(PHOTOS,)]:
        raise RuntimeError(f"{found} photos, not {PHOTOS}")
    ideal_s = (len(calls) - 1) / PER_SECOND + LATENCY_S
    ratio = took_s / ideal_s
    kept = ratio <= _RATIO and len(calls) <= pages + album_pages + _MORE and unchanged <= album_pages + _MORE
    rows = [
        (
            "first sync",
            f"{took_s:.1f} s; {PER_SECOND} requests a second alone: {ideal_s:.1f} s ({ratio:.3f} x)",
        ),
        ("its requests", f"{len(calls):,}; pages: {pages + album_pages:,}"),
        ("unchanged", f"{unchanged} requests; pages of albums: {album_pages}"),
    ]
    readme = (
        f"first sync of a SmugMug library of {ALBUMS} albums and {PHOTOS:,} photos: {len(calls):,} requests"
        f" for {pages + album_pages:,} pages, {ratio:.3f} x the time that {PER_SECOND} requests a second"
        f" allow; nothing changed: {unchanged} requests"
    )
    return Result(
        "library_sync", f"First sync of {ALBUMS} albums and {PHOTOS:,} photos of SmugMug", rows, readme,
        f"{_RATIO} x the allowed pace, no request beyond the pages and {_MORE}", kept,
        {"took_s": took_s, "ideal_s": ideal_s, "requests": len(calls), "pages": pages,
         "unchanged": unchanged},
    )  # fmt: skip


def _fill(smug: FakeSmugmug) -> None:
    """Albums of all sizes, one of them large."""
    sizes = [3_000] + [60 + (number * 37) % 145 for number in range(ALBUMS - 1)]
    sizes[-1] += PHOTOS - sum(sizes)
    for number, size in enumerate(sizes):
        smug.fill(smug.add_album(f"Album {number}"), size, seeds=4)


def _settings(smug: FakeSmugmug) -> dict[str, Any]:
    return {
        "api_key": smug.api_key,
        "api_secret": smug.api_secret,
        "api_base_url": smug.base_url,
        "oauth_base_url": smug.base_url,
        "requests_per_second": PER_SECOND,
        "page_size": PAGE_SIZE,
    }


def _sign_in(daemon: Daemon) -> None:
    started = daemon.post("/api/auth/smugmug/start?by_code=true")
    with urllib.request.urlopen(started["url"]) as page:
        code = re.search(r"<b>(\d+)</b>", page.read().decode())
    if code is None:
        raise RuntimeError("no code to sign in with")
    daemon.post("/api/auth/smugmug/finish", {"flow_id": started["flow_id"], "code": code[1]})


def _is_synced(daemon: Daemon) -> bool:
    now = daemon.get("/api/smugmug/sync/status")
    return not now["in_progress"] and bool(now["albums_synced"] == ALBUMS)


def _sync(daemon: Daemon) -> None:
    job_id = daemon.post("/api/smugmug/sync", {"full": False}, 202)["job_id"]
    eventually(lambda: daemon.get(f"/api/jobs/{job_id}")["state"] == "done", 60)
