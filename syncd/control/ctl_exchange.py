"""syncctl exchange."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from syncd.control.ctl_base import PAGE, Ctl, CtlGroup, all_items
from syncd.errors import ExitCode
from syncd.options import FilledPath

if TYPE_CHECKING:
    from syncd.control import schema
    from syncd.control.client import ControlClient

T = TypeVar("T")

_path = FilledPath()
_db = click.option(
    "--db", type=_path, metavar="F", help="The archive that works: an indafoto.db, instead of the catalogue."
)
_list = click.argument("list_id", metavar="LIST")


@click.group(cls=CtlGroup)
def exchange() -> None:
    """Complete your archive and a friend's: each gets what only the other has.

    \b
    Examples:
      syncctl exchange analyze --remote-db /media/anna/indafoto.db
      syncctl exchange export anna.list.jsonl --output-dir /media/disk
      syncctl exchange import 4f1c2a9b7d3e5f60 --import-dir /media/disk
    """


@exchange.command()
@click.option("--remote-db", required=True, type=_path, metavar="F", help="The other's database; only read.")
@click.option("--dry-run", is_flag=True, help="Only count; make no list.")
@_db
@click.pass_obj
def analyze(ctl: Ctl, remote_db: Path, dry_run: bool, db: Path | None) -> None:
    """What the other archive has and yours lacks, as a list to send to its owner.

    \b
    Examples:
      syncctl exchange analyze --remote-db anna.db --dry-run
      syncctl exchange analyze --remote-db anna.db --json | jq -r .list_file
    """
    from syncd.control import render_exchange, schema

    request = schema.ExchangeAnalyzeRequest(remote_db=_absolute(remote_db), db=_maybe(db), dry_run=dry_run)
    report = _work(ctl, "exchange_analyze", "comparing", lambda client: client.exchange_analyze(request))
    ctl.show(report, render_exchange.analyzed)


@exchange.command("lists")
@_db
@click.pass_obj
def lists(ctl: Ctl, db: Path | None) -> None:
    """Lists that you made, and lists that you were given.

    \b
    Examples:
      syncctl exchange lists
      syncctl exchange lists --json | jq '.items[] | select(.role == "asks")'
    """
    from syncd.control import render_exchange

    def question(client: ControlClient) -> Awaitable[schema.ExchangeListPage]:
        return all_items(lambda limit, cursor: client.exchange_lists(_maybe(db), limit, cursor))

    ctl.show(ctl.ask(question), render_exchange.lists)


@exchange.command()
@_list
@click.option(
    "--side", type=click.Choice(("theirs", "near", "ours")), default="theirs", show_default=True,
    help="What only they have; of that, what looks like a picture of yours; what only you have.",
)  # fmt: skip
@click.option("--limit", type=click.IntRange(min=1), default=PAGE, show_default=True, metavar="N")
@_db
@click.pass_obj
def show(ctl: Ctl, list_id: str, side: Any, limit: int, db: Path | None) -> None:
    """One list and its files.

    \b
    Examples:
      syncctl exchange show 4f1c2a9b7d3e5f60
      syncctl exchange show 4f1c --side near
    """
    from syncd.control import render_exchange

    wanted = _list_id(list_id)

    def question(client: ControlClient) -> Awaitable[schema.ExchangeShown]:
        return all_items(
            lambda size, cursor: client.exchange_list(wanted, _maybe(db), side, size, cursor), limit
        )

    ctl.show(ctl.ask(question), render_exchange.shown)


@exchange.command()
@click.argument("list_file", metavar="LIST_FILE", type=_path)
@click.option("--output-dir", required=True, type=_path, metavar="D", help="A folder, such as on a disk.")
@click.option("--dry-run", is_flag=True, help="Only say what would be copied.")
@_db
@click.pass_obj
def export(ctl: Ctl, list_file: Path, output_dir: Path, dry_run: bool, db: Path | None) -> int:
    """Copy the files that a list asks for into a folder, with a manifest. Run again, it goes on.

    \b
    Examples:
      syncctl exchange export anna.list.jsonl --output-dir /media/disk --dry-run
      syncctl exchange export anna.list.jsonl --output-dir /media/disk
    """
    from syncd.control import render_exchange, schema

    request = schema.ExchangeExportRequest(
        list_file=_absolute(list_file), output_dir=_absolute(output_dir), db=_maybe(db), dry_run=dry_run
    )
    report = _work(ctl, "exchange_export", "copying", lambda client: client.exchange_export(request))
    ctl.show(report, render_exchange.exported)
    return ExitCode.PARTIAL if report.missing or report.failed else ExitCode.DONE


@exchange.command("import")
@_list
@click.option("--import-dir", required=True, type=_path, metavar="D", help="The folder of the export.")
@click.option("--dry-run", is_flag=True, help="Only check every file.")
@_db
@click.pass_obj
def take(ctl: Ctl, list_id: str, import_dir: Path, dry_run: bool, db: Path | None) -> int:
    """Take the files that were exported for a list, each checked by its SHA-256. Run again, it goes on.

    \b
    Examples:
      syncctl exchange import 4f1c2a9b7d3e5f60 --import-dir /media/disk --dry-run
      syncctl exchange import 4f1c2a9b7d3e5f60 --import-dir /media/disk
    """
    from syncd.control import render_exchange, schema

    request = schema.ExchangeImportRequest(
        list_id=_list_id(list_id), import_dir=_absolute(import_dir), db=_maybe(db), dry_run=dry_run
    )
    report = _work(ctl, "exchange_import", "taking", lambda client: client.exchange_import(request))
    ctl.show(report, render_exchange.imported)
    return ExitCode.PARTIAL if report.missing or report.rejected else ExitCode.DONE


@exchange.command()
@_list
@_db
@click.pass_obj
def verify(ctl: Ctl, list_id: str, db: Path | None) -> int:
    """Read again every file that was imported for a list.

    \b
    Examples:
      syncctl exchange verify 4f1c2a9b7d3e5f60
      syncctl exchange verify 4f1c2a9b7d3e5f60 --json | jq .corrupt
    """
    from syncd.control import render_exchange, schema

    request = schema.ExchangeListRequest(list_id=_list_id(list_id), db=_maybe(db))
    report = _work(ctl, "exchange_verify", "reading", lambda client: client.exchange_verify(request))
    ctl.show(report, render_exchange.verified)
    return ExitCode.PARTIAL if report.missing or report.corrupt else ExitCode.DONE


@exchange.command()
@_list
@_db
@click.pass_obj
def clean(ctl: Ctl, list_id: str, db: Path | None) -> None:
    """Remove what was staged for a list. What arrived stays; on the giver's side the copies in the folder
    go.

    \b
    Examples:
      syncctl exchange clean 4f1c2a9b7d3e5f60
      syncctl exchange clean 4f1c2a9b7d3e5f60 --db indafoto.db
    """
    from syncd.control import render_exchange, schema

    request = schema.ExchangeListRequest(list_id=_list_id(list_id), db=_maybe(db))
    ctl.show(ctl.ask(lambda client: client.exchange_clean(request)), render_exchange.cleaned)


@exchange.command()
@click.argument("receipt_file", metavar="FILE", type=_path)
@_db
@click.pass_obj
def receipt(ctl: Ctl, receipt_file: Path, db: Path | None) -> int:
    """Check a receipt that came back, and see what arrived. Exits 4 when not all did, or another signed it.

    \b
    Examples:
      syncctl exchange receipt receipt-4f1c2a9b7d3e5f60.jsonl
      syncctl exchange receipt receipt-4f1c2a9b7d3e5f60.jsonl --json | jq .arrived
    """
    from syncd.control import render_exchange, schema

    request = schema.ExchangeReceiptRequest(receipt_file=_absolute(receipt_file), db=_maybe(db))
    found = ctl.ask(lambda client: client.exchange_receipt(request))
    ctl.show(found, render_exchange.receipt)
    whole = found.is_asker and not found.missing and not found.rejected
    return ExitCode.DONE if whole else ExitCode.PARTIAL


def _work(ctl: Ctl, kind: str, label: str, work: Callable[[ControlClient], Awaitable[T]]) -> T:
    """Asks for work, and shows how far it is."""
    from syncd.control.ctl_progress import with_job_progress

    return ctl.ask(lambda client: with_job_progress(client, kind, label, work(client)))


def _absolute(path: Path) -> str:
    """The daemon has another working folder."""
    return str(path.absolute())


def _maybe(path: Path | None) -> str | None:
    return None if path is None else _absolute(path)


def _list_id(text: str) -> str:
    """The id itself, or that of the list whose file is named."""
    import json

    try:
        with Path(text).open("rb") as file:
            found = json.loads(file.readline(1 << 16))["list_id"]
    except (OSError, ValueError, KeyError, TypeError):
        return text
    return found if isinstance(found, str) else text
