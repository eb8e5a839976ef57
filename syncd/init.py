"""`syncd init`: a commented syncd.toml and the folders that it names."""

from __future__ import annotations

import os
from pathlib import Path

from syncd.errors import Fatal

FILE_NAME = "syncd.toml"
_FOLDERS = (("images", 0o777), ("storage", 0o777), (".syncd", 0o700))

TEMPLATE = """\
# Settings of syncd. What stands here are the defaults; lines that start with "# key =" are optional.
# Relative paths are relative to this file; ~ and $VARIABLES in paths are expanded.
# A secret may be a text, { env = "NAME" }, { file = "PATH" } or { credential = "NAME" } (systemd).
# Check it with: syncctl config check      Apply it to a running daemon with: syncctl config reload

[daemon]
state_dir = "./.syncd"          # the catalogue and work in progress; a service uses /var/lib/syncd
socket = ""                     # "": $XDG_RUNTIME_DIR/syncd/syncd.sock, else <state_dir>/syncd.sock
socket_group = ""               # members of this group may look; the owner and root may do everything
log_level = "info"              # debug, info, warning, error or critical
workers = 0                     # processes for heavy work; 0: one for each core

[batches]
images_dir = "./images"         # images_dir/<batch>/<stage>/<file>; files in <batch> are initial_scan
stages = ["final_crops", "inverted_original_scans", "initial_scan"]   # the best first
# words that are taken off the end of a file's name to see which scene it shows
suffixes = ["inverted", "inv", "positive", "crop", "cropped", "final", "edit", "edited", "scan"]
default_public = false          # whether a batch that is seen for the first time is published
settle_seconds = 0.5            # a file must be unchanged this long before it is read
rescan_minutes = 60             # everything is looked at again this often
on_missing = "keep"             # "keep" or "withdraw" a scene of which every version is gone

[storage]
type = "local"                  # "local": a folder; "r2": Cloudflare R2 or any other S3
base_path = "./storage"         # the folder (local)
# account_id = ""               # from here to region: r2
# access_key_id = ""
# secret_access_key = { env = "R2_SECRET_ACCESS_KEY" }
# bucket_name = ""
# public_url = ""               # where visitors find the bucket, such as https://photos.example.com
# endpoint_url = ""             # any other S3 (SeaweedFS, MinIO, B2); goes before account_id
# region = "auto"
prefix = ""                     # before every key; "photos/" gives photos/scenes/…
concurrency = 16                # uploads at a time, 1 to 256

[drive]                         # Google Drive, for events
# client_id = ""                # of an installed app
# client_secret = { env = "GOOGLE_CLIENT_SECRET" }
# service_account_file = ""     # or a service account's key file
api_base_url = "https://www.googleapis.com"
auth_url = "https://accounts.google.com/o/oauth2/v2/auth"
token_url = "https://oauth2.googleapis.com/token"
default_interval_minutes = 2    # AUTO_SYNC_INTERVAL in the environment goes before it
requests_per_second = 10
# push_url = ""                 # a public https:// address, passed on to push_listen: Google says what is new
push_listen = "127.0.0.1:8791"

[faces]
enabled = true                  # needs the extra: uv tool install '.[faces]'
tolerance = 0.6                 # distance at or below which two faces match
max_side = 1600                 # photos are reduced to this many pixels before faces are looked for
upsample = 1                    # higher finds smaller faces, more slowly

[smugmug]
# api_key = { env = "SMUGMUG_API_KEY" }
# api_secret = { env = "SMUGMUG_API_SECRET" }
# nickname = ""
api_base_url = "https://api.smugmug.com"
oauth_base_url = "https://secure.smugmug.com"
interval_minutes = 60
requests_per_second = 4         # of all tasks together
page_size = 50

[ai]                            # descriptions of photos
# base_url = ""                 # any OpenAI-compatible server, with its /v1
# api_key = { env = "AI_API_KEY" }
# model = ""
# embedding_model = ""
batch_size = 10                 # photos described at a time, and the most requests in flight
daily_limit = 0                 # photos a day; 0: no limit
auto_approve = false

[mirror]                        # a copy of the library's metadata in Postgres
# dsn = { env = "SYNCD_MIRROR_DSN" }

[names]                         # album names in step with what is in them
drift_threshold = 20            # rename when the score is above this, 0 to 100
auto = false                    # rename without being asked, at most 20 an hour

[exchange]                      # archives that complete each other
# inbox = ""                    # exports for your lists that arrive in this folder are imported by themselves

[guard]                         # removals that nobody asked for wait for a person when there are more than
max_delete = 50                 # this many,
max_delete_percent = 5          # or than this share of what is published, whichever is more

[notify]                        # mail about new event photos and whatever needs attention
# smtp_url = { env = "SMTP_URL" } # smtp://USER:PASSWORD@HOST:587 or smtps://USER:PASSWORD@HOST:465
# from = "syncd@example.org"
# to = ["you@example.org"]
"""


def init_project(directory: Path) -> list[Path]:
    """Writes syncd.toml and its folders into `directory`, which is made where it is missing; returns what
    was made. Nothing is touched, and Fatal is raised, where syncd.toml is already there or where
    something else stands in the place of a folder."""
    config = directory / FILE_NAME
    if config.exists() or config.is_symlink():
        raise Fatal(f"{config} is already there", hint="nothing was changed; name another folder, or edit it")
    for folder in (directory, *(directory / name for name, _ in _FOLDERS)):
        if (folder.exists() or folder.is_symlink()) and not folder.is_dir():
            raise Fatal(f"{folder} is there and is not a folder", hint="nothing was changed")
    made = []
    try:
        directory.mkdir(parents=True, exist_ok=True)
        # "x" decides between two that start at once; the file may come to hold secrets.
        descriptor = os.open(config, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(TEMPLATE)
        made.append(config)
        for name, mode in _FOLDERS:
            folder = directory / name
            if not folder.is_dir():
                folder.mkdir(mode=mode)
                made.append(folder)
    except OSError as error:
        raise Fatal(f"cannot make {error.filename or directory}: {os.strerror(error.errno or 0)}") from error
    return made
