"""Tables and texts: they fit, line up, and never carry what a name could smuggle in."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.control import render_site, render_status, schema
from syncd.control.render import Cell, Column, Look, cells, plural, shorten, table

AT = "2020-05-30T12:00:00Z"
EVIL = "x\x1b]0;y\x07\u202e\n\tz"


def status(**given: Any) -> schema.Status:
    running = schema.ServiceStatus(name="site", state="running", since=AT)
    base = schema.Status(
        version="1.0", uptime_s=273_600, services=[running], queues={"jobs": schema.QueueStatus()},
        counts=schema.Counts(batches=61, public_batches=54, scenes=18_543, versions=30_000, live=17_902),
        sources=[], blocked=[], watcher=schema.WatcherStatus(watches=1200), idle=True,
    )  # fmt: skip
    return msgspec.structs.replace(base, **given)


def test_status_without_trouble() -> None:
    lines = render_status.status(status(), Look())
    assert lines[0] == "syncd 1.0 · up 3 d 4 h · idle"
    assert not any("NEEDS YOU" in line for line in lines)
    assert any("18,543 in 30,000 versions, 17,902 live" in line for line in lines)
    assert any("1,200 folders (inotify)" in line for line in lines)
    assert not any("events" in line for line in lines)


def test_status_says_first_what_needs_a_person_and_the_command() -> None:
    services = [
        schema.ServiceStatus(name="drive", state="needs_auth", since=AT, last_error="token expired"),
        schema.ServiceStatus(name="site", state="failed", since=AT, restarts=9, last_error=EVIL),
        schema.ServiceStatus(name="batches", state="blocked", since=AT, last_error="images_dir is missing"),
    ]
    lines = render_status.status(
        status(
            services=services, guards=2, conflicts=["a-b-c is taken"],
            queues={"photos": schema.QueueStatus(failed=3), "jobs": schema.QueueStatus(failed=1)},
            blocked=[schema.Blocked(what="batches", reason="images_dir is missing", since=AT)],
            watcher=schema.WatcherStatus(mode="polling"),
        ),
        Look(),
    )  # fmt: skip
    needs = lines[2 : lines.index("", 2)]
    assert [line.split()[1] for line in needs[1:]] == [
        "guard", "drive", "site", "batches", "failed", "name", "watcher",
    ]  # fmt: skip
    commands = (
        "syncctl guards",
        "syncctl auth drive",
        "syncctl resume site",
        "",
        "syncctl jobs list --failed",
    )
    assert all(line.endswith(command) for line, command in zip(needs[1:], commands, strict=False))
    assert "4 items failed" in needs[5]


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("drive", "syncctl auth drive"), ("smugmug", "syncctl auth smugmug"),
        ("names", "syncctl auth smugmug"), ("mirror", "syncctl config reload"),
        ("describe", "syncctl config reload"),
    ],
)  # fmt: skip
def test_what_helps_a_service_that_is_not_let_in_is_a_command_that_there_is(name: str, command: str) -> None:
    services = [schema.ServiceStatus(name=name, state="needs_auth", since=AT, last_error="no")]
    assert [need[3] for need in render_status.needs(status(services=services))] == [command]


def test_what_failed_is_shown_where_it_is_listed() -> None:
    queues = {name: schema.QueueStatus(failed=2) for name in ("smugmug", "mirror", "describe", "jobs")}
    found = [need[2:] for need in render_status.needs(status(queues=queues))]
    assert found == [
        ("2 albums could not be read", "syncctl smugmug status"),
        ("2 rows not taken by Postgres", "syncctl resume mirror"),
        ("4 items failed", "syncctl jobs list --failed"),
    ]


def test_activity_is_one_line() -> None:
    item = schema.ActivityItem(id=1, at=AT, kind="uploaded", service="site", subject="s", message=EVIL)
    line = render_status.activity_line(item, Look())
    assert "uploaded" in line
    assert "\n" not in line
    assert "\x1b" not in line


def test_guard_shows_what_would_go() -> None:
    actions = [
        schema.SyncAction(action="remove", scene_id=f"s{n}", version_type="x", local_path="/x", key=f"k{n}")
        for n in range(60)
    ]
    guard = schema.Guard(
        id="g1", kind="removals", reason="many", created_at=AT, count=60, actions=actions, of=1902
    )
    lines = render_site.guards(schema.GuardPage(items=[guard]), Look())
    assert lines[0] == "▲ guard g1: remove 60 of 1,902"
    assert "s0  x -> k0" in lines[2]
    assert "and 40 more" in lines[-2]
    assert lines[-1].endswith("syncctl approve g1")


def test_dry_run_shows_its_actions() -> None:
    steps: list[tuple[Literal["record", "upload"], str | None]] = [
        ("record", None), ("upload", "scenes/s.jpg"), ("upload", "scenes/t.jpg"),
    ]  # fmt: skip
    actions = [
        schema.SyncAction(action=name, scene_id="s", version_type="final_crops", local_path="/x", key=key)
        for name, key in steps
    ]
    lines = render_site.sync(schema.SyncReport(state="done", dry_run=True, actions=actions), Look())
    assert lines[:4] == [
        "record  s  final_crops", "upload  s  final_crops -> scenes/s.jpg",
        "upload  s  final_crops -> scenes/t.jpg", "Would record 1, upload 2.",
    ]  # fmt: skip
    assert render_site.sync(schema.SyncReport(state="done", dry_run=True), Look())[0] == "Nothing to do."
    held = render_site.sync(schema.SyncReport(state="refused", dry_run=True), Look())
    assert (held[0], held[-1]) == (
        "Nothing would be done.", "A guard would hold removals back, or does so already: syncctl guards",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("human", "page"),
    [
        (render_site.batches, schema.BatchPage(items=[])),
        (render_site.scenes, schema.ScenePage(items=[])),
        (render_site.jobs, schema.JobPage(items=[])),
        (render_site.guards, schema.GuardPage(items=[])),
        (render_site.similar, schema.SimilarPage(items=[])),
    ],
)
def test_an_empty_list_is_a_sentence(human: Callable[[Any, Look], list[str]], page: object) -> None:
    (line,) = human(page, Look(80, True))
    assert line.endswith(".")


def evil_replies() -> list[tuple[Callable[[Any, Look], list[str]], object]]:
    action = schema.SyncAction(action="remove", scene_id=EVIL, version_type=EVIL, local_path=EVIL, key=EVIL)
    version = schema.Version(
        version_id=1, version_type=EVIL, local_path=EVIL, is_current=True, r2_key=EVIL, url=EVIL, sha256=EVIL,
        size_bytes=1, perceptual_hash=EVIL, synced_at=AT, failure=EVIL,
    )  # fmt: skip
    scene = schema.Scene(
        scene_id=EVIL, batch_name=EVIL, base_filename=EVIL, capture_date=EVIL, live=True, versions=[version]
    )
    batch = schema.Batch(
        name=EVIL,
        is_public=True,
        source_directory=EVIL,
        scenes=1,
        versions=1,
        live=1,
        failed=1,
        last_synced_at=AT,
    )
    job = schema.Job(
        id=EVIL, kind=EVIL, subject=EVIL, state="failed", attempts=1, created_at=AT, next_attempt_at=AT,
        error=EVIL, progress=schema.Progress(),
    )  # fmt: skip
    guard = schema.Guard(id=EVIL, kind=EVIL, reason=EVIL, created_at=AT, count=1, actions=[action])
    wrong = schema.WrongObject(key=EVIL, expected=EVIL, found=EVIL)
    reason = schema.PathReason(path=EVIL, reason=EVIL)
    near = schema.SimilarItem(scene_id=EVIL, version_id=1, distance=1, r2_key=EVIL, url=None)
    pulled = schema.PulledFile(scene_id=EVIL, path=EVIL, sha256=EVIL)
    gone = schema.SceneReason(scene_id=EVIL, reason=EVIL)
    service = schema.ServiceStatus(name=EVIL, state="failed", since=AT, last_error=EVIL)
    return [
        (render_site.batches, schema.BatchPage(items=[batch])),
        (render_site.scenes, schema.ScenePage(items=[scene])),
        (render_site.scene, scene),
        (render_site.jobs, schema.JobPage(items=[job])),
        (render_site.job, job),
        (render_site.guards, schema.GuardPage(items=[guard])),
        (render_site.approved, schema.GuardApproved(id=EVIL, job_id=EVIL, count=1)),
        (render_site.accepted, schema.JobAccepted(job_id=EVIL)),
        (render_site.similar, schema.SimilarPage(items=[near])),
        (render_site.pulled, schema.PullReport(pulled=1, files=[pulled], failed=[gone])),
        (
            render_site.verified,
            schema.VerifyReport(
                checked=3, ok=0, missing=[EVIL], wrong=[wrong], orphaned=[EVIL], guard_id=EVIL
            ),
        ),
        (
            render_site.sync,
            schema.SyncReport(state="partial", failed=[reason], skipped=[reason], error=EVIL, guard_id=EVIL),
        ),
        (render_site.sync, schema.SyncReport(state="done", dry_run=True, actions=[action])),
        (render_status.status, status(
            version=EVIL, services=[service], queues={EVIL: schema.QueueStatus(waiting=1, failed=1)},
            sources=[schema.SourceStatus(name=EVIL, state=EVIL, last_success_at=AT)], conflicts=[EVIL],
            blocked=[schema.Blocked(what=EVIL, reason=EVIL, since=AT)], storage=EVIL, state_dir=EVIL)),
    ]  # fmt: skip


@pytest.mark.parametrize(("human", "reply"), evil_replies())
def test_nothing_from_outside_steers_the_terminal(
    human: Callable[[Any, Look], list[str]], reply: object
) -> None:
    for look in (Look(), Look(80, False), Look(200, False)):
        lines = human(reply, look)
        assert all(line.isprintable() for line in lines), lines
        assert any("\\x1b" in line for line in lines)


TEXT = st.text(st.sampled_from("ab -é日\u0301한\x1b\n"), max_size=30)
COLUMN = st.builds(
    Column, st.sampled_from(["A", "NAME"]), st.booleans(), st.integers(0, 3), st.sampled_from(["", ">", "<"])
)


@given(st.data())
def test_tables_fit_and_line_up(data: st.DataObject) -> None:
    columns = [Column("NAME", cut=">"), *data.draw(st.lists(COLUMN, max_size=4))]
    rows = data.draw(st.lists(st.lists(TEXT, min_size=len(columns), max_size=len(columns)), max_size=4))
    whole = table(Look(), columns, rows)
    assert len(whole) == len(rows) + 1
    assert not any("…" in line for line in whole)
    # Columns that may neither go nor be cut take what they need.
    fixed = sum(
        max([cells(c.title), *(4 * len(row[at]) for row in rows)]) + 2
        for at, c in enumerate(columns)
        if not c.cut and not c.rank
    )
    cut = sum(10 for column in columns if column.cut and not column.rank)
    width = data.draw(st.integers(fixed + cut, fixed + cut + 60))
    fitted = table(Look(width), columns, rows)
    assert all(cells(line) <= width for line in fitted), (width, fitted)
    assert all(line.isprintable() for line in fitted)


@given(TEXT, st.integers(1, 20), st.sampled_from(["<", ">"]))
def test_shorten(text: str, width: int, at: str) -> None:
    short = shorten(text, width, at)
    assert cells(short) <= width
    assert short == text or "…" in short


def test_wide_terminals_show_more() -> None:
    batch = schema.Batch(
        name="2025-11-04-batch-1", is_public=True, source_directory=None, scenes=18_543, versions=20_000,
        live=17_902, failed=3, last_synced_at=AT,
    )  # fmt: skip
    page = schema.BatchPage(items=[batch])
    narrow, wide = (render_site.batches(page, Look(width)) for width in (50, 120))
    assert "VERSIONS" not in narrow[0]
    assert "VERSIONS" in wide[0]
    assert "17,902" in narrow[1]


def test_colour_does_not_move_columns() -> None:
    rows: list[list[str | Cell]] = [[Cell("a", "bad"), "b"], ["long", "c"]]
    plain = table(Look(80), [Column("X"), Column("Y")], rows)
    coloured = table(Look(80, True), [Column("X"), Column("Y")], rows)
    assert coloured[1] == "\x1b[31ma\x1b[0m     b"
    assert plain[1] == "a     b"


def test_plural() -> None:
    assert (plural(1, "batch", "batches"), plural(1234, "scene")) == ("1 batch", "1,234 scenes")


def test_json_is_raw() -> None:
    assert json.loads(msgspec.json.encode(status()))["counts"]["scenes"] == 18543
