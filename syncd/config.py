"""syncd.toml as frozen settings. Section names and keys are those of the file, one class a section."""

from __future__ import annotations

import os
from dataclasses import Field, dataclass, field, fields, replace
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class DaemonConfig:
    state_dir: Path = Path("./.syncd")
    socket: str = ""
    socket_group: str = ""
    log_level: str = "info"
    workers: int = 0

    @property
    def worker_count(self) -> int:
        """How many processes do heavy work; `workers`, or one for each core."""
        return self.workers or os.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class BatchesConfig:
    images_dir: Path = Path("./images")
    stages: tuple[str, ...] = ("final_crops", "inverted_original_scans", "initial_scan")
    suffixes: tuple[str, ...] = (
        "inverted", "inv", "positive", "crop", "cropped", "final", "edit", "edited", "scan",
    )  # fmt: skip
    default_public: bool = False
    settle_seconds: float = 0.5
    rescan_minutes: float = 60
    on_missing: str = "keep"


@dataclass(frozen=True, slots=True)
class StorageConfig:
    type: str = "local"
    base_path: Path = Path("./storage")
    account_id: str = ""
    access_key_id: str = ""
    secret_access_key: str = field(default="", repr=False)
    bucket_name: str = ""
    public_url: str = ""
    endpoint_url: str = ""
    region: str = "auto"
    prefix: str = ""
    concurrency: int = 16


@dataclass(frozen=True, slots=True)
class DriveConfig:
    client_id: str = ""
    client_secret: str = field(default="", repr=False)
    service_account_file: str = ""
    api_base_url: str = "https://www.googleapis.com"
    auth_url: str = "https://accounts.google.com/o/oauth2/v2/auth"
    token_url: str = "https://oauth2.googleapis.com/token"
    default_interval_minutes: float = 2
    requests_per_second: float = 10
    push_url: str = ""
    push_listen: str = "127.0.0.1:8791"


@dataclass(frozen=True, slots=True)
class FacesConfig:
    enabled: bool = True
    tolerance: float = 0.6
    max_side: int = 1600
    upsample: int = 1


@dataclass(frozen=True, slots=True)
class SmugmugConfig:
    api_key: str = field(default="", repr=False)
    api_secret: str = field(default="", repr=False)
    nickname: str = ""
    api_base_url: str = "https://api.smugmug.com"
    oauth_base_url: str = "https://secure.smugmug.com"
    interval_minutes: float = 60
    requests_per_second: float = 4
    page_size: int = 50


@dataclass(frozen=True, slots=True)
class AiConfig:
    base_url: str = ""
    api_key: str = field(default="", repr=False)
    model: str = ""
    embedding_model: str = ""
    batch_size: int = 10
    daily_limit: int = 0
    auto_approve: bool = False


@dataclass(frozen=True, slots=True)
class MirrorConfig:
    dsn: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class NamesConfig:
    drift_threshold: float = 20
    auto: bool = False


@dataclass(frozen=True, slots=True)
class ExchangeConfig:
    inbox: str = ""


@dataclass(frozen=True, slots=True)
class GuardConfig:
    max_delete: int = 50
    max_delete_percent: float = 5


@dataclass(frozen=True, slots=True)
class NotifyConfig:
    smtp_url: str = field(default="", repr=False)
    from_: str = ""
    to: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Config:
    """All settings. `path` is the file they came from, None when defaults apply; `warnings` are things a
    person should hear once."""

    path: Path | None = None
    warnings: tuple[str, ...] = ()
    daemon: DaemonConfig = DaemonConfig()
    batches: BatchesConfig = BatchesConfig()
    storage: StorageConfig = StorageConfig()
    drive: DriveConfig = DriveConfig()
    faces: FacesConfig = FacesConfig()
    smugmug: SmugmugConfig = SmugmugConfig()
    ai: AiConfig = AiConfig()
    mirror: MirrorConfig = MirrorConfig()
    names: NamesConfig = NamesConfig()
    exchange: ExchangeConfig = ExchangeConfig()
    guard: GuardConfig = GuardConfig()
    notify: NotifyConfig = NotifyConfig()


SECTIONS: dict[str, type[Any]] = {
    "daemon": DaemonConfig,
    "batches": BatchesConfig,
    "storage": StorageConfig,
    "drive": DriveConfig,
    "faces": FacesConfig,
    "smugmug": SmugmugConfig,
    "ai": AiConfig,
    "mirror": MirrorConfig,
    "names": NamesConfig,
    "exchange": ExchangeConfig,
    "guard": GuardConfig,
    "notify": NotifyConfig,
}


def key_of(setting: Field[Any]) -> str:
    """The key of a setting in the file: `from` is a word of Python, so its field is `from_`."""
    return setting.name.removesuffix("_")


_NEED_RESTART = frozenset(
    ("daemon.state_dir", "daemon.socket", "daemon.socket_group", "daemon.workers", "batches.images_dir")
)

RELOADABLE = (
    frozenset(
        f"{name}.{key_of(setting)}" for name, section in SECTIONS.items() for setting in fields(section)
    )
    - _NEED_RESTART
)
"""Dotted names of the settings that apply without a restart."""


def redacted(config: Config) -> dict[str, dict[str, Any]]:
    """All settings as plain values, as `config show` prints them: secrets `***`, empty ones stay empty."""
    return {
        name: {
            key_of(setting): _plain(getattr(getattr(config, name), setting.name), secret=not setting.repr)
            for setting in fields(section)
        }
        for name, section in SECTIONS.items()
    }


def _plain(value: Any, *, secret: bool) -> Any:
    if secret:
        return "***" if value else ""
    if isinstance(value, tuple):
        return list(value)
    return str(value) if isinstance(value, Path) else value


def secret_values(config: Config) -> list[str]:
    """Every secret text in force, passwords inside addresses as well, for logs to cut out."""
    from urllib.parse import unquote, urlsplit

    found = set()
    for name, section in SECTIONS.items():
        for setting in fields(section):
            value = getattr(getattr(config, name), setting.name)
            if setting.repr or not value:
                continue
            found.add(value)
            try:
                password = urlsplit(value).password or ""
            except ValueError:
                continue
            found |= {password, unquote(password)} - {""}
    return sorted(found)


def difference(old: Config, new: Config) -> list[str]:
    """Dotted names of the settings that differ, in the order of the file."""
    return [
        f"{name}.{key_of(setting)}"
        for name, section in SECTIONS.items()
        for setting in fields(section)
        if getattr(getattr(old, name), setting.name) != getattr(getattr(new, name), setting.name)
    ]


def with_old(old: Config, fresh: Config, names: list[str]) -> Config:
    """`fresh`, with the settings of these dotted names as they were."""
    for name in names:
        section, _, key = name.partition(".")
        part = replace(getattr(fresh, section), **{key: getattr(getattr(old, section), key)})
        fresh = replace(fresh, **{section: part})
    return fresh
