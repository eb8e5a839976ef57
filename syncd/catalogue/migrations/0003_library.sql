-- The SmugMug library: a copy of its metadata, what a vision model wrote, and what people made of that.
-- Times are RFC 3339 in UTC with milliseconds unless a column says otherwise; sizes are bytes; lists are JSON.
BEGIN IMMEDIATE;

CREATE TABLE smugmug_albums (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    album_key TEXT NOT NULL UNIQUE,
    album_id TEXT,                      -- SmugMug's NodeID
    title TEXT NOT NULL,                -- Name
    description TEXT NOT NULL DEFAULT '',
    keywords TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(keywords)),
    image_count INTEGER NOT NULL DEFAULT 0, -- as SmugMug says; what was read may differ for a while
    last_updated TEXT,                  -- the later of LastUpdated and ImagesLastUpdated, as SmugMug writes it
    album_updated TEXT,                 -- LastUpdated
    images_updated TEXT,                -- ImagesLastUpdated
    album_date TEXT,                    -- Date
    url_name TEXT NOT NULL DEFAULT '',
    url_path TEXT NOT NULL DEFAULT '',
    web_url TEXT NOT NULL DEFAULT '',
    privacy TEXT,                       -- Public, Unlisted or Private; NULL: not ours to know
    security_type TEXT,                 -- None, Password or GrantAccess
    sort_method TEXT,
    synced_at TEXT,                     -- when all its pages were last read in one consistent pass
    memo TEXT,                          -- the stamps and the count that synced_at stands for
    last_error TEXT,                    -- why it could not be read
    created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    removed_at TEXT                     -- gone from the account
) STRICT;
CREATE INDEX smugmug_albums_present ON smugmug_albums (title, id) WHERE removed_at IS NULL;

CREATE TABLE smugmug_photos (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    image_key TEXT NOT NULL UNIQUE,
    album_id INTEGER REFERENCES smugmug_albums, -- the first album that it was seen in
    filename TEXT NOT NULL,
    title TEXT NOT NULL DEFAULT '',
    caption TEXT NOT NULL DEFAULT '',
    keywords TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(keywords)),
    date_taken TEXT,                    -- YYYY-MM-DDTHH:MM:SS by the camera's own clock, no zone
    uploaded_at TEXT,
    last_updated TEXT,                  -- LastUpdated, as SmugMug writes it
    thumbnail_url TEXT,
    large_url TEXT,
    original_url TEXT,                  -- ArchivedUri: not for ever
    web_url TEXT,
    width INTEGER,
    height INTEGER,
    size_bytes INTEGER,
    md5 TEXT,                           -- ArchivedMD5
    serial INTEGER NOT NULL DEFAULT 0,  -- rises when the photo is replaced
    format TEXT NOT NULL DEFAULT '',    -- JPG, PNG, GIF, MP4 …
    is_video INTEGER NOT NULL DEFAULT 0 CHECK (is_video IN (0, 1)),
    is_hidden INTEGER NOT NULL DEFAULT 0 CHECK (is_hidden IN (0, 1)),
    is_processing INTEGER NOT NULL DEFAULT 0 CHECK (is_processing IN (0, 1)),
    latitude REAL,
    longitude REAL,
    perceptual_hash TEXT,               -- of the thumbnail, 16 hex digits; NULL: not looked at
    hashed_serial INTEGER,              -- the serial that perceptual_hash is of
    hash_error TEXT,
    synced_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    removed_at TEXT                     -- in no album any more
) STRICT;
CREATE INDEX smugmug_photos_unhashed ON smugmug_photos (id) WHERE perceptual_hash IS NULL AND removed_at IS NULL;

-- A photo may be in several albums.
CREATE TABLE smugmug_album_photos (
    album_id INTEGER NOT NULL REFERENCES smugmug_albums ON DELETE CASCADE,
    photo_id INTEGER NOT NULL REFERENCES smugmug_photos ON DELETE CASCADE,
    position INTEGER NOT NULL DEFAULT 0, -- in the order of the album
    PRIMARY KEY (album_id, photo_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX smugmug_album_photos_photo ON smugmug_album_photos (photo_id);

-- One row for each photo that can be described, made with the photo.
CREATE TABLE ai_metadata (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    photo_id INTEGER NOT NULL UNIQUE REFERENCES smugmug_photos ON DELETE CASCADE,
    ai_description TEXT NOT NULL DEFAULT '',
    ai_tags TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(ai_tags)),
    ai_categories TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(ai_categories)),
    teams TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(teams)),
    event TEXT NOT NULL DEFAULT '',
    sport TEXT NOT NULL DEFAULT '',
    embedding BLOB,                     -- little-endian float32, unit length
    embedding_model TEXT,
    model TEXT,                         -- that described it
    confidence_score REAL,              -- 0 to 1
    processing_status TEXT NOT NULL DEFAULT 'pending' CHECK (
        processing_status IN ('pending', 'processing', 'review', 'approved', 'rejected', 'failed')
    ),
    approved INTEGER NOT NULL DEFAULT 0 CHECK (approved IN (0, 1)),
    approved_by TEXT,
    approved_at TEXT,
    version INTEGER NOT NULL DEFAULT 1,
    serial INTEGER,                     -- of the photo that was described
    attempts INTEGER NOT NULL DEFAULT 0,
    error TEXT,
    described_at TEXT,
    updated_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    CHECK (approved = (processing_status = 'approved'))
) STRICT;
CREATE INDEX ai_metadata_status ON ai_metadata (processing_status, id);

CREATE TABLE metadata_history (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    metadata_id INTEGER NOT NULL REFERENCES ai_metadata ON DELETE CASCADE,
    version INTEGER NOT NULL,           -- that the change made
    previous_description TEXT,
    new_description TEXT,
    previous_tags TEXT,
    new_tags TEXT,
    previous_categories TEXT,
    new_categories TEXT,
    previous_status TEXT,
    new_status TEXT,
    changed_by TEXT NOT NULL,
    change_reason TEXT NOT NULL DEFAULT '',
    changed_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
) STRICT;
CREATE INDEX metadata_history_metadata ON metadata_history (metadata_id, id);

PRAGMA user_version = 3;
COMMIT;
