"""The routes about events, the faces in them, and sign-ins."""

from __future__ import annotations

from syncd.control import schema
from syncd.control.api import Api, Invalid
from syncd.control.route import CURSOR, LIMIT, Call, Handler, Param, Route

TOLERANCE = Param(
    "tolerance", float, "The largest distance at which two faces match; else as in [faces]", maximum=2
)
PROVIDERS = ("drive", "smugmug")
"""Who can be signed in to."""

BY_CODE = Param(
    "by_code",
    bool,
    "The browser is on another machine: its answer, or the code, goes to `finish`",
    default=False,
)

_NO_PICTURE = "send the bytes of an image with a face in it"


async def _search(api: Api, call: Call) -> schema.FacesPage:
    if not call.body:
        raise Invalid("there is no picture", hint=_NO_PICTURE)
    return await api.events.search_faces(call.path["id"], call.body, **call.query)


async def _forget(api: Api, call: Call) -> schema.FacesForgotten:
    if not call.body and call.query["like"] is None:
        raise Invalid("there is no picture", hint=_NO_PICTURE)
    return await api.events.forget_faces(call.path["id"], call.body or b"", **call.query)


EVENT_ROUTES = (
    Route(
        "POST", "/api/events", lambda api, call: api.events.create(call.body), {201: schema.Event},
        "Make an event of a Drive folder", "It is not followed until auto-sync is enabled.",
        body=schema.EventRequest,
    ),
    Route(
        "GET", "/api/events", lambda api, call: api.events.listed(**call.query), {200: schema.EventPage},
        "Events", params=(LIMIT, CURSOR),
    ),
    Route(
        "GET", "/api/event/{id}", lambda api, call: api.events.get(call.path["id"]), {200: schema.Event},
        "One event",
    ),
    Route(
        "DELETE", "/api/event/{id}", lambda api, call: api.events.remove(call.path["id"]), {204: type(None)},
        "Remove an event", "Its photos and faces go, and what was published of it; Drive is not touched.",
    ),
    Route(
        "POST", "/api/event/{id}/auto-sync/enable",
        lambda api, call: api.events.enable(call.path["id"], call.body.interval_minutes),
        {200: schema.AutoSyncEnabled}, "Follow an event's folder",
        "With auto-sync on already, the answer is the same, and the interval is the new one.",
        body=schema.AutoSyncRequest,
    ),
    Route(
        "POST", "/api/event/{id}/auto-sync/disable",
        lambda api, call: api.events.disable(call.path["id"]), {200: schema.AutoSyncDisabled},
        "Follow it no more; what it has stays",
    ),
    Route(
        "GET", "/api/event/{id}/auto-sync/status", lambda api, call: api.events.auto_sync(call.path["id"]),
        {200: schema.AutoSyncStatus}, "How an event is followed",
    ),
    Route(
        "POST", "/api/event/{id}/sync", lambda api, call: api.events.sync(call.path["id"]),
        {202: schema.JobAccepted}, "Index the whole folder now",
    ),
    Route(
        "GET", "/api/event/{id}/photos", lambda api, call: api.events.photos(call.path["id"], **call.query),
        {200: schema.EventPhotoPage}, "Photos of an event, newest first", params=(LIMIT, CURSOR),
    ),
    Route(
        "POST", "/api/event/{id}/faces/search", _search, {200: schema.FacesPage},
        "Photos of the people in a picture",
        "Nearest first, one row a photo. The body is the picture; without a face in it the answer is 422.",
        params=(
            TOLERANCE,
            Param("limit", int, "The most items to answer with", default=50, minimum=1, maximum=1000),
        ),
        picture=True, long=True,
    ),
    Route(
        "DELETE", "/api/event/{id}/faces", _forget, {200: schema.FacesForgotten}, "Forget a person",
        "Removes the faces of the people in the picture, and keeps them out of photos that come later. The "
        "body is the picture, or empty with `like`.",
        params=(Param("like", str, "The id of a photo of the event, instead of a picture"), TOLERANCE),
        picture=True, long=True,
    ),
)  # fmt: skip


def _sign_in_routes(provider: str) -> tuple[Route, ...]:
    start: Handler = lambda api, call: api.accounts.start(provider, call.query["by_code"])  # noqa: E731
    finish: Handler = lambda api, call: api.accounts.finish(provider, call.body)  # noqa: E731
    wait: Handler = lambda api, call: api.accounts.wait(provider, call.body.flow_id)  # noqa: E731
    return (
        Route(
            "POST", f"/api/auth/{provider}/start", start, {200: schema.SignInStarted}, "Begin to sign in",
            "Open the address in a browser. It comes back to the machine of the daemon by itself; from "
            "another machine, give the address that the browser then shows to `finish`.", params=(BY_CODE,),
        ),
        Route(
            "POST", f"/api/auth/{provider}/finish", finish, {200: schema.SignedIn}, "Finish to sign in",
            body=schema.SignInAnswer,
        ),
        Route(
            "POST", f"/api/auth/{provider}/wait", wait, {200: schema.SignedIn},
            "Answers when the sign-in is finished", body=schema.SignInFlow, long=True,
        ),
    )  # fmt: skip


AUTH_ROUTES = (
    Route(
        "GET", "/api/auth/status", lambda api, call: api.accounts.status(), {200: schema.AccountPage},
        "Accounts, and whether they let syncd in",
    ),
    *(route for provider in PROVIDERS for route in _sign_in_routes(provider)),
)  # fmt: skip
