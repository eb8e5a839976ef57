-- Events: folders of Google Drive whose photos guests search by face.
-- Times are RFC 3339 in UTC with milliseconds; sizes are bytes; boxes are pixels of the upright original.
-- What Drive holds (drive_*, event_wanted) stands apart from what an event has (synced_photos, faces): a job
-- brings a photo from the one to the other.
BEGIN IMMEDIATE;

-- How an account was when it was last asked; its tokens are elsewhere.
CREATE TABLE drive_accounts (
    account TEXT NOT NULL PRIMARY KEY,
    state TEXT NOT NULL CHECK (state IN ('running', 'needs_auth', 'backing_off', 'quota')),
    reason TEXT,
    since TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    resume_at TEXT                      -- not asked before
) STRICT, WITHOUT ROWID;

-- The change log of an account, and of each shared drive: read up to page_token, all that came before is
-- recorded.
CREATE TABLE drive_feeds (
    account TEXT NOT NULL,
    drive_id TEXT NOT NULL,             -- '': the account's own log
    page_token TEXT NOT NULL,
    read_at TEXT,                       -- when its end was last reached
    PRIMARY KEY (account, drive_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE events (
    event_id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    drive_folder_id TEXT NOT NULL,
    account TEXT,                       -- the credential that sees the folder; NULL: none does yet
    drive_id TEXT NOT NULL DEFAULT '',  -- the shared drive that the folder is in
    drive_start_page_token TEXT,        -- of its feed, as last committed
    publish INTEGER NOT NULL DEFAULT 0 CHECK (publish IN (0, 1)),
    auto_sync_enabled INTEGER NOT NULL DEFAULT 0 CHECK (auto_sync_enabled IN (0, 1)),
    sync_interval_minutes REAL,         -- NULL: the setting
    last_sync_at TEXT,                  -- when its feed or folder was last read to the end
    listing_due INTEGER NOT NULL DEFAULT 0 CHECK (listing_due IN (0, 1)),
    last_listed_at TEXT,                -- when the whole folder was last listed
    checked_as_of TEXT,                 -- what changed in Drive before this moment has been routed
    complete_as_of TEXT,                -- and this is the same for photos that were brought in, too
    blocked TEXT,                       -- why the folder cannot be followed
    last_error TEXT,
    faces_version INTEGER NOT NULL DEFAULT 0, -- rises with every change of its faces
    created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
) STRICT;
CREATE INDEX events_account ON events (account, drive_id);

-- The part of Drive that events look at: folders in their trees, and what lies directly in those.
CREATE TABLE drive_items (
    account TEXT NOT NULL,
    item_id TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('folder', 'image', 'shortcut', 'unknown')),
    parent_id TEXT,                     -- NULL: not visible to the account
    name TEXT NOT NULL DEFAULT '',
    content TEXT NOT NULL DEFAULT '',   -- changes with the bytes: the MD5, or the revision where there is none
    md5 TEXT,
    sha256 TEXT,
    size_bytes INTEGER,
    mime_type TEXT NOT NULL DEFAULT '',
    target_id TEXT,                     -- of a shortcut
    resource_key TEXT,
    drive_id TEXT NOT NULL DEFAULT '',  -- the shared drive that it is on
    pending TEXT CHECK (pending IN ('list', 'look')), -- to be listed, or asked for, before it is known
    PRIMARY KEY (account, item_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX drive_items_parent ON drive_items (account, parent_id);
CREATE INDEX drive_items_target ON drive_items (account, target_id) WHERE target_id IS NOT NULL;
CREATE INDEX drive_items_pending ON drive_items (account) WHERE pending IS NOT NULL;

-- The photos that an event's folder holds, as last seen.
CREATE TABLE event_wanted (
    event_id TEXT NOT NULL REFERENCES events ON DELETE CASCADE,
    photo_id TEXT NOT NULL,
    account TEXT NOT NULL,
    photo_name TEXT NOT NULL,
    content TEXT NOT NULL,
    md5 TEXT,
    sha256 TEXT,
    size_bytes INTEGER,
    mime_type TEXT NOT NULL,
    resource_key TEXT,
    PRIMARY KEY (event_id, photo_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX event_wanted_photo ON event_wanted (photo_id);

-- The photos that an event has: downloaded, checked and decoded.
CREATE TABLE synced_photos (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id TEXT NOT NULL REFERENCES events ON DELETE CASCADE,
    photo_id TEXT NOT NULL,             -- the Drive file id
    photo_name TEXT NOT NULL,
    synced_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    removed_at TEXT,                    -- when it left the folder
    content TEXT NOT NULL DEFAULT '',   -- as in drive_items
    md5 TEXT,
    sha256 TEXT,
    size_bytes INTEGER,
    width INTEGER,
    height INTEGER,
    captured_at TEXT,                   -- YYYY-MM-DDTHH:MM:SS by the camera's clock, no zone
    faces_indexed INTEGER NOT NULL DEFAULT 0 CHECK (faces_indexed IN (0, 1)),
    UNIQUE (event_id, photo_id)
) STRICT;
CREATE INDEX synced_photos_photo ON synced_photos (photo_id) WHERE removed_at IS NULL;
CREATE INDEX synced_photos_present ON synced_photos (event_id, synced_at) WHERE removed_at IS NULL;

CREATE TABLE faces (
    face_id INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id TEXT NOT NULL,
    photo_id TEXT NOT NULL,
    box_top INTEGER NOT NULL,
    box_right INTEGER NOT NULL,
    box_bottom INTEGER NOT NULL,
    box_left INTEGER NOT NULL,
    encoding BLOB NOT NULL CHECK (length(encoding) = 512), -- 128 little-endian float32
    FOREIGN KEY (event_id, photo_id) REFERENCES synced_photos (event_id, photo_id) ON DELETE CASCADE
) STRICT;
CREATE INDEX faces_photo ON faces (event_id, photo_id);

-- People who asked to be forgotten: faces this near are not kept, in photos to come either.
CREATE TABLE forgotten (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id TEXT NOT NULL REFERENCES events ON DELETE CASCADE,
    encoding BLOB NOT NULL CHECK (length(encoding) = 512),
    tolerance REAL NOT NULL,
    forgotten_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
) STRICT;
CREATE INDEX forgotten_event ON forgotten (event_id);

-- Objects of events in storage: written before an upload starts, gone when the object is.
CREATE TABLE event_objects (
    storage_id TEXT NOT NULL,
    key TEXT NOT NULL,
    event_id TEXT NOT NULL,             -- outlives the event: an object without one is taken away
    photo_id TEXT NOT NULL,
    content TEXT NOT NULL,              -- of the photo that it shows
    wanted INTEGER NOT NULL DEFAULT 1 CHECK (wanted IN (0, 1)),
    sha256 TEXT,                        -- of the object's bytes; NULL: not confirmed
    size_bytes INTEGER,
    etag TEXT,
    confirmed_at TEXT,
    PRIMARY KEY (storage_id, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX event_objects_photo ON event_objects (event_id, photo_id);

-- One job a photo: `item` names it, `revision` rises when it is called for again while it runs.
ALTER TABLE jobs ADD COLUMN item TEXT;
ALTER TABLE jobs ADD COLUMN revision INTEGER NOT NULL DEFAULT 0;
CREATE UNIQUE INDEX jobs_item ON jobs (kind, item) WHERE item IS NOT NULL;

PRAGMA user_version = 2;
COMMIT;
