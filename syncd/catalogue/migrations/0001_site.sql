-- The catalogue of the site: batches, scenes, versions, and what syncd does about them.
-- Times are RFC 3339 in UTC with milliseconds unless a column says otherwise; sizes are bytes.
BEGIN IMMEDIATE;

-- "sycd": tells a catalogue from any other program's database.
PRAGMA application_id = 1937335140;

-- Edited by hand too: one INSERT with only a batch_name, or one UPDATE of is_public, is enough.
CREATE TABLE public_site_batches (
    batch_name TEXT NOT NULL PRIMARY KEY,
    is_public INTEGER NOT NULL DEFAULT 0 CHECK (is_public IN (0, 1)),
    source_directory TEXT,              -- the only stage that is published; NULL: the best stage present
    first_seen_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    last_synced_at TEXT,                -- when a sync of this batch last ended without an error
    memo TEXT                           -- digest of what the last plan of this batch was made of, if it was empty
) STRICT;

CREATE TABLE scenes (
    scene_id TEXT NOT NULL PRIMARY KEY, -- <batch_name>-<base_filename>, "~2" appended where taken
    batch_name TEXT NOT NULL REFERENCES public_site_batches ON UPDATE CASCADE ON DELETE CASCADE,
    base_filename TEXT NOT NULL,
    capture_date TEXT,                  -- YYYY-MM-DDTHH:MM:SS by the camera's clock, no zone
    created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    UNIQUE (batch_name, base_filename)
) STRICT;
CREATE INDEX scenes_batch ON scenes (batch_name, scene_id);

CREATE TABLE image_versions (
    version_id INTEGER PRIMARY KEY AUTOINCREMENT,
    scene_id TEXT NOT NULL REFERENCES scenes ON UPDATE CASCADE ON DELETE CASCADE,
    version_type TEXT NOT NULL,         -- the stage
    relative_path TEXT NOT NULL,        -- <batch>/<stage>/<file> below images_dir; identifies the file
    local_path TEXT NOT NULL,           -- absolute
    r2_key TEXT,                        -- the whole key in storage; NULL: not live
    perceptual_hash TEXT,               -- 16 hex digits; NULL: not decoded
    is_current INTEGER NOT NULL DEFAULT 0 CHECK (is_current IN (0, 1)),
    synced_at TEXT,                     -- when storage confirmed r2_key
    sha256 TEXT,                        -- of the local file
    md5 TEXT,
    size_bytes INTEGER NOT NULL DEFAULT 0,
    ctime_ns INTEGER NOT NULL DEFAULT 0, -- with mtime, size and inode: an unchanged file is not read again
    mtime_ns INTEGER NOT NULL DEFAULT 0,
    inode INTEGER NOT NULL DEFAULT 0,
    storage_id TEXT,                    -- the storage that r2_key is in; another storage is filled again
    object_sha256 TEXT,                 -- of the bytes in storage, a rendering's differ from the file's
    object_size_bytes INTEGER,
    object_etag TEXT,
    content_type TEXT,
    image_format TEXT,
    needs_rendering INTEGER NOT NULL DEFAULT 0 CHECK (needs_rendering IN (0, 1)),
    width INTEGER,                      -- pixels of the upright picture
    height INTEGER,
    captured_at TEXT,                   -- YYYY-MM-DDTHH:MM:SS by the camera's clock, no zone
    camera_make TEXT,
    camera_model TEXT,
    focal_length TEXT,
    aperture TEXT,
    shutter_speed TEXT,
    decode_error TEXT,                  -- why the picture could not be decoded
    recorded_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    superseded_at TEXT,                 -- the file was replaced: a newer row has the same relative_path
    gone_at TEXT                        -- the file was not there when last looked
) STRICT;
-- What must never be, whoever writes: two current versions of a scene, two live ones, two rows of a file.
CREATE UNIQUE INDEX image_versions_current ON image_versions (scene_id) WHERE is_current = 1;
CREATE UNIQUE INDEX image_versions_live ON image_versions (scene_id) WHERE r2_key IS NOT NULL;
CREATE UNIQUE INDEX image_versions_file ON image_versions (relative_path) WHERE superseded_at IS NULL;
-- Covers the counts of versions, of all and of each batch.
CREATE INDEX image_versions_scene ON image_versions (scene_id, superseded_at);
CREATE INDEX image_versions_key ON image_versions (r2_key) WHERE r2_key IS NOT NULL;
CREATE INDEX image_versions_sha256 ON image_versions (sha256) WHERE sha256 IS NOT NULL;

-- One row a sync. Counts as in the reply of GET /api/admin/sync/status; bytes are those uploaded.
CREATE TABLE sync_log (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    started_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    finished_at TEXT,
    status TEXT NOT NULL DEFAULT 'running'
        CHECK (status IN ('queued', 'running', 'done', 'partial', 'failed', 'refused', 'cancelled')),
    scenes INTEGER NOT NULL DEFAULT 0,
    versions INTEGER NOT NULL DEFAULT 0,
    uploaded INTEGER NOT NULL DEFAULT 0,
    skipped INTEGER NOT NULL DEFAULT 0,
    failed INTEGER NOT NULL DEFAULT 0,
    bytes INTEGER NOT NULL DEFAULT 0,
    scanned INTEGER NOT NULL DEFAULT 0,
    removed INTEGER NOT NULL DEFAULT 0,
    unchanged INTEGER NOT NULL DEFAULT 0,
    ignored INTEGER NOT NULL DEFAULT 0,
    error TEXT,
    job_id TEXT
) STRICT;

-- Work that must survive a crash, written in the same transaction as the cursor it came from.
CREATE TABLE jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL GENERATED ALWAYS AS (printf('j-%06d', number)) VIRTUAL,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL DEFAULT '',
    payload TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(payload)),
    state TEXT NOT NULL DEFAULT 'queued' CHECK (
        state IN ('queued', 'running', 'waiting', 'done', 'partial', 'failed', 'refused', 'cancelled')
    ),
    attempts INTEGER NOT NULL DEFAULT 0,
    created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    updated_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    next_attempt_at TEXT,               -- when a waiting job is tried again
    error TEXT,
    progress_done INTEGER NOT NULL DEFAULT 0,
    progress_total INTEGER NOT NULL DEFAULT 0,
    result TEXT CHECK (json_valid(result))
) STRICT;
CREATE INDEX jobs_state ON jobs (state, kind, number);
-- A photo that fails again and again is one row with a rising count of attempts.
CREATE UNIQUE INDEX jobs_photo ON jobs (subject) WHERE kind = 'photo';

-- Actions that wait for a person.
CREATE TABLE guards (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL GENERATED ALWAYS AS ('g-' || number) VIRTUAL,
    kind TEXT NOT NULL,
    reason TEXT NOT NULL,
    created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    decided_at TEXT,
    actions TEXT NOT NULL CHECK (json_valid(actions)), -- [[action, scene_id, version_type, local_path, key], …]
    live INTEGER NOT NULL DEFAULT 0,    -- how many were live when it was raised, so that a person sees 214 of 1,902
    state TEXT NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'approved', 'gone'))
) STRICT;
CREATE UNIQUE INDEX guards_open ON guards (kind) WHERE state = 'open';

-- Numbered without gaps by the program, so that a reader sees when something is missing.
CREATE TABLE activity (
    id INTEGER PRIMARY KEY,
    at TEXT NOT NULL,
    kind TEXT NOT NULL,
    service TEXT NOT NULL,
    subject TEXT NOT NULL,
    message TEXT NOT NULL,
    data TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(data))
) STRICT;

-- Multipart uploads begun and not ended: a killed one is aborted on the next start.
CREATE TABLE uploads_in_progress (
    storage_id TEXT NOT NULL,
    upload_id TEXT NOT NULL,
    key TEXT NOT NULL,
    begun_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    PRIMARY KEY (storage_id, upload_id)
) STRICT, WITHOUT ROWID;

-- Keys under which storage may hold an object that no live version vouches for: written before an upload
-- starts or an object loses its row, gone when that is settled. A killed run leaves no orphan this way.
CREATE TABLE loose_objects (
    storage_id TEXT NOT NULL,
    key TEXT NOT NULL,
    since TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    PRIMARY KEY (storage_id, key)
) STRICT, WITHOUT ROWID;

-- Small facts that must survive a restart, as JSON.
CREATE TABLE settings (
    name TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL CHECK (json_valid(value))
) STRICT, WITHOUT ROWID;

PRAGMA user_version = 1;
COMMIT;
