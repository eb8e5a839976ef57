"""syncctl meta."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from syncd.control.ctl_base import Ctl, CtlGroup, Number, WrongUsage, all_items, confirmed, say
from syncd.errors import ExitCode
from syncd.options import FilledText

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from syncd.control import schema
    from syncd.control.client import ControlClient

F = TypeVar("F", bound=Callable[..., Any])

STATUSES = ("pending", "processing", "review", "approved", "rejected", "failed")

_id = click.argument("metadata_id", metavar="ID", type=click.IntRange(1, 2**63 - 1))
_ids = click.argument("ids", nargs=-1, metavar="ID...", type=click.IntRange(1, 2**63 - 1))


def _filtered(command: F) -> F:
    """The options that choose photos."""
    for option in (
        click.option(
            "--min-confidence", type=Number(0, 1), metavar="SHARE",
            help="Only those of which the model was at least as sure, 0 to 1.",
        ),
        click.option(
            "--album", "album_key", type=FilledText(), metavar="KEY", help="Only photos of this album."
        ),
        click.option("--q", "query", metavar="WORDS", help="Only those that hold all these words."),
        click.option(
            "--status", type=click.Choice(STATUSES), metavar="STATUS", help="Only those of this status."
        ),
    ):  # fmt: skip
        command = option(command)
    return command


def _signed(needed: bool) -> Callable[[F], F]:
    """Who changes something, and why."""

    by: dict[str, Any] = {"required": True} if needed else {"default": _user}
    reason: dict[str, Any] = {"required": True} if needed else {"default": ""}

    def decorated(command: F) -> F:
        said = click.option("--reason", metavar="WHY", help="Why.", **reason)(command)
        return click.option("--by", metavar="WHO", help="Who says so.", **by)(said)

    return decorated


def _user() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "syncctl"


@click.group(cls=CtlGroup)
def meta() -> None:
    """Review, edit, approve and find what a model wrote about the library's photos.

    \b
    Examples:
      syncctl meta list --status review
      syncctl meta approve --all --min-confidence 0.8
      syncctl meta search "a goal in the rain"
    """


@meta.command("list")
@_filtered
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="At most N; else all.")
@click.pass_obj
def list_metadata(ctl: Ctl, /, limit: int | None, **chosen: Any) -> None:
    """What is written about the photos, and how far each is.

    \b
    Examples:
      syncctl meta list --status review --q "cup final"
      syncctl meta list --status failed --json | jq '.items[].error'
    """
    from syncd.control import render_metadata

    async def question(client: ControlClient) -> schema.MetadataPage:
        async def page(count: int, cursor: str | None) -> schema.MetadataPage:
            return await client.metadata(count, cursor, **chosen)

        found: schema.MetadataPage = await all_items(page, limit)
        return found

    ctl.show(ctl.ask(question), render_metadata.listed)


@meta.command()
@_id
@click.pass_obj
def show(ctl: Ctl, metadata_id: int) -> None:
    """All that is written about a photo, and who changed it why.

    \b
    Examples:
      syncctl meta show 17
      syncctl meta show 17 --json | jq '.history[].change_reason'
    """
    from syncd.control import render_metadata

    ctl.show(ctl.ask(lambda client: client.metadata_detail(metadata_id)), render_metadata.detail)


@meta.command()
@_id
@click.option("--description", metavar="T", help="In its place.")
@click.option("--tags", metavar="A,B", help="In their place; an empty text for none.")
@click.option("--categories", metavar="A,B", help="In their place; an empty text for none.")
@_signed(needed=True)
@click.pass_obj
def edit(
    ctl: Ctl,
    metadata_id: int,
    description: str | None,
    tags: str | None,
    categories: str | None,
    by: str,
    reason: str,
) -> None:
    """Change what is written about a photo. Old and new are kept; the model does not write over it.

    \b
    Examples:
      syncctl meta edit 17 --description "The winning goal" --by eva --reason "wrong player"
      syncctl meta edit 17 --tags goal,rain --by eva --reason sharper
    """
    from syncd.control import render_metadata

    if description is None and tags is None and categories is None:
        raise WrongUsage("Nothing to change: give --description, --tags or --categories.")
    request = _patch(
        description=description,
        tags=_split(tags),
        categories=_split(categories),
        changed_by=by,
        reason=reason,
    )
    ctl.show(ctl.ask(lambda client: client.edit_metadata(metadata_id, request)), render_metadata.one)


@meta.command("send-back")
@_ids
@_signed(needed=False)
@click.pass_obj
def send_back(ctl: Ctl, ids: tuple[int, ...], by: str, reason: str) -> None:
    """Have photos described again.

    \b
    Examples:
      syncctl meta send-back 17 18 --reason "it does not see the players"
      syncctl meta list --status rejected --json | jq .items[].id | xargs syncctl meta send-back
    """
    _set_status(ctl, ids, "pending", by, reason)


@meta.command()
@_ids
@_signed(needed=False)
@click.pass_obj
def reject(ctl: Ctl, ids: tuple[int, ...], by: str, reason: str) -> None:
    """Turn descriptions down: they stay out of what others see.

    \b
    Examples:
      syncctl meta reject 17 --reason private
      syncctl meta reject 17 18 --by eva
    """
    _set_status(ctl, ids, "rejected", by, reason)


@meta.command()
@_ids
@click.option(
    "--all", "everything", is_flag=True, help="All that match; in review, unless --status says else."
)
@_filtered
@click.option("--by", default=_user, metavar="WHO", help="Who says so.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def approve(ctl: Ctl, /, ids: tuple[int, ...], everything: bool, by: str, yes: bool, **chosen: Any) -> int:
    """Approve descriptions: some by their ids, or all that match.

    \b
    Examples:
      syncctl meta approve 17 18
      syncctl meta approve --all --album 2GsRNZ --min-confidence 0.8
    """
    from syncd.control import render_metadata, schema

    if bool(ids) == everything:
        raise WrongUsage("Name photos by their ids, or all with --all.")
    if ids and any(value is not None for value in chosen.values()):
        raise WrongUsage("--status, --q, --album and --min-confidence choose among --all, not among ids.")
    if everything:
        if chosen["query"] is not None and not chosen["query"].strip():
            raise WrongUsage("--q is empty: without it, words do not choose.")
        chosen["status"] = chosen["status"] or "review"
        if not yes and not _agreed(ctl, chosen):
            return ExitCode.GUARDED
        request = schema.MetadataApproval(
            status=chosen["status"],
            q=chosen["query"],
            album_key=chosen["album_key"],
            min_confidence=chosen["min_confidence"],
            approved_by=by,
        )
    else:
        request = schema.MetadataApproval(ids=list(ids), approved_by=by)
    reply = ctl.ask(lambda client: client.approve_metadata(request))
    ctl.show(reply, render_metadata.approved)
    return ExitCode.PARTIAL if reply.skipped else ExitCode.DONE


@meta.command()
@click.option(
    "--format", "export_format", type=click.Choice(("csv", "json")), default="json", show_default=True
)
@_filtered
@click.pass_obj
def export(ctl: Ctl, /, export_format: str, **chosen: Any) -> None:
    """All of it, or what matches, as CSV or JSON on stdout.

    \b
    Examples:
      syncctl meta export --format csv > photos.csv
      syncctl meta export --status approved | jq '.items[].description'
    """
    import sys

    from syncd.control.metadata_files import encoded

    async def question(client: ControlClient) -> None:
        # By pages: that a file is whole is known when the last page is there.
        async def pages() -> AsyncIterator[list[schema.Metadata]]:
            cursor = None
            while True:
                page = await client.metadata(1000, cursor, **chosen)
                yield page.items
                if (cursor := page.next_cursor) is None:
                    return

        async for piece in encoded(pages(), "json" if ctl.json else export_format):
            sys.stdout.buffer.write(piece)

    ctl.ask(question)


@meta.command()
@click.argument("text", nargs=-1, required=True)
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, metavar="N")
@click.pass_obj
def search(ctl: Ctl, text: tuple[str, ...], limit: int) -> None:
    """Photos whose descriptions mean something like TEXT, nearest first.

    \b
    Examples:
      syncctl meta search "children who play in the snow"
      syncctl meta search trophy --limit 5 --json | jq '.items[].image_key'
    """
    from syncd.control import render_metadata

    ctl.show(ctl.ask(lambda client: client.search_metadata(" ".join(text), limit)), render_metadata.found)


def _split(text: str | None) -> list[str] | None:
    return None if text is None else [word.strip() for word in text.split(",") if word.strip()]


def _patch(**given: Any) -> schema.MetadataPatch:
    from syncd.control import schema

    try:
        return schema.MetadataPatch(**given)
    except ValueError as error:
        raise WrongUsage(str(error)) from None


def _set_status(ctl: Ctl, ids: tuple[int, ...], status: str, by: str, reason: str) -> None:
    from syncd.control import render_metadata, schema

    if not ids:
        raise WrongUsage("Name photos by their ids: `syncctl meta list` shows them.")
    request = _patch(status=status, changed_by=by, reason=reason)

    async def question(client: ControlClient) -> schema.MetadataPage:
        return schema.MetadataPage(items=[await client.edit_metadata(one, request) for one in ids])

    ctl.show(ctl.ask(question), render_metadata.listed)


def _agreed(ctl: Ctl, chosen: dict[str, Any]) -> bool:
    """Says how many there are, and asks."""
    from syncd.control.render import plural

    page = ctl.ask(lambda client: client.metadata(1000, **chosen))
    count = f"more than {len(page.items):,}" if page.next_cursor else f"{len(page.items):,}"
    if not page.items:
        return True
    if confirmed(
        f"Approve {count} {plural(len(page.items), 'description').split()[-1]}?", yes=False, in_scripts=True
    ):
        return True
    say("nothing was approved")
    return False
