"""What the dashboard asks about the exchange with other archives. Paths are of the daemon's machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Analyze:
    remote_db: str


@dataclass(frozen=True, slots=True)
class Export:
    list_file: str
    output_dir: str


@dataclass(frozen=True, slots=True)
class Import:
    list_id: str
    import_dir: str


@dataclass(frozen=True, slots=True)
class VerifyList:
    list_id: str


@dataclass(frozen=True, slots=True)
class CleanList:
    list_id: str


Trial: TypeAlias = Analyze | Export | Import
"""What can be tried before it is done."""
ExchangeAsk: TypeAlias = Analyze | Export | Import | VerifyList | CleanList
