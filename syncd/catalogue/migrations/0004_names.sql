-- Album names in step, and what the Postgres copy of the library still has to be told.
-- Times are RFC 3339 in UTC with milliseconds.
BEGIN IMMEDIATE;

-- The journal: written before SmugMug is asked, confirmed after.
CREATE TABLE album_name_changes (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    album_key TEXT NOT NULL,
    old_name TEXT NOT NULL,
    new_name TEXT NOT NULL,
    changed_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    changed_by TEXT NOT NULL,
    source TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'begun' CHECK (state IN ('begun', 'confirmed', 'failed')),
    confirmed_at TEXT,                  -- SmugMug has the new name
    mirrored_at TEXT,                   -- the mirror has it too
    error TEXT                          -- why it failed, or why the mirror does not have it yet
) STRICT;
CREATE INDEX album_name_changes_album ON album_name_changes (album_key, id);
CREATE INDEX album_name_changes_begun ON album_name_changes (id) WHERE state = 'begun';
CREATE INDEX album_name_changes_unmirrored ON album_name_changes (id)
    WHERE state = 'confirmed' AND mirrored_at IS NULL;
CREATE INDEX album_name_changes_time ON album_name_changes (changed_at);

-- What a person knows of an album wins over what a model saw.
CREATE TABLE album_name_hints (
    album_key TEXT NOT NULL PRIMARY KEY,
    teams TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(teams)),
    event TEXT NOT NULL DEFAULT '',
    sport TEXT NOT NULL DEFAULT '',
    updated_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
) STRICT, WITHOUT ROWID;

PRAGMA user_version = 4;
COMMIT;
