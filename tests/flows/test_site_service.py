"""What a sync says of itself while it waits for files that are being written."""

from __future__ import annotations

from typing import cast

import anyio

from syncd.flows.report import SyncRun
from syncd.flows.site import Site
from syncd.flows.site_service import SiteService, sync_until_settled


class TwoPasses:
    """A site that finds a file being written in its first pass."""

    def __init__(self) -> None:
        self.passes: list[frozenset[str] | None] = []

    async def sync(self, run: SyncRun, only: frozenset[str] | None = None) -> SyncRun:
        self.passes.append(only)
        if only is None:
            run.look_again_in("b", 0.05)
        run.finish()
        return run


async def test_a_sync_that_waits_for_a_file_is_not_done() -> None:
    site, run = TwoPasses(), SyncRun()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sync_until_settled, cast(Site, site), run)
        await anyio.sleep(0.02)
        assert (run.state, site.passes) == ("running", [None])
    assert (run.state, site.passes) == ("done", [None, frozenset({"b"})])


async def test_how_long_a_cancelled_sync_took_does_not_grow() -> None:
    class Slow:
        catalogue = None

        async def sync(self, run: SyncRun, only: frozenset[str] | None = None) -> SyncRun:
            await anyio.sleep_forever()
            return run

    service, run = SiteService.__new__(SiteService), SyncRun()
    service.site, service.running, service.last = cast(Site, Slow()), [], None
    with anyio.move_on_after(0.02):
        await service.sync(run)
    took_s = run.as_dict()["duration_s"]
    await anyio.sleep(0.01)
    assert (run.state, run.as_dict()["duration_s"]) == ("cancelled", took_s)
