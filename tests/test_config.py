"""syncd.toml: what it may hold, where it is looked up, and what is said of mistakes."""

from __future__ import annotations

import tempfile
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from syncd.config import (
    RELOADABLE,
    SECTIONS,
    Config,
    StorageConfig,
    difference,
    key_of,
    redacted,
    secret_values,
)
from syncd.config_file import NOT_READ, ConfigError, load_config
from syncd.errors import ExitCode, Fatal

R2 = """
[storage]
type = "r2"
bucket_name = "photos"
access_key_id = "AKIA"
secret_access_key = "hush-hush"
account_id = "0abc"
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "syncd.toml"
    path.write_text(text)
    return path


def load(folder: Path, text: str, **environ: str) -> Config:
    return load_config(write(folder, text), environ)


def problems(folder: Path, text: str, **environ: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(folder, text, **environ)
    assert caught.value.exit_code == ExitCode.CONFIG
    prefix = f"{folder / 'syncd.toml'}: "
    assert all(problem.startswith(prefix) for problem in caught.value.problems)
    return [problem.removeprefix(prefix) for problem in caught.value.problems]


# --- where the file is ----------------------------------------------------------------------------


def test_without_a_file_defaults_apply_in_the_working_folder(tmp_path: Path) -> None:
    config = load_config(None, {"HOME": str(tmp_path / "home")}, tmp_path)
    assert config.path is None
    assert config.daemon.state_dir == tmp_path / ".syncd"
    assert config.batches.images_dir == tmp_path / "images"
    assert config.storage.base_path == tmp_path / "storage"
    assert config.warnings == ()


def test_search_order(tmp_path: Path) -> None:
    home, here, named = tmp_path / "home", tmp_path / "here", tmp_path / "named.toml"
    (home / ".config" / "syncd").mkdir(parents=True)
    here.mkdir()
    named.write_text("guard.max_delete = 1")
    explicit = write(tmp_path, "guard.max_delete = 0")
    (here / "syncd.toml").write_text("guard.max_delete = 2")
    (home / ".config" / "syncd" / "syncd.toml").write_text("guard.max_delete = 3")
    environ = {"HOME": str(home), "SYNCD_CONFIG": str(named)}
    assert load_config(explicit, environ, here).guard.max_delete == 0
    assert load_config(None, environ, here).guard.max_delete == 1
    del environ["SYNCD_CONFIG"]
    assert load_config(None, environ, here).guard.max_delete == 2
    (here / "syncd.toml").unlink()
    found = load_config(None, environ, here)
    assert (found.guard.max_delete, found.path) == (3, home / ".config/syncd/syncd.toml")


@pytest.mark.parametrize("environ", [{}, {"SYNCD_CONFIG": "gone.toml"}])
def test_a_named_file_that_is_missing(tmp_path: Path, environ: dict[str, str]) -> None:
    with pytest.raises(Fatal, match=r"gone\.toml: there is no such file") as caught:
        load_config(None if environ else Path("gone.toml"), environ, tmp_path)
    assert caught.value.exit_code == ExitCode.CONFIG


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load_config(tmp_path, {})


# --- paths ----------------------------------------------------------------------------------------


def test_paths_are_relative_to_the_file_and_expanded(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        '[daemon]\nstate_dir = "$STATE/x"\nsocket = "run/../s.sock"\n'
        '[batches]\nimages_dir = "~/pictures"\n'
        '[storage]\nbase_path = "${OUT}_1"\n'
        '[drive]\nservice_account_file = "key.json"\n',
        STATE="/var/state", HOME="/home/ann", OUT="out",
    )  # fmt: skip
    assert config.daemon.state_dir == Path("/var/state/x")
    assert config.daemon.socket == str(tmp_path / "s.sock")
    assert config.batches.images_dir == Path("/home/ann/pictures")
    assert config.storage.base_path == tmp_path / "out_1"
    assert config.drive.service_account_file == str(tmp_path / "key.json")


def test_an_unset_variable_is_named(tmp_path: Path) -> None:
    assert problems(tmp_path, '[daemon]\nstate_dir = "$NOPE/x"') == ['[daemon] "state_dir": $NOPE is not set']


def test_dollar_in_a_password_is_a_dollar(tmp_path: Path) -> None:
    assert load(tmp_path, '[ai]\napi_key = "~pa$HOME"').ai.api_key == "~pa$HOME"


@pytest.mark.parametrize(
    ("text", "about"),
    [
        ('[daemon]\nstate_dir = "images/.syncd"', "state_dir"),
        ('[daemon]\nsocket = "images/s.sock"', "socket"),
        ('[storage]\nbase_path = "images/out"', "base_path"),
        ('[storage]\nbase_path = "images"', "base_path"),
        ('[storage]\nbase_path = "."\nprefix = "images/"', "base_path"),
        ('[batches]\nimages_dir = "out/scenes"\n[storage]\nbase_path = "out"', "base_path"),
    ],
)
def test_nothing_is_written_into_the_archive(tmp_path: Path, text: str, about: str) -> None:
    (found,) = problems(tmp_path, text)
    assert about in found
    assert "images_dir, which is never written to" in found


def test_a_socket_path_that_no_system_takes(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, f'[daemon]\nsocket = "/run/{"s" * 103}"')
    assert '"socket"' in found and "107 bytes" in found
    assert load(tmp_path, f'[daemon]\nsocket = "/run/{"s" * 102}"').daemon.socket


def test_a_link_into_the_archive_is_seen_through(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "elsewhere").symlink_to("images")
    (found,) = problems(tmp_path, '[daemon]\nstate_dir = "elsewhere/state"')
    assert "lies inside images_dir" in found


# --- mistakes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[batches]\nimage_dir = "x"', '[batches] unknown key "image_dir" — did you mean "images_dir"?'),
        ('[batches]\nImages_Dir = "x"', '[batches] unknown key "Images_Dir" — did you mean "images_dir"?'),
        ("[bathces]", "unknown section [bathces] — did you mean [batches]?"),
        ("batches = 3", "[batches] must be a section of its own, found 3"),
        ("[[batches]]", "[batches] must be a section of its own, found a list with a table in it"),
        ('images_dir = "x"', 'key "images_dir" is in no section: it belongs below [batches]'),
        ("[batches]\nimages_dir = 3", '[batches] "images_dir": expected a path in quotes, found 3'),
        ('[batches]\nimages_dir = ""', '[batches] "images_dir": expected a path, found an empty text'),
        ("[batches]\nstages = []", '[batches] "stages": expected at least one stage, found an empty list'),
        ('[batches]\nstages = ["a", "a"]', '[batches] "stages": "a" is there twice'),
        ('[batches]\nstages = ["a/b"]', '[batches] "stages": \'a/b\' is not the name of a folder'),
        ('[batches]\nstages = "a"', '[batches] "stages": expected a list of texts, found a text'),
        ("[batches]\nstages = [1]", '[batches] "stages": expected a list of texts, found a list with 1'),
        ("[batches]\ndefault_public = 1", '[batches] "default_public": expected true or false, found 1'),
        ("[batches]\nsettle_seconds = -0.1", '[batches] "settle_seconds": expected 0 to 3,600, found -0.1'),
        ("[batches]\nsettle_seconds = nan", '[batches] "settle_seconds": expected a number, found nan'),
        ('[batches]\non_missing = "delete"', '[batches] "on_missing": expected "keep" or "withdraw", found'),
        ("[batches]\non_missing = 1", '[batches] "on_missing": expected "keep" or "withdraw", found 1'),
        ("[storage]\nconcurrency = 0", '[storage] "concurrency": expected 1 to 256, found 0'),
        ("[storage]\nconcurrency = 257", '[storage] "concurrency": expected 1 to 256, found 257'),
        ("[storage]\nconcurrency = 1.5", '[storage] "concurrency": expected a whole number, found 1.5'),
        ("[storage]\nconcurrency = true", '[storage] "concurrency": expected a whole number, found true'),
        ('[storage]\ntype = "s3"', '[storage] "type": expected "local" or "r2", found \'s3\''),
        ('[storage]\nprefix = "/a"', '[storage] "prefix": expected a path like "photos/"'),
        ('[storage]\nbucket_name = "a/b"', '[storage] "bucket_name": expected a bucket\'s name: letters'),
        ('[storage]\naccount_id = "a/b"', '[storage] "account_id": expected the account\'s id'),
        ('[storage]\naccess_key_id = "a\\nb"', '[storage] "access_key_id": expected a key\'s id without'),
        ("[guard]\nmax_delete_percent = 101", '[guard] "max_delete_percent": expected 0 to 100, found 101'),
        ('[daemon]\nlog_level = "loud"', '[daemon] "log_level": expected "debug" or "info"'),
        ("[drive]\ndefault_interval_minutes = 0.4", '[drive] "default_interval_minutes": expected 0.5 to'),
        ("[ai]\napi_key = 2026-01-01", '[ai] "api_key": expected a text in quotes, found a date or time'),
        ('[drive]\npush_url = "http://x.org/a"', '[drive] "push_url": expected an address that starts with'),
        ("[drive]\npush_url = \"https://127.0.0.1/\"", '[drive] "push_url": expected an address that starts'),
        ("[drive]\npush_listen = \"8791\"", '[drive] "push_listen": expected HOST:PORT, such as 127.0.0.1'),
        ("[notify]\nto = 1", '[notify] "to": expected a list of texts, found 1'),
        ("[notify]\nto = \"x\"", '[notify] "to": \'x\' is no mail address'),
        ("[notify]\nto = [\"a@b.org\", \"a@b\\n.org\"]", '[notify] "to": \'a@b'),
        ("[notify]\nfrom = \"a@b.org, c@d.org\"", '[notify] "from": \'a@b.org, c@d.org\' is no mail'),
        ("[notify]\nsmtp_url = \"http://x\"", '[notify] "smtp_url": expected smtp://USER:PASSWORD@HOST:587'),
        ("[notify]\nsmtp_url = \"smtp://a b@x\"", '[notify] "smtp_url": expected smtp://USER:PASSWORD@HOST'),
        ("[notify]\nsmtp_url = \"smtp://x:99999\"", '[notify] "smtp_url": expected smtp://USER:PASSWORD'),
        ("[notify]\nsmtp_url = \"smtp://:pw@x\"", '[notify] "smtp_url": there is a password and no user'),
        ("[notify]\nsmtp_url = \"smtp://x\"\nto = \"a@b\"", '[notify] "from" is missing: mail needs'),
        ("[notify]\nfrom_ = \"x\"", '[notify] unknown key "from_" — did you mean "from"?'),
        ("[guard", "not valid TOML: Expected ']' at the end of a table declaration (at"),
        ("a = 1\na = 2\n", "not valid TOML: Cannot overwrite a value (at line 2"),
        ("a = " + "[" * 3000, "not valid TOML: nested too deeply"),
    ],
)  # fmt: skip
def test_mistake(tmp_path: Path, text: str, said: str) -> None:
    (found,) = problems(tmp_path, text)
    assert found.startswith(said)


def test_text_that_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "syncd.toml"
    path.write_bytes(b"[guard]\n# caf\xe9\n")
    with pytest.raises(ConfigError, match="line 2 is not UTF-8 text"):
        load_config(path, {})


def test_all_mistakes_are_collected(tmp_path: Path) -> None:
    path = write(tmp_path, '[guard]\nmax_delet = 1\n[storage]\ntype = "x"\nconcurrency = 0\n')
    with pytest.raises(ConfigError) as caught:
        load_config(path, {})
    assert len(caught.value.problems) == 3
    assert str(caught.value) == caught.value.problems[0]
    assert "2 more" in (caught.value.hint or "")


KEYS = [(name, key_of(field)) for name, section in SECTIONS.items() for field in fields(section)]
VALUES = st.recursive(
    st.none().flatmap(lambda _: st.booleans())
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
    | st.datetimes(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["env", "file", "credential", "x"]), inner, max_size=2)
    ),
    max_leaves=4,
)


@given(st.sampled_from(KEYS), VALUES)
def test_any_value_is_taken_or_its_key_is_named(place: tuple[str, str], value: Any) -> None:
    section, key = place
    with tempfile.TemporaryDirectory() as name:
        path = Path(name, "syncd.toml")
        path.write_text(tomli_w.dumps({section: {key: value}}))
        try:
            config = load_config(path, {"HOME": name})
        except ConfigError as error:
            assert error.exit_code == ExitCode.CONFIG
            about = [f'[{section}] "{key}"', 'type = "r2" needs it', "base_path"]
            assert any(text in problem for problem in error.problems for text in about), error.problems
        else:
            assert key in redacted(config)[section]


# --- secrets --------------------------------------------------------------------------------------


def test_secret_from_each_source(tmp_path: Path) -> None:
    private, credentials = tmp_path / "key", tmp_path / "credentials"
    private.write_text("from file\n")
    private.chmod(0o600)
    credentials.mkdir()
    (credentials / "smug").write_text("from systemd")
    config = load(
        tmp_path,
        '[drive]\nclient_secret = { env = "DRIVE" }\n[ai]\napi_key = { file = "key" }\n'
        '[smugmug]\napi_secret = { credential = "smug" }\napi_key = "plain"\n',
        DRIVE="from env", CREDENTIALS_DIRECTORY=str(credentials),
    )  # fmt: skip
    assert config.drive.client_secret == "from env"
    assert config.ai.api_key == "from file"
    assert config.smugmug.api_secret == "from systemd"
    assert config.warnings == ()
    assert secret_values(config) == ["from env", "from file", "from systemd", "plain"]
    assert "from" not in repr(config.drive) + repr(config.ai) + repr(config.smugmug)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ('{ env = "NOPE" }', "the environment variable NOPE is not set"),
        ('{ file = "nope" }', "nope cannot be read: No such file or directory"),
        ('{ file = "empty" }', "empty is empty"),
        ('{ credential = "nope" }', "the credential nope is not there: $CREDENTIALS_DIRECTORY is not set"),
        ("{ env = 3 }", "env: expected a text in quotes, found 3"),
        ('{ vault = "x" }', "expected a text, { env ="),
        ('{ env = "A", file = "B" }', "expected a text, { env ="),
        ("{}", "expected a text, { env ="),
    ],
)
def test_missing_secret_names_its_key(tmp_path: Path, source: str, said: str) -> None:
    (tmp_path / "empty").write_text("\n")
    (found,) = problems(tmp_path, f"[mirror]\ndsn = {source}")
    assert found.startswith('[mirror] "dsn": ')
    assert said in found


def test_a_dsn_is_an_address_and_is_not_shown(tmp_path: Path) -> None:
    for good in ("postgresql://u:p@h/d", "postgres:///d", "host=h password=p", ""):
        assert load(tmp_path, f'[mirror]\ndsn = "{good}"').mirror.dsn == good
    for wrong in ("https://hush@example.com", "hush"):
        (found,) = problems(tmp_path, f'[mirror]\ndsn = "{wrong}"')
        assert found == '[mirror] "dsn": expected an address that starts with postgresql://'


def test_a_credential_cannot_leave_its_folder(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    (found,) = problems(
        tmp_path, '[mirror]\ndsn = { credential = "../secret" }', CREDENTIALS_DIRECTORY=str(tmp_path / "c")
    )
    assert "is not a name" in found


def test_a_secret_that_others_may_read_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("hush")
    (tmp_path / "key").chmod(0o644)
    (warning,) = load(tmp_path, '[ai]\napi_key = { file = "key" }').warnings
    assert "ai.api_key: others may open" in warning
    assert "mode 0644" in warning
    assert "hush" not in warning


def test_secrets_can_be_left_where_they_are(tmp_path: Path) -> None:
    path = write(tmp_path, R2.replace('"hush-hush"', '{ credential = "nope" }'))
    assert load_config(path, {}, secrets="skip").storage.secret_access_key == NOT_READ
    (warning,) = load_config(path, {}, secrets="check").warnings
    assert "storage.secret_access_key: the credential nope is only there in the service" in warning


def test_redacted_shows_that_there_is_a_secret_and_not_which(tmp_path: Path) -> None:
    config = load(tmp_path, R2 + '[mirror]\ndsn = "postgresql://u:p%40ss@h/d"\n')
    shown = redacted(config)
    assert shown["storage"]["secret_access_key"] == "***"
    assert shown["storage"]["bucket_name"] == "photos"
    assert shown["ai"]["api_key"] == ""
    assert shown["mirror"]["dsn"] == "***"
    assert shown["batches"]["images_dir"] == str(tmp_path / "images")
    assert shown["notify"] == {"smtp_url": "", "from": "", "to": []}
    assert "hush" not in str(shown)
    assert {"hush-hush", "p%40ss", "p@ss"} <= set(secret_values(config))


# --- storage and addresses ------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["bucket_name", "access_key_id", "secret_access_key", "account_id"])
def test_r2_needs_its_keys(tmp_path: Path, key: str) -> None:
    text = "\n".join(line for line in R2.splitlines() if not line.startswith(key))
    (found,) = problems(tmp_path, text)
    assert found.startswith(f'[storage] "{key}" is missing')


def test_an_endpoint_takes_the_place_of_the_account(tmp_path: Path) -> None:
    text = R2.replace('account_id = "0abc"', 'endpoint_url = "http://127.0.0.1:8333"')
    assert load(tmp_path, text).warnings == ()
    (warning,) = load(tmp_path, text.replace("127.0.0.1", "nas.lan")).warnings
    assert "unencrypted to nas.lan" in warning


def test_a_key_file_that_is_missing_is_said(tmp_path: Path) -> None:
    text = '[drive]\nservice_account_file = "key.json"'
    (warning,) = load(tmp_path, text).warnings
    assert f"{tmp_path}/key.json is not there" in warning
    (tmp_path / "key.json").write_text("{}")
    assert load(tmp_path, text).warnings == ()


@pytest.mark.parametrize(
    ("url", "fits"),
    [
        ("https://example.com", True),
        ("http://127.0.0.1:99", True),
        ("http://localhost/x", True),
        ("http://[::1]:80", True),
        ("http://example.com", False),
        ("http://127.0.0.1.example.com", False),
        ("http://127.0.0.1@example.com", False),
        ("ftp://localhost", False),
        ("https://", False),
        ("https://a b", False),
        ("https://a:port", False),
        ("http://[::1", False),
        ("", False),
    ],
)
@pytest.mark.parametrize("key", ["drive.api_base_url", "drive.auth_url", "drive.token_url",
                                 "smugmug.api_base_url", "smugmug.oauth_base_url"])  # fmt: skip
def test_plain_http_only_on_this_machine(tmp_path: Path, key: str, url: str, fits: bool) -> None:
    if fits:
        load(tmp_path, f'{key} = "{url}"')
    else:
        (found,) = problems(tmp_path, f'{key} = "{url}"')
        assert key.split(".")[1] in found


# --- the environment, and changes -----------------------------------------------------------------


def test_environment_overrides_the_interval(tmp_path: Path) -> None:
    text = "[drive]\ndefault_interval_minutes = 5"
    assert load(tmp_path, text).drive.default_interval_minutes == 5
    assert load(tmp_path, text, AUTO_SYNC_INTERVAL="0.5").drive.default_interval_minutes == 0.5
    for wrong in ("0.4", "soon", "nan", "-1", "inf"):
        (found,) = problems(tmp_path, text, AUTO_SYNC_INTERVAL=wrong)
        assert found.startswith("AUTO_SYNC_INTERVAL in the environment: expected ")


def test_difference_names_what_changed() -> None:
    old = Config()
    new = replace(old, storage=StorageConfig(prefix="a/", secret_access_key="b"))
    assert difference(old, new) == ["storage.secret_access_key", "storage.prefix"]
    assert difference(old, old) == []


def test_reloadable_names_are_settings() -> None:
    names = {f"{section}.{key}" for section, key in KEYS}
    assert names > RELOADABLE
    assert {"storage.type", "guard.max_delete", "daemon.log_level", "notify.from"} <= RELOADABLE
    assert names - RELOADABLE == {
        "daemon.state_dir", "daemon.socket", "daemon.socket_group", "daemon.workers", "batches.images_dir",
    }  # fmt: skip
