"""The plan of a batch: table tests for each rule, and a model that carries plans out in memory."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.config import BatchesConfig
from syncd.flows.site_plan import BatchKnowledge, BatchPlan, SiteRules, actions_of, plan_batch
from syncd.model import BatchListing, BatchSettings, FileStat, KnownVersion, SeenFile

STAGES = ("final_crops", "inverted_original_scans", "initial_scan")
RULES = SiteRules(STAGES, BatchesConfig().suffixes, "", "here")


def seen(path: str, mark: int = 1) -> SeenFile:
    """A file `<stage>/<name>` of batch b; `mark` stands for its content and time."""
    stage, name = path.split("/")
    return SeenFile("b", stage, name, f"b/{path}", f"/root/b/{path}", FileStat(mark, mark, 10, mark))


class Archive:
    """The catalogue and the storage as two dicts, changed by plans the way the daemon does it."""

    def __init__(self, *, is_public: bool = True, source: str | None = None) -> None:
        self.settings = BatchSettings("b", is_public, source)
        self.versions: dict[int, KnownVersion] = {}
        self.scene_ids: dict[str, str] = {}
        self.storage: dict[str, int] = {}
        self.broken: set[int] = set()

    def plan(self, files: list[SeenFile], rules: SiteRules = RULES, **listing: object) -> BatchPlan:
        knowledge = BatchKnowledge(self.settings, tuple(self.versions.values()), dict(self.scene_ids))
        taken = {scene_id: ("b", base) for base, scene_id in self.scene_ids.items()}
        shown = BatchListing("b", tuple(files), **listing)  # type: ignore[arg-type]
        return plan_batch(shown, knowledge, rules, taken)

    def do(self, files: list[SeenFile], rules: SiteRules = RULES) -> BatchPlan:
        plan = self.plan(files, rules)
        for scene in plan.scenes:
            self.scene_ids.setdefault(scene.base_filename, scene.scene_id)
            for candidate in scene.records:
                self._record(candidate.seen, scene.scene_id)
            if scene.set_current:
                self._choose(scene.scene_id, scene.current.seen.relative_path if scene.current else None)
            if scene.upload_key and scene.current:
                self._upload(scene.scene_id, scene.current.seen, scene.upload_key, rules)
            for removal in scene.removals:
                if removal.delete_object:
                    self.storage.pop(removal.key, None)
                version = self.versions[removal.version.version_id]
                if version.r2_key == removal.key:
                    self.versions[version.version_id] = version._replace(r2_key=None)
        for version_id in plan.gone:
            self.versions[version_id] = self.versions[version_id]._replace(gone=True)
        for version_id in plan.back:
            self.versions[version_id] = self.versions[version_id]._replace(gone=False)
        return plan

    def _record(self, file: SeenFile, scene_id: str) -> None:
        for version in list(self.versions.values()):
            if version.relative_path == file.relative_path and not version.superseded:
                self.versions[version.version_id] = version._replace(superseded=True, is_current=False)
        number = len(self.versions) + 1
        error = "truncated JPEG" if file.stat.mtime_ns in self.broken else None
        self.versions[number] = KnownVersion(
            number, scene_id, file.stage, file.relative_path, file.local_path, file.stat,
            f"sha{file.stat.inode}", "md5", False, False, None, None, None, "image/jpeg", False, error, None,
        )  # fmt: skip

    def _choose(self, scene_id: str, path: str | None) -> None:
        for version in list(self.versions.values()):
            if version.scene_id == scene_id and not version.superseded:
                chosen = version.relative_path == path
                self.versions[version.version_id] = version._replace(is_current=chosen)

    def _upload(self, scene_id: str, file: SeenFile, key: str, rules: SiteRules) -> None:
        current = next(
            v for v in self.versions.values() if v.relative_path == file.relative_path and not v.superseded
        )
        if current.decode_error:
            return
        for version in list(self.versions.values()):
            if version.scene_id == scene_id and version.r2_key:
                self.versions[version.version_id] = version._replace(r2_key=None)
        self.versions[current.version_id] = current._replace(r2_key=key, storage_id=rules.storage_id)
        self.storage[key] = file.stat.inode

    @property
    def live(self) -> dict[str, str]:
        return {v.r2_key: v.relative_path for v in self.versions.values() if v.r2_key}


def words(plan: BatchPlan) -> list[str]:
    return [f"{a.action} {a.version_type} {a.key or ''}".strip() for a in actions_of(plan)]


def test_the_best_stage_is_published_and_all_are_recorded() -> None:
    archive = Archive()
    plan = archive.do([seen("initial_scan/1.jpg"), seen("final_crops/1_crop.jpg")])
    assert words(plan) == [
        "record initial_scan",
        "record final_crops",
        "upload final_crops scenes/b-1.jpg",
    ]
    assert archive.live == {"scenes/b-1.jpg": "b/final_crops/1_crop.jpg"}


def test_nothing_changed_is_nothing_to_do() -> None:
    archive = Archive()
    files = [seen("initial_scan/1.jpg"), seen("final_crops/1_crop.jpg")]
    archive.do(files)
    again = archive.plan(files)
    assert again.is_empty and actions_of(again) == [] and again.unchanged == 2


def test_a_private_batch_is_recorded_and_not_published() -> None:
    archive = Archive(is_public=False)
    assert words(archive.do([seen("initial_scan/1.jpg")])) == ["record initial_scan"]
    archive.settings = replace(archive.settings, is_public=True)
    assert words(archive.do([seen("initial_scan/1.jpg")])) == ["upload initial_scan scenes/b-1.jpg"]
    archive.settings = replace(archive.settings, is_public=False)
    plan = archive.do([seen("initial_scan/1.jpg")])
    assert words(plan) == ["remove initial_scan scenes/b-1.jpg"]
    assert plan.scenes[0].removals[0].asked
    assert archive.storage == {}


def test_a_better_stage_takes_over_and_a_worse_one_does_not() -> None:
    archive = Archive()
    archive.do([seen("inverted_original_scans/1_inv.jpg")])
    plan = archive.do([seen("inverted_original_scans/1_inv.jpg"), seen("initial_scan/1.jpg", 9)])
    assert words(plan) == ["record initial_scan"]
    files = [
        seen("inverted_original_scans/1_inv.jpg"),
        seen("final_crops/1.jpg"),
        seen("initial_scan/1.jpg", 9),
    ]
    assert words(archive.do(files)) == ["record final_crops", "upload final_crops scenes/b-1.jpg"]


def test_the_newest_of_a_stage_is_current() -> None:
    archive = Archive()
    archive.do([seen("final_crops/1_crop1.jpg", 5), seen("final_crops/1_crop2.jpg", 3)])
    assert archive.live == {"scenes/b-1.jpg": "b/final_crops/1_crop1.jpg"}


def test_a_replaced_file_is_a_new_row_and_moves_the_key() -> None:
    archive = Archive()
    archive.do([seen("initial_scan/1.jpg", 1)])
    archive.do([seen("initial_scan/1.jpg", 2)])
    assert [v.superseded for v in archive.versions.values()] == [True, False]
    assert [v.r2_key for v in archive.versions.values()] == [None, "scenes/b-1.jpg"]


def test_another_extension_removes_the_old_object_after_the_new_one() -> None:
    archive = Archive()
    archive.do([seen("initial_scan/1.jpg", 1)])
    plan = archive.do([seen("initial_scan/1.jpg", 1), seen("final_crops/1.png", 2)])
    assert words(plan) == [
        "record final_crops",
        "upload final_crops scenes/b-1.png",
        "remove initial_scan scenes/b-1.jpg",
    ]
    assert set(archive.storage) == {"scenes/b-1.png"}


def test_vanished_files_remove_nothing_by_themselves() -> None:
    archive = Archive()
    archive.do([seen("initial_scan/1.jpg")])
    plan = archive.do([])
    assert actions_of(plan) == [] and plan.gone == (1,)
    assert archive.live
    assert archive.plan([seen("initial_scan/1.jpg")]).back == (1,)


def test_withdraw_missing_removes_and_nobody_asked() -> None:
    archive = Archive()
    archive.do([seen("initial_scan/1.jpg")])
    plan = archive.plan([], replace(RULES, withdraw_missing=True))
    assert words(plan) == ["remove initial_scan scenes/b-1.jpg"]
    assert not plan.scenes[0].removals[0].asked


def test_a_listing_with_an_error_concludes_nothing() -> None:
    archive = Archive()
    archive.do([seen("initial_scan/1.jpg")])
    plan = archive.plan([], replace(RULES, withdraw_missing=True), error="cannot be listed")
    assert plan.is_empty and plan.error and plan.gone == ()


def test_a_file_being_written_holds_its_scene_back() -> None:
    archive = Archive()
    archive.do([seen("final_crops/1_crop.jpg"), seen("initial_scan/1.jpg"), seen("initial_scan/2.jpg")])
    plan = archive.plan(
        [seen("initial_scan/1.jpg"), seen("initial_scan/2.jpg", 7)],
        unsettled=("b/final_crops/1_crop.jpg",),
        unsettled_s=0.3,
    )
    assert words(plan) == ["record initial_scan", "upload initial_scan scenes/b-2.jpg"]
    assert plan.gone == ()


def test_source_directory_limits_what_is_current() -> None:
    archive = Archive()
    files = [seen("initial_scan/1.jpg"), seen("final_crops/1.jpg"), seen("initial_scan/2.jpg")]
    archive.do(files)
    archive.settings = replace(archive.settings, source_directory="final_crops")
    plan = archive.do(files)
    assert words(plan) == ["remove initial_scan scenes/b-2.jpg"]
    assert plan.scenes[0].removals[0].asked
    assert not any(v.is_current for v in archive.versions.values() if v.scene_id == "b-2")
    archive.settings = replace(archive.settings, source_directory=None)
    assert words(archive.do(files)) == ["upload initial_scan scenes/b-2.jpg"]


def test_a_photo_that_cannot_be_decoded_keeps_what_is_live() -> None:
    archive = Archive()
    archive.broken = {2}
    archive.do([seen("initial_scan/1.jpg", 1)])
    archive.do([seen("initial_scan/1.jpg", 2)])
    plan = archive.plan([seen("initial_scan/1.jpg", 2)])
    assert actions_of(plan) == []
    assert [(item.path, item.reason) for item in plan.failed] == [
        ("/root/b/initial_scan/1.jpg", "truncated JPEG")
    ]
    assert archive.storage == {"scenes/b-1.jpg": 1}


def test_another_storage_is_filled_and_the_old_one_left_alone() -> None:
    archive = Archive()
    archive.do([seen("initial_scan/1.jpg")])
    elsewhere = replace(RULES, storage_id="there", prefix="site/")
    plan = archive.do([seen("initial_scan/1.jpg")], elsewhere)
    assert words(plan) == ["upload initial_scan site/scenes/b-1.jpg"]
    assert set(archive.storage) == {"scenes/b-1.jpg", "site/scenes/b-1.jpg"}
    archive.settings = replace(archive.settings, is_public=False)
    third = archive.plan([seen("initial_scan/1.jpg")], replace(RULES, storage_id="third"))
    assert not third.scenes[0].removals[0].delete_object


def test_db_only_and_images_only_part_the_work() -> None:
    archive = Archive()
    assert words(archive.do([seen("initial_scan/1.jpg")], replace(RULES, db_only=True))) == [
        "record initial_scan"
    ]
    images = replace(RULES, images_only=True)
    plan = archive.do([seen("initial_scan/1.jpg"), seen("initial_scan/2.jpg")], images)
    assert words(plan) == ["upload initial_scan scenes/b-1.jpg"]
    assert [item.path for item in plan.skipped] == ["/root/b/initial_scan/2.jpg"]
    assert actions_of(archive.plan([seen("initial_scan/1.jpg", 5)], images)) == []


def test_an_initial_scan_that_comes_later_takes_its_crop_over() -> None:
    archive = Archive()
    archive.do([seen("final_crops/roll-scan_crop.jpg")])
    assert set(archive.storage) == {"scenes/b-roll.jpg"}
    archive.do([seen("final_crops/roll-scan_crop.jpg"), seen("initial_scan/roll-scan.jpg")])
    assert set(archive.storage) == {"scenes/b-roll-scan.jpg"}
    assert archive.live == {"scenes/b-roll-scan.jpg": "b/final_crops/roll-scan_crop.jpg"}


FILES = st.lists(
    st.tuples(
        st.sampled_from(STAGES),
        st.sampled_from(["1", "2", "1_crop", "2-inv", "x-scan", "x-scan_crop"]),
        st.sampled_from([".jpg", ".png", ".tif"]),
        st.integers(1, 4),
    ),
    max_size=6,
    unique_by=lambda f: f[:3],
)
STEP = st.tuples(FILES, st.booleans(), st.sampled_from([None, *STAGES]), st.booleans())


@settings(max_examples=300)
@given(st.lists(STEP, min_size=1, max_size=6))
def test_whatever_happens_the_site_converges(
    steps: list[tuple[list[tuple[str, str, str, int]], bool, str | None, bool]],
) -> None:
    """After any history, one run brings catalogue, storage and folder together, and a second does nothing."""
    archive = Archive()
    for files, is_public, source, withdraw in steps:
        archive.settings = BatchSettings("b", is_public, source)
        rules = replace(RULES, withdraw_missing=withdraw)
        there = [seen(f"{stage}/{name}{ext}", mark) for stage, name, ext, mark in files]
        archive.do(there, rules)
        again = archive.plan(there, rules)
        assert actions_of(again) == [] and not any(scene.set_current for scene in again.scenes)
        assert set(archive.live) == set(archive.storage)
        current = [v.scene_id for v in archive.versions.values() if v.is_current]
        assert len(current) == len(set(current))
        live = [v.scene_id for v in archive.versions.values() if v.r2_key]
        assert len(live) == len(set(live))
        if not is_public:
            assert archive.storage == {}
        if is_public and withdraw:
            wanted = {v.scene_id for v in archive.versions.values() if v.is_current and not v.gone}
            assert wanted == set(live)
