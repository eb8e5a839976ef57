"""What the site needs done, as a pure function of what is there and what is known. No I/O.

For each batch: the files to record, the scenes to upload, the objects to remove. The same function makes
the dry run and the real run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from syncd.flows.site_names import (
    base_filename,
    initial_stems_of,
    new_scene_id,
    stem_of,
    storage_key,
)
from syncd.model import (
    INITIAL_STAGE,
    Action,
    BatchListing,
    BatchSettings,
    KnownVersion,
    SeenFile,
    SkippedFile,
)


@dataclass(frozen=True, slots=True)
class SiteRules:
    """The settings that plans depend on."""

    stages: tuple[str, ...]
    suffixes: tuple[str, ...]
    prefix: str
    storage_id: str
    withdraw_missing: bool = False
    db_only: bool = False
    images_only: bool = False


@dataclass(frozen=True, slots=True)
class BatchKnowledge:
    """What the catalogue knows of one batch. `scene_ids` maps base filenames to scene ids."""

    settings: BatchSettings
    versions: tuple[KnownVersion, ...] = ()
    scene_ids: Mapping[str, str] = field(default_factory=dict)
    is_new: bool = False


class Candidate(NamedTuple):
    """A version that is there now: a file to record, or one already known and unchanged (`known`)."""

    seen: SeenFile
    known: KnownVersion | None
    """The row of this file, None for a file never seen."""
    unchanged: bool


class Removal(NamedTuple):
    """An object to take from storage. `asked` by a person, or only because files vanished."""

    version: KnownVersion
    key: str
    asked: bool
    delete_object: bool


@dataclass(frozen=True, slots=True)
class ScenePlan:
    """What one scene needs, in this order: record, choose the current version, upload, remove."""

    scene_id: str
    base_filename: str
    candidates: tuple[Candidate, ...] = ()
    """Every file of the scene that is there."""
    records: tuple[Candidate, ...] = ()
    current: Candidate | None = None
    upload_key: str | None = None
    removals: tuple[Removal, ...] = ()
    is_new: bool = False
    set_current: bool = False
    """The row that is current changes."""

    @property
    def is_empty(self) -> bool:
        return not (self.records or self.upload_key or self.removals or self.set_current or self.is_new)


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """What one batch needs. `gone` and `back` are version ids of files that vanished or came back as they
    were; `failed` are failures already known; `scanned` and `unchanged` count files."""

    batch_name: str
    is_new: bool = False
    is_public: bool = False
    scenes: tuple[ScenePlan, ...] = ()
    gone: tuple[int, ...] = ()
    back: tuple[int, ...] = ()
    failed: tuple[SkippedFile, ...] = ()
    skipped: tuple[SkippedFile, ...] = ()
    ignored: int = 0
    scanned: int = 0
    unchanged: int = 0
    scene_count: int = 0
    version_count: int = 0
    error: str | None = None

    @property
    def is_empty(self) -> bool:
        return not (self.is_new or self.scenes or self.gone or self.back)


def plan_batch(
    listing: BatchListing,
    knowledge: BatchKnowledge,
    rules: SiteRules,
    taken: Mapping[str, tuple[str, str]],
    *,
    same_content: frozenset[str] = frozenset(),
    look_again: frozenset[str] = frozenset(),
) -> BatchPlan:
    """The plan of one batch.

    `taken`: who holds each scene id, over all batches. `same_content`: relative paths whose stat moved
    and whose bytes did not (a dry run hashes them to foresee it). `look_again`: relative paths that a
    person wants to be read again though nothing about them changed.
    """
    if listing.error is not None:
        return BatchPlan(
            listing.batch_name,
            skipped=listing.skipped,
            ignored=listing.ignored,
            error=listing.error,
        )
    known = {v.relative_path: v for v in knowledge.versions if not v.superseded}
    candidates, skipped = _candidates(listing, known, rules, same_content, look_again)
    groups, waiting = _group(listing, candidates, knowledge, rules, taken)
    present = {seen.relative_path for seen in listing.files}
    present.update(listing.unsettled)
    scene_of = {c.seen.relative_path: scene_id for scene_id, group in groups.items() for c in group}
    by_scene: dict[str, list[KnownVersion]] = {}
    live: dict[str, KnownVersion] = {}
    for version in knowledge.versions:
        if version.r2_key is not None:
            live[version.scene_id] = version
        # A file that now belongs to another scene is no longer a version of its old one.
        if (
            not version.superseded
            and scene_of.get(version.relative_path, version.scene_id) == version.scene_id
        ):
            by_scene.setdefault(version.scene_id, []).append(version)

    base_of = {scene_id: base for base, scene_id in knowledge.scene_ids.items()}
    base_of.update((scene_id, group.base) for scene_id, group in groups.items())
    scene_ids = groups.keys() | by_scene.keys() | live.keys()
    plans = []
    for scene_id in sorted(scene_ids - waiting):
        scene = _plan_scene(
            _SceneFacts(
                scene_id,
                base_of.get(scene_id, ""),
                tuple(groups.get(scene_id, ())),
                tuple(by_scene.get(scene_id, ())),
                live.get(scene_id),
                is_new=base_of.get(scene_id, "") not in knowledge.scene_ids,
            ),
            knowledge.settings,
            rules,
        )
        if not scene.is_empty:
            plans.append(scene)

    gone: tuple[int, ...] = ()
    back: tuple[int, ...] = ()
    if not rules.images_only:
        gone = tuple(
            v.version_id for v in knowledge.versions if not v.gone and v.relative_path not in present
        )
        back = tuple(c.known.version_id for c in candidates if c.known and c.unchanged and c.known.gone)
    unchanged = [candidate for candidate in candidates if candidate.unchanged]
    failed = tuple(
        SkippedFile(candidate.seen.local_path, candidate.known.decode_error)
        for candidate in unchanged
        if candidate.known is not None and candidate.known.decode_error is not None
    )
    return BatchPlan(
        listing.batch_name,
        is_new=knowledge.is_new and not rules.images_only,
        is_public=knowledge.settings.is_public,
        scenes=tuple(plans),
        gone=gone,
        back=back,
        failed=failed,
        skipped=(*listing.skipped, *skipped),
        ignored=listing.ignored,
        scanned=len(listing.files),
        unchanged=len(unchanged) - len(failed),
        scene_count=len(scene_ids),
        version_count=len(present | known.keys()) - len(skipped),
    )


def _candidates(
    listing: BatchListing,
    known: Mapping[str, KnownVersion],
    rules: SiteRules,
    same_content: frozenset[str],
    look_again: frozenset[str],
) -> tuple[list[Candidate], list[SkippedFile]]:
    candidates: list[Candidate] = []
    skipped: list[SkippedFile] = []
    for seen in listing.files:
        version = known.get(seen.relative_path)
        path = seen.relative_path
        unchanged = (
            version is not None
            and path not in look_again
            and (
                (version.stat == seen.stat and version.local_path == seen.local_path) or path in same_content
            )
        )
        if rules.images_only and not unchanged:
            skipped.append(SkippedFile(seen.local_path, "not recorded as it is now (images only)"))
        else:
            candidates.append(Candidate(seen, version, unchanged))
    return candidates, skipped


class _Group(list[Candidate]):
    """The candidates of one scene."""

    def __init__(self, base: str) -> None:
        super().__init__()
        self.base = base


def _group(
    listing: BatchListing,
    candidates: Iterable[Candidate],
    knowledge: BatchKnowledge,
    rules: SiteRules,
    taken: Mapping[str, tuple[str, str]],
) -> tuple[dict[str, _Group], set[str]]:
    """The candidates by scene id, and the scenes that wait because one of their files is still written."""
    unsettled = [path.split("/") for path in listing.unsettled]
    initial_stems = initial_stems_of((seen.stage, seen.file_name) for seen in listing.files)
    initial_stems |= initial_stems_of((p[1] if len(p) > 2 else INITIAL_STAGE, p[-1]) for p in unsettled)
    ids = dict(knowledge.scene_ids)

    def scene_for(file_name: str) -> tuple[str, str]:
        base = base_filename(stem_of(file_name), rules.suffixes, initial_stems)
        scene_id = ids.get(base)
        if scene_id is None:
            scene_id = ids[base] = new_scene_id(listing.batch_name, base, taken)
        return base, scene_id

    groups: dict[str, _Group] = {}
    for candidate in candidates:
        base, scene_id = scene_for(candidate.seen.file_name)
        if candidate.known is not None and candidate.known.scene_id != scene_id:
            if rules.images_only:
                continue
            candidate = candidate._replace(unchanged=False)
        group = groups.get(scene_id)
        if group is None:
            group = groups[scene_id] = _Group(base)
        group.append(candidate)
    return groups, {scene_for(path[-1])[1] for path in unsettled}


def _best(candidates: Iterable[Candidate], stages: tuple[str, ...]) -> Candidate | None:
    """Best stage present, newest within it; the path decides between equals, so that it is stable."""
    rank = {stage: place for place, stage in enumerate(stages)}
    eligible = [candidate for candidate in candidates if candidate.seen.stage in rank]
    return max(
        eligible,
        key=lambda c: (-rank[c.seen.stage], c.seen.stat.mtime_ns, c.seen.relative_path),
        default=None,
    )


class _SceneFacts(NamedTuple):
    scene_id: str
    base: str
    candidates: tuple[Candidate, ...]
    versions: tuple[KnownVersion, ...]
    live: KnownVersion | None
    is_new: bool


def _plan_scene(facts: _SceneFacts, settings: BatchSettings, rules: SiteRules) -> ScenePlan:
    stages = (settings.source_directory,) if settings.source_directory else rules.stages
    was_current = next((version for version in facts.versions if version.is_current), None)
    if rules.images_only:
        # What is current is for a run that records to decide; this one only publishes it.
        current = next((c for c in facts.candidates if c.known and c.known.is_current), None)
    else:
        current = _best(facts.candidates, stages)
    plan = ScenePlan(
        facts.scene_id,
        facts.base,
        facts.candidates,
        records=() if rules.images_only else tuple(c for c in facts.candidates if not c.unchanged),
        is_new=facts.is_new and not rules.images_only,
    )
    if current is None:
        return _plan_without_current(plan, facts, was_current, stages, settings, rules)

    upload_key = None
    removals: tuple[Removal, ...] = ()
    if not settings.is_public:
        removals = _removals(facts.live, rules, asked=True)
    elif not rules.db_only:
        key = storage_key(rules.prefix, facts.scene_id, current.seen.file_name)
        if not _is_published(current, facts.live, key, rules):
            upload_key = key
            live = facts.live
            if live and live.r2_key and live.storage_id == rules.storage_id and live.r2_key != key:
                removals = (Removal(live, live.r2_key, asked=True, delete_object=True),)
    same_row = was_current is not None and current.known == was_current and current.unchanged
    return replace(
        plan,
        current=current,
        upload_key=upload_key,
        removals=removals,
        set_current=not same_row and not rules.images_only,
    )


def _plan_without_current(
    plan: ScenePlan,
    facts: _SceneFacts,
    was_current: KnownVersion | None,
    stages: tuple[str, ...],
    settings: BatchSettings,
    rules: SiteRules,
) -> ScenePlan:
    """No file of an allowed stage is there. Vanished files alone remove nothing unless the settings say
    so, and then past the guard; a person's choice of stage or of privacy is carried out."""
    vanished = was_current is not None and was_current.stage in stages
    if not settings.is_public:
        return replace(plan, removals=_removals(facts.live, rules, asked=True))
    if rules.images_only or (vanished and not rules.withdraw_missing):
        return plan
    return replace(
        plan,
        removals=_removals(facts.live, rules, asked=not vanished),
        set_current=was_current is not None,
    )


def _is_published(current: Candidate, live: KnownVersion | None, key: str, rules: SiteRules) -> bool:
    """True when nothing is to be uploaded: it is there, or it is known not to decode."""
    known = current.known
    if known is None or not current.unchanged:
        return False
    if known.decode_error is not None:
        return True
    return (
        live is not None
        and live.version_id == known.version_id
        and live.r2_key == key
        and live.storage_id == rules.storage_id
    )


def _removals(live: KnownVersion | None, rules: SiteRules, *, asked: bool) -> tuple[Removal, ...]:
    if live is None or live.r2_key is None or rules.db_only:
        return ()
    return (Removal(live, live.r2_key, asked, delete_object=live.storage_id == rules.storage_id),)


def actions_of(plan: BatchPlan) -> list[Action]:
    """The plan in the words of the contract, in the order in which a scene's steps are done."""
    actions: list[Action] = []
    for scene in plan.scenes:
        actions.extend(
            Action("record", scene.scene_id, c.seen.stage, c.seen.local_path, None) for c in scene.records
        )
        if scene.upload_key is not None and scene.current is not None:
            seen = scene.current.seen
            actions.append(Action("upload", scene.scene_id, seen.stage, seen.local_path, scene.upload_key))
        actions.extend(
            Action("remove", scene.scene_id, r.version.stage, r.version.local_path, r.key)
            for r in scene.removals
        )
    return actions
