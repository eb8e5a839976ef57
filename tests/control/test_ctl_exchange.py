"""syncctl exchange: what it asks, says and exits with."""

from __future__ import annotations

from pathlib import Path

import pytest

from syncd.control import ctl, render_exchange, schema
from syncd.control.render import Look
from syncd.control.server import ControlServer
from tests.control.memory_api import MemoryApi
from tests.control.memory_exchange import FILE, LIST_ID, LISTED, MemoryExchange
from tests.control.test_ctl import syncctl


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("exchange analyze", "--remote-db"),
        ("exchange export --output-dir d", "Missing argument"),
        ("exchange export list", "--output-dir"),
        ("exchange import x", "--import-dir"),
        ("exchange show x --side both", "both"),
        ("exchange analyse", "Did you mean 'analyze'?"),
    ],
)
def test_wrong_usage(arguments: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert ctl.run(arguments.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err


async def test_what_is_missing_exits_4(server: ControlServer, api: MemoryApi, tmp_path: Path) -> None:
    api.exchange.bad = 1
    list_file = tmp_path / "anna.list.jsonl"
    list_file.write_text(f'{{"list_id": "{LIST_ID}"}}\n')
    done = await syncctl(
        "exchange", "import", str(list_file), "--import-dir", "disk", "--json", server=server
    )
    assert done.code == 4, done.err
    assert (done.json()["list_id"], done.json()["missing"]) == (LIST_ID, 1)
    (request,) = api.exchange.asked
    assert request.import_dir == str(Path.cwd() / "disk")  # the daemon has another working folder
    shown = await syncctl("exchange", "show", LIST_ID, "--side", "near", server=server)
    assert shown.code == 0, shown.err
    assert "A bridge" in shown.out and "/photos/bridge.png (2)" in shown.out


async def test_words_for_people() -> None:
    api, look = MemoryExchange(), Look()
    api.bad = 1
    one = schema.ExchangeListRequest(list_id=LIST_ID)
    analyzed = await api.analyze(schema.ExchangeAnalyzeRequest(remote_db="/disk/anna\x1b.db"))
    said = [
        *render_exchange.analyzed(analyzed, look),
        *render_exchange.lists(schema.ExchangeListPage(items=[LISTED]), look),
        *render_exchange.shown(await api.show(LIST_ID, None, "near", 1, None), look),
        *render_exchange.exported(
            await api.export(schema.ExchangeExportRequest(list_file="/l", output_dir="/disk")), look
        ),
        *render_exchange.imported(
            await api.take(schema.ExchangeImportRequest(list_id=LIST_ID, import_dir="/disk")), look
        ),
        *render_exchange.verified(await api.verify(one), look),
        *render_exchange.cleaned(await api.clean(one), look),
        *render_exchange.receipt(await api.receipt(schema.ExchangeReceiptRequest(receipt_file="/r")), look),
    ]
    text = "\n".join(said)
    assert "\x1b" not in text and "x\\x1b: a symbolic link" in text
    for words in ("2 files that only they have", "Send this file", "1 not there any more", "1 rejected",
                  "1 of 2 imported files", "2 staged files removed (1.2 kB)", "somebody else"):  # fmt: skip
        assert words in text, words
    assert FILE.name not in text  # it is shown by its title
