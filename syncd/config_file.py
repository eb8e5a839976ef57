"""Reads syncd.toml into a Config: finds the file, checks every key, and says what is wrong in its words."""

from __future__ import annotations

import math
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import Field, fields
from pathlib import Path
from typing import Any, Literal

from syncd.config import SECTIONS, Config, key_of
from syncd.config_checks import (
    CHOICES,
    DEFAULT_INTERVAL,
    Wrong,
    check_value,
    contradictions,
    doubts,
    found_words,
    one_of,
)
from syncd.errors import ExitCode, Fatal

Secrets = Literal["read", "check", "skip"]
"""`read` needs every secret; `check` lets systemd credentials be absent, which only the service has; `skip`
reads none, for programs that only look for the daemon."""

NOT_READ = "(not read)"
"""Stands for a secret that was left where it is."""

SYSTEM_FILE = Path("/etc/syncd/syncd.toml")

_PATHS = {"daemon.socket", "drive.service_account_file", "exchange.inbox"}
"""Texts that are paths where they are not empty; fields of type Path always are."""

_EXPECTED = {
    "Path": "a path in quotes",
    "str": "a text in quotes",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "tuple[str, ...]": "a list of texts",
}


class ConfigError(Fatal):
    """The configuration is wrong. `problems` holds one line for each thing; the message is the first."""

    def __init__(self, problems: list[str]) -> None:
        more = len(problems) - 1
        hint = f"{more} more: `syncctl config check` lists all of them" if more else None
        super().__init__(problems[0], hint=hint, exit_code=ExitCode.CONFIG)
        self.problems = problems


def load_config(
    explicit: Path | str | None = None,
    environ: Mapping[str, str] = os.environ,
    cwd: Path | None = None,
    *,
    secrets: Secrets = "read",
) -> Config:
    """The settings, checked, with absolute paths; raises ConfigError (a Fatal, exit code 78).

    The file is `explicit`, else the first there is of `$SYNCD_CONFIG`, `<cwd>/syncd.toml`,
    `~/.config/syncd/syncd.toml` and `/etc/syncd/syncd.toml`. Without any, defaults apply, relative to `cwd`
    (None: the working folder).
    """
    base = Path(cwd) if cwd is not None else Path.cwd()
    path, content = _find(explicit, environ, base)
    if path is None:
        return _Reader(None, base, environ, secrets).read({})
    try:
        data = tomllib.loads(content.decode())
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ConfigError([f"{path}: line {line} is not UTF-8 text"]) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"{path}: not valid TOML: {error}"]) from None
    except RecursionError:
        raise ConfigError([f"{path}: not valid TOML: nested too deeply"]) from None
    return _Reader(path, path.parent, environ, secrets).read(data)


def _find(explicit: Path | str | None, environ: Mapping[str, str], cwd: Path) -> tuple[Path | None, bytes]:
    """The file that counts, absolute, and what it holds."""
    named = [Path(explicit)] if explicit is not None else []
    if explicit is None and environ.get("SYNCD_CONFIG"):
        named = [Path(_home(environ["SYNCD_CONFIG"], environ))]
    searched = [cwd / "syncd.toml", Path(_home("~/.config/syncd/syncd.toml", environ)), SYSTEM_FILE]
    for path in named or searched:
        path = Path(os.path.abspath(cwd / path))  # noqa: PTH100 - removes "..", follows no link
        try:
            return path, path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            if not named:
                continue
            source = "" if explicit is not None else " (named by $SYNCD_CONFIG)"
            raise ConfigError([f"{path}: there is no such file{source}"]) from None
        except (OSError, ValueError) as error:
            reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
            raise ConfigError([f"{path}: cannot be read: {reason}"]) from error
    return None, b""


def _home(text: str, environ: Mapping[str, str]) -> str:
    """`text` with a leading `~` replaced."""
    if (text == "~" or text.startswith("~/")) and environ.get("HOME"):
        return environ["HOME"] + text[1:]
    return os.path.expanduser(text)  # noqa: PTH111 - does not raise for an unknown user


class _Reader:
    """Turns one document into a Config, and collects what is wrong with it."""

    def __init__(self, path: Path | None, base: Path, environ: Mapping[str, str], secrets: Secrets) -> None:
        self.path = path
        self.base = base
        self.environ = environ
        self.secrets = secrets
        self.problems: list[str] = []
        self.warnings: list[str] = []

    def read(self, data: dict[str, Any]) -> Config:
        """The settings; raises ConfigError with all problems found."""
        self._unknown_sections(data)
        sections = {}
        for name, section in SECTIONS.items():
            table = data.get(name, {})
            if not isinstance(table, dict):
                self._problem(f"[{name}] must be a section of its own, found {found_words(table)}")
                table = {}
            sections[name] = self._section(name, section, table)
        if not self.problems:
            config = Config(path=self.path, **sections)
            self.problems += [self._prefixed(text) for text in contradictions(config)]
            self.warnings += [self._prefixed(text) for text in doubts(config)]
        if self.problems:
            raise ConfigError(self.problems)
        return Config(path=self.path, warnings=tuple(self.warnings), **sections)

    def _prefixed(self, text: str) -> str:
        return f"{self.path}: {text}" if self.path else text

    def _problem(self, text: str) -> None:
        self.problems.append(self._prefixed(text))

    def _unknown_sections(self, data: dict[str, Any]) -> None:
        for name, value in data.items():
            if name in SECTIONS:
                continue
            homes = [home for home, section in SECTIONS.items() if name in _keys(section)]
            if isinstance(value, dict):
                self._problem(f"unknown section [{name}]{_near(name, SECTIONS, '[{}]')}")
            elif homes:
                places = " or ".join(f"[{home}]" for home in homes)
                self._problem(f'key "{name}" is in no section: it belongs below {places}')
            else:
                self._problem(f'unknown key "{name}", in no section{_near(name, SECTIONS, "[{}]")}')

    def _section(self, name: str, section: type[Any], table: dict[str, Any]) -> Any:
        known = _keys(section)
        for key in table:
            if key not in known:
                self._problem(f'[{name}] unknown key "{key}"{_near(key, known, chr(34) + "{}" + chr(34))}')
        values = {}
        for key, field in known.items():
            dotted = f"{name}.{key}"
            value = table.get(key, field.default)
            label = f'[{name}] "{key}"'
            if dotted == DEFAULT_INTERVAL and self.environ.get("AUTO_SYNC_INTERVAL"):
                label = "AUTO_SYNC_INTERVAL in the environment"
                value = _number(self.environ["AUTO_SYNC_INTERVAL"])
            try:
                values[field.name] = self._value(dotted, field, value)
            except Wrong as wrong:
                self._problem(f"{label}: {wrong}")
        return section(**values) if len(values) == len(known) else None

    def _value(self, dotted: str, field: Field[Any], value: Any) -> Any:
        """`value` as the field wants it; raises Wrong."""
        kind = str(field.type)
        if kind == "Path" or dotted in _PATHS:
            return self._path(kind, value)
        if kind == "str" and isinstance(value, dict):
            value = self._secret(dotted, value)
        if dotted == "notify.to" and isinstance(value, str):
            value = [value] if value else []  # one person is a list, too
        if isinstance(value, list):
            value = tuple(value)
        if kind == "float" and isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53:
            value = float(value)
        if not _fits(kind, value):
            choices = CHOICES.get(dotted)
            raise Wrong(
                f"expected {one_of(choices) if choices else _EXPECTED[kind]}, found {found_words(value)}"
            )
        if value is not NOT_READ:
            check_value(dotted, value)
        return value

    def _path(self, kind: str, value: Any) -> Path | str:
        """An absolute path, `~` and variables expanded, as the type that the field has."""
        if not isinstance(value, str | Path):
            raise Wrong(f"expected {_EXPECTED['Path']}, found {found_words(value)}")
        text = str(value)
        if not text:
            if kind == "str":
                return ""
            raise Wrong("expected a path, found an empty text")
        if "\0" in text:
            raise Wrong("expected a path, found a NUL character in it")

        def expand(match: re.Match[str]) -> str:
            name = match[1] or match[2]
            if name not in self.environ:
                raise Wrong(f"${name} is not set")
            return self.environ[name]

        text = re.sub(r"\$(?:([A-Za-z_]\w*)|\{(\w+)\})", expand, _home(text, self.environ))
        absolute = os.path.abspath(self.base / text)  # noqa: PTH100 - removes "..", follows no link
        return Path(absolute) if kind == "Path" else absolute

    def _secret(self, dotted: str, source: dict[str, Any]) -> str:
        """The text that `{ env = … }`, `{ file = … }` or `{ credential = … }` stands for."""
        if len(source) != 1 or next(iter(source)) not in ("env", "file", "credential"):
            raise Wrong('expected a text, { env = "NAME" }, { file = "PATH" } or { credential = "NAME" }')
        ((kind, name),) = source.items()
        if not isinstance(name, str) or not name:
            raise Wrong(f"{kind}: expected a text in quotes, found {found_words(name)}")
        if self.secrets == "skip":
            return NOT_READ
        if kind == "env":
            if not self.environ.get(name):
                raise Wrong(f"the environment variable {name} is not set")
            return self.environ[name]
        if kind == "file":
            return self._secret_file(dotted, Path(self._path("Path", name)))
        folder = self.environ.get("CREDENTIALS_DIRECTORY")
        if not folder and self.secrets == "check":
            self.warnings.append(
                self._prefixed(f"{dotted}: the credential {name} is only there in the service")
            )
            return NOT_READ
        if not folder:
            raise Wrong(f"the credential {name} is not there: $CREDENTIALS_DIRECTORY is not set")
        if "/" in name or name in (".", ".."):
            raise Wrong(f"credential: {name} is not a name")
        return self._content(Path(folder, name))

    def _secret_file(self, dotted: str, path: Path) -> str:
        secret = self._content(path)
        if (mode := path.stat().st_mode & 0o077) != 0:
            self.warnings.append(
                self._prefixed(f"{dotted}: others may open {path} (mode {0o600 | mode:04o}): chmod 600 it")
            )
        return secret

    def _content(self, path: Path) -> str:
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError:
            raise Wrong(f"{path} is not UTF-8 text") from None
        except OSError as error:
            raise Wrong(f"{path} cannot be read: {os.strerror(error.errno or 0)}") from None
        text = text.removesuffix("\n").removesuffix("\r")
        if not text:
            raise Wrong(f"{path} is empty")
        return text


def _keys(section: type[Any]) -> dict[str, Field[Any]]:
    return {key_of(field): field for field in fields(section)}


def _number(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text


def _fits(kind: str, value: Any) -> bool:
    match kind:
        case "str":
            return isinstance(value, str)
        case "bool":
            return isinstance(value, bool)
        case "int":
            return isinstance(value, int) and not isinstance(value, bool)
        case "float":
            return isinstance(value, float) and math.isfinite(value)
        case _:
            return isinstance(value, tuple) and all(isinstance(item, str) for item in value)


def _near(name: str, known: Mapping[str, object], form: str) -> str:
    from difflib import get_close_matches  # only a mistake needs it

    lower = {key.lower(): key for key in known}
    near = get_close_matches(name.lower(), lower, 1, 0.5)
    if near:
        return f" — did you mean {form.format(lower[near[0]])}?"
    return f" (there are: {', '.join(known)})"
