"""Requests and replies of the control API: one set of types that validates requests, makes the OpenAPI
document, and is what the client, syncctl and the dashboard hold. Times are RFC 3339 in UTC, sizes bytes.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from syncd.control.schema_base import Reply as Reply
from syncd.control.schema_base import Request as Request
from syncd.control.schema_base import refuse_nul
from syncd.control.schema_events import Account as Account
from syncd.control.schema_events import AccountPage as AccountPage
from syncd.control.schema_events import AutoSyncDisabled as AutoSyncDisabled
from syncd.control.schema_events import AutoSyncEnabled as AutoSyncEnabled
from syncd.control.schema_events import AutoSyncRequest as AutoSyncRequest
from syncd.control.schema_events import AutoSyncStatus as AutoSyncStatus
from syncd.control.schema_events import Event as Event
from syncd.control.schema_events import EventPage as EventPage
from syncd.control.schema_events import EventPhoto as EventPhoto
from syncd.control.schema_events import EventPhotoPage as EventPhotoPage
from syncd.control.schema_events import EventRequest as EventRequest
from syncd.control.schema_events import EventState as EventState
from syncd.control.schema_events import FacesForgotten as FacesForgotten
from syncd.control.schema_events import FacesPage as FacesPage
from syncd.control.schema_events import FoundFace as FoundFace
from syncd.control.schema_events import PhotoReason as PhotoReason
from syncd.control.schema_events import SignedIn as SignedIn
from syncd.control.schema_events import SignInAnswer as SignInAnswer
from syncd.control.schema_events import SignInFlow as SignInFlow
from syncd.control.schema_events import SignInStarted as SignInStarted
from syncd.control.schema_exchange import ExchangeAnalysis as ExchangeAnalysis
from syncd.control.schema_exchange import ExchangeAnalyzeRequest as ExchangeAnalyzeRequest
from syncd.control.schema_exchange import ExchangeCleaned as ExchangeCleaned
from syncd.control.schema_exchange import ExchangeExported as ExchangeExported
from syncd.control.schema_exchange import ExchangeExportRequest as ExchangeExportRequest
from syncd.control.schema_exchange import ExchangeFile as ExchangeFile
from syncd.control.schema_exchange import ExchangeImported as ExchangeImported
from syncd.control.schema_exchange import ExchangeImportRequest as ExchangeImportRequest
from syncd.control.schema_exchange import ExchangeList as ExchangeList
from syncd.control.schema_exchange import ExchangeListPage as ExchangeListPage
from syncd.control.schema_exchange import ExchangeListRequest as ExchangeListRequest
from syncd.control.schema_exchange import ExchangeNear as ExchangeNear
from syncd.control.schema_exchange import ExchangeReceipt as ExchangeReceipt
from syncd.control.schema_exchange import ExchangeReceiptRequest as ExchangeReceiptRequest
from syncd.control.schema_exchange import ExchangeShown as ExchangeShown
from syncd.control.schema_exchange import ExchangeSide as ExchangeSide
from syncd.control.schema_exchange import ExchangeVerified as ExchangeVerified
from syncd.control.schema_exchange import FileReason as FileReason
from syncd.control.schema_library import Album as Album
from syncd.control.schema_library import AlbumPage as AlbumPage
from syncd.control.schema_library import LibraryPhoto as LibraryPhoto
from syncd.control.schema_library import LibraryPhotoPage as LibraryPhotoPage
from syncd.control.schema_library import LibraryStatus as LibraryStatus
from syncd.control.schema_library import LibrarySyncRequest as LibrarySyncRequest
from syncd.control.schema_library import LibrarySyncState as LibrarySyncState
from syncd.control.schema_library import PhotoAi as PhotoAi
from syncd.control.schema_library import SceneAlbum as SceneAlbum
from syncd.control.schema_metadata import FoundMetadata as FoundMetadata
from syncd.control.schema_metadata import FoundMetadataPage as FoundMetadataPage
from syncd.control.schema_metadata import Metadata as Metadata
from syncd.control.schema_metadata import MetadataApproval as MetadataApproval
from syncd.control.schema_metadata import MetadataApproved as MetadataApproved
from syncd.control.schema_metadata import MetadataChange as MetadataChange
from syncd.control.schema_metadata import MetadataDetail as MetadataDetail
from syncd.control.schema_metadata import MetadataExport as MetadataExport
from syncd.control.schema_metadata import MetadataPage as MetadataPage
from syncd.control.schema_metadata import MetadataPatch as MetadataPatch
from syncd.control.schema_metadata import MetadataQuery as MetadataQuery
from syncd.control.schema_metadata import MetadataStatus as MetadataStatus
from syncd.control.schema_metadata import NotApproved as NotApproved
from syncd.control.schema_names import AlbumReason as AlbumReason
from syncd.control.schema_names import ChangeState as ChangeState
from syncd.control.schema_names import NameAction as NameAction
from syncd.control.schema_names import NameChange as NameChange
from syncd.control.schema_names import NameHint as NameHint
from syncd.control.schema_names import NameHintRequest as NameHintRequest
from syncd.control.schema_names import NameItem as NameItem
from syncd.control.schema_names import NamesApply as NamesApply
from syncd.control.schema_names import NamesLog as NamesLog
from syncd.control.schema_names import NamesPlan as NamesPlan
from syncd.control.schema_names import NamesReport as NamesReport
from syncd.control.schema_names import NamesRestored as NamesRestored
from syncd.control.schema_names import NamesRollback as NamesRollback
from syncd.control.schema_names import NamesStats as NamesStats
from syncd.control.schema_names import NamesVerified as NamesVerified
from syncd.control.schema_names import NamesVerifyItem as NamesVerifyItem


class Problem(Reply, frozen=True, kw_only=True):
    """application/problem+json (RFC 9457)."""

    title: str
    status: int
    detail: str = ""
    hint: str | None = None
    type: str = "about:blank"


# --- status ---------------------------------------------------------------------------------------

ServiceState = Literal[
    "starting", "running", "backing_off", "paused", "needs_auth", "blocked", "failed", "stopped"
]


class ServiceStatus(Reply, frozen=True, kw_only=True):
    name: str
    state: ServiceState
    since: str
    restarts: int = 0
    last_error: str | None = None


class QueueStatus(Reply, frozen=True, kw_only=True):
    waiting: int = 0
    running: int = 0
    failed: int = 0


class Counts(Reply, frozen=True, kw_only=True):
    batches: int = 0
    public_batches: int = 0
    scenes: int = 0
    versions: int = 0
    live: int = 0
    events: int = 0
    event_photos: int = 0
    faces: int = 0
    albums: int = 0
    library_photos: int = 0


class SourceStatus(Reply, frozen=True, kw_only=True):
    name: str
    state: str
    last_success_at: str | None = None


class Blocked(Reply, frozen=True, kw_only=True):
    what: str
    reason: str
    since: str


class WatcherStatus(Reply, frozen=True, kw_only=True):
    overflows: int = 0
    watches: int = 0
    mode: Literal["inotify", "polling"] = "inotify"
    error: str | None = None
    """Why nothing is watched now, or why folders are polled."""


class Throughput(Reply, frozen=True, kw_only=True):
    """Totals since the daemon started; a dashboard makes rates of them."""

    uploaded: int = 0
    uploaded_bytes: int = 0
    inspected: int = 0


class Status(Reply, frozen=True, kw_only=True):
    version: str
    uptime_s: float
    services: list[ServiceStatus]
    queues: dict[str, QueueStatus]
    counts: Counts
    sources: list[SourceStatus]
    blocked: list[Blocked]
    watcher: WatcherStatus
    idle: bool = False
    guards: int = 0
    conflicts: list[str] = []
    throughput: Throughput = Throughput()
    access: Literal["full", "read"] = "full"
    storage: str = ""
    state_dir: str = ""
    last_activity_id: int = 0


# --- activity -------------------------------------------------------------------------------------


class ActivityItem(Reply, frozen=True, kw_only=True):
    id: int
    at: str
    kind: str
    service: str
    subject: str
    message: str
    data: dict[str, Any] = {}


class ActivityPage(Reply, frozen=True, kw_only=True):
    items: list[ActivityItem]
    last_id: int


# --- sync -----------------------------------------------------------------------------------------

SyncState = Literal["queued", "running", "done", "partial", "failed", "refused", "cancelled"]


class SyncRequest(Request, frozen=True, kw_only=True):
    """`batch_filter` are names of batches, none for all; one may stand without its list."""

    batch_filter: list[str] | str | None = []
    dry_run: bool = False
    db_only: bool = False
    images_only: bool = False

    @property
    def batches(self) -> list[str]:
        """`batch_filter` as a list."""
        return [self.batch_filter] if isinstance(self.batch_filter, str) else self.batch_filter or []

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "batch_filter", self.batches)
        refuse_nul(self.batches)
        if self.db_only and self.images_only:
            raise ValueError("db_only and images_only exclude each other")


class JobAccepted(Reply, frozen=True, kw_only=True):
    job_id: str


class PathReason(Reply, frozen=True, kw_only=True):
    path: str
    reason: str


class SyncAction(Reply, frozen=True, kw_only=True):
    action: Literal["upload", "remove", "record"]
    scene_id: str
    version_type: str
    local_path: str
    key: str | None = None


class SyncReport(Reply, frozen=True, kw_only=True):
    job_id: str | None = None
    state: SyncState
    dry_run: bool = False
    scanned: int = 0
    scenes: int = 0
    versions: int = 0
    uploaded: int = 0
    removed: int = 0
    unchanged: int = 0
    bytes: int = 0
    duration_s: float = 0.0
    failed: list[PathReason] = []
    skipped: list[PathReason] = []
    ignored: int = 0
    actions: list[SyncAction] = []
    error: str | None = None
    guard_id: str | None = None
    total: int = 0
    """Steps foreseen so far, for progress; `done_steps` of them are done."""
    done_steps: int = 0


# --- batches and scenes ---------------------------------------------------------------------------


class Batch(Reply, frozen=True, kw_only=True):
    name: str
    is_public: bool
    source_directory: str | None
    scenes: int
    versions: int
    live: int
    failed: int
    last_synced_at: str | None


class BatchPage(Reply, frozen=True, kw_only=True):
    items: list[Batch]
    next_cursor: str | None = None


class BatchPatch(Request, frozen=True, kw_only=True):
    """Both fields are optional; an absent one stays as it is, `source_directory: null` means best stage."""

    is_public: bool | msgspec.UnsetType = msgspec.UNSET
    source_directory: str | msgspec.UnsetType | None = msgspec.UNSET


class Version(Reply, frozen=True, kw_only=True):
    version_id: int
    version_type: str
    local_path: str
    is_current: bool
    r2_key: str | None
    url: str | None
    sha256: str | None
    size_bytes: int
    perceptual_hash: str | None
    synced_at: str | None
    width: int | None = None
    height: int | None = None
    captured_at: str | None = None
    gone: bool = False
    failure: str | None = None


class Scene(Reply, frozen=True, kw_only=True):
    scene_id: str
    batch_name: str
    base_filename: str
    capture_date: str | None
    live: bool
    versions: list[Version]
    albums: list[SceneAlbum] = []
    """Where the library holds the same picture, nearest first; only of a scene that is asked for alone."""


class ScenePage(Reply, frozen=True, kw_only=True):
    items: list[Scene]
    next_cursor: str | None = None


# --- pull, similar, verify ------------------------------------------------------------------------


class PullRequest(Request, frozen=True, kw_only=True):
    """`scene_ids` or `batch`; `to` is an absolute folder."""

    scene_ids: list[str] | None = None
    batch: str | None = None
    to: Annotated[str, Meta(min_length=1)]

    def __post_init__(self) -> None:
        refuse_nul([*(self.scene_ids or ()), self.batch or "", self.to])
        if (self.scene_ids is None) == (self.batch is None):
            raise ValueError("expected either scene_ids or batch")
        if not self.to.startswith("/"):
            raise ValueError("to: expected an absolute path")


class PulledFile(Reply, frozen=True, kw_only=True):
    scene_id: str
    path: str
    sha256: str


class SceneReason(Reply, frozen=True, kw_only=True):
    scene_id: str
    reason: str


class PullReport(Reply, frozen=True, kw_only=True):
    pulled: int
    files: list[PulledFile]
    failed: list[SceneReason] = []


class SimilarRequest(Request, frozen=True, kw_only=True):
    scene_id: str


class SimilarItem(Reply, frozen=True, kw_only=True):
    scene_id: str
    version_id: int
    distance: int
    r2_key: str
    url: str | None


class SimilarPage(Reply, frozen=True, kw_only=True):
    items: list[SimilarItem]


class VerifyRequest(Request, frozen=True, kw_only=True):
    """`sample` is the percentage of objects to look at, 100 for all; `deep` reads every byte of them."""

    sample: Annotated[float, Meta(gt=0, le=100)] = 100
    deep: bool = False
    repair: bool = False


class WrongObject(Reply, frozen=True, kw_only=True):
    key: str
    expected: str
    found: str


class VerifyReport(Reply, frozen=True, kw_only=True):
    checked: int
    ok: int
    missing: list[str] = []
    wrong: list[WrongObject] = []
    orphaned: list[str] = []
    repaired: int = 0
    guard_id: str | None = None


# --- guards and jobs ------------------------------------------------------------------------------


class Guard(Reply, frozen=True, kw_only=True):
    id: str
    kind: str
    reason: str
    created_at: str
    count: int
    actions: list[SyncAction]
    of: int = 0
    """How many were live when the guard was raised, so that a person sees 214 of 1,902."""


class GuardPage(Reply, frozen=True, kw_only=True):
    items: list[Guard]
    next_cursor: str | None = None


class GuardApproved(Reply, frozen=True, kw_only=True):
    id: str
    job_id: str
    count: int


class Progress(Reply, frozen=True, kw_only=True):
    done: int = 0
    total: int = 0


JobState = Literal["queued", "running", "done", "partial", "failed", "refused", "cancelled", "waiting"]


class Job(Reply, frozen=True, kw_only=True):
    id: str
    kind: str
    subject: str
    state: JobState
    attempts: int
    created_at: str
    next_attempt_at: str | None
    error: str | None
    progress: Progress
    updated_at: str | None = None


class JobPage(Reply, frozen=True, kw_only=True):
    items: list[Job]
    next_cursor: str | None = None


class RetriedJobs(Reply, frozen=True, kw_only=True):
    retried: int


# --- service control ------------------------------------------------------------------------------


class ServiceRequest(Request, frozen=True, kw_only=True):
    """Without `service`, all services but `control`."""

    service: str | None = None


class ServicesReply(Reply, frozen=True, kw_only=True):
    services: list[ServiceStatus]


class ReloadReply(Reply, frozen=True, kw_only=True):
    """Dotted names of the settings that now apply, and of those that wait for a restart."""

    applied: list[str]
    needs_restart: list[str]
    warnings: list[str] = []


class ConfigReply(Reply, frozen=True, kw_only=True):
    """The settings in force, secrets as "***"."""

    path: str | None
    settings: dict[str, dict[str, Any]]


class Health(Reply, frozen=True, kw_only=True):
    status: str
