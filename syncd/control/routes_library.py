"""The routes about the library: its sync, albums and photos."""

from __future__ import annotations

from syncd.control import schema
from syncd.control.route import CURSOR, LIMIT, Route

LIBRARY_ROUTES = (
    Route(
        "POST", "/api/smugmug/sync", lambda api, call: api.library.sync(call.body.full),
        {202: schema.JobAccepted}, "Bring the copy of the library up to date",
        "With `full` every album is read, else those that changed. 409 before somebody has signed in.",
        body=schema.LibrarySyncRequest,
    ),
    Route(
        "GET", "/api/smugmug/sync/status", lambda api, call: api.library.sync_status(),
        {200: schema.LibraryStatus}, "How far the copy of the library is",
    ),
    Route(
        "POST", "/api/smugmug/sync/album/{albumKey}",
        lambda api, call: api.library.sync_album(call.path["albumKey"]), {202: schema.JobAccepted},
        "Read one album, changed or not", long=True,
    ),
    Route(
        "GET", "/api/smugmug/albums", lambda api, call: api.library.albums(**call.query),
        {200: schema.AlbumPage}, "Albums, by title", params=(LIMIT, CURSOR),
    ),
    Route(
        "GET", "/api/smugmug/photos/{albumId}",
        lambda api, call: api.library.photos(call.path["albumId"], **call.query),
        {200: schema.LibraryPhotoPage}, "Photos of an album, in its order",
        "The album by its key or its id.", params=(LIMIT, CURSOR),
    ),
)  # fmt: skip
