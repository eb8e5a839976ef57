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
    synced_at TEXT,                     -- when all its pages were last read
    memo TEXT,                          -- the stamps and the count that synced_at stands for
    read_began_at TEXT,                 -- when the reading began that synced_at ended
    read_number INTEGER NOT NULL DEFAULT 0, -- of the last reading that saw all: photos not seen in it are gone
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
CREATE INDEX smugmug_photos_present ON smugmug_photos (id) WHERE removed_at IS NULL;
CREATE INDEX smugmug_photos_unhashed ON smugmug_photos (id)
    WHERE perceptual_hash IS NULL AND hash_error IS NULL AND removed_at IS NULL AND is_video = 0
    AND is_processing = 0 AND thumbnail_url IS NOT NULL;

-- A photo may be in several albums.
CREATE TABLE smugmug_album_photos (
    album_id INTEGER NOT NULL REFERENCES smugmug_albums ON DELETE CASCADE,
    photo_id INTEGER NOT NULL REFERENCES smugmug_photos ON DELETE CASCADE,
    position INTEGER NOT NULL DEFAULT 0, -- in the order of the album
    read_number INTEGER NOT NULL DEFAULT 0, -- of the reading that saw it last
    PRIMARY KEY (album_id, photo_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX smugmug_album_photos_photo ON smugmug_album_photos (photo_id);

-- An album that is being read, and where to go on: written together with the photos of each page.
CREATE TABLE smugmug_reads (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    album_id INTEGER NOT NULL UNIQUE REFERENCES smugmug_albums ON DELETE CASCADE,
    began_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    memo TEXT NOT NULL,                 -- the album's stamps and count when it began
    next_path TEXT,                     -- NULL: from the first page on
    total INTEGER                       -- photos that the first page promised
) STRICT;

-- The account as it was last asked: one row.
CREATE TABLE smugmug_account (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    last_sync TEXT,                     -- when a sync was last complete
    swept_until TEXT,                   -- up to when rereading what seems unchanged is paid for
    state TEXT NOT NULL DEFAULT 'running',
    reason TEXT,                        -- why it is not asked now
    resume_at TEXT                      -- and until when
) STRICT;
INSERT INTO smugmug_account (id) VALUES (1);

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

-- What is due: descriptions whose vector is missing, and vectors by the model that made them.
CREATE INDEX ai_metadata_unembedded ON ai_metadata (id) WHERE embedding IS NULL AND ai_description <> '';
CREATE INDEX ai_metadata_embedded ON ai_metadata (embedding_model) WHERE embedding IS NOT NULL;

-- Words to find photos by; rowid is ai_metadata.id. Kept in step by triggers, whoever writes.
CREATE VIRTUAL TABLE metadata_words USING fts5 (
    filename, title, caption, keywords, description, tags, categories, names,
    tokenize = 'porter unicode61 remove_diacritics 2'
);
CREATE VIEW metadata_texts AS SELECT
    m.id, m.photo_id, p.filename, p.title, p.caption,
    (SELECT group_concat(value, ' ') FROM json_each(p.keywords)) AS keywords,
    m.ai_description AS description,
    (SELECT group_concat(value, ' ') FROM json_each(m.ai_tags)) AS tags,
    (SELECT group_concat(value, ' ') FROM json_each(m.ai_categories)) AS categories,
    (SELECT group_concat(value, ' ') FROM json_each(m.teams)) || ' ' || m.event || ' ' || m.sport AS names
FROM ai_metadata m JOIN smugmug_photos p ON p.id = m.photo_id;
CREATE TRIGGER metadata_words_made AFTER INSERT ON ai_metadata BEGIN
    INSERT INTO metadata_words (rowid, filename, title, caption, keywords, description, tags, categories, names)
    SELECT id, filename, title, caption, keywords, description, tags, categories, names
    FROM metadata_texts WHERE id = new.id;
END;
CREATE TRIGGER metadata_words_changed
AFTER UPDATE OF ai_description, ai_tags, ai_categories, teams, event, sport ON ai_metadata BEGIN
    DELETE FROM metadata_words WHERE rowid = new.id;
    INSERT INTO metadata_words (rowid, filename, title, caption, keywords, description, tags, categories, names)
    SELECT id, filename, title, caption, keywords, description, tags, categories, names
    FROM metadata_texts WHERE id = new.id;
END;
CREATE TRIGGER metadata_words_of_photo AFTER UPDATE OF filename, title, caption, keywords ON smugmug_photos
WHEN old.filename IS NOT new.filename OR old.title IS NOT new.title OR old.caption IS NOT new.caption
    OR old.keywords IS NOT new.keywords
BEGIN
    DELETE FROM metadata_words WHERE rowid = (SELECT id FROM ai_metadata WHERE photo_id = new.id);
    INSERT INTO metadata_words (rowid, filename, title, caption, keywords, description, tags, categories, names)
    SELECT id, filename, title, caption, keywords, description, tags, categories, names
    FROM metadata_texts WHERE photo_id = new.id;
END;
CREATE TRIGGER metadata_words_gone AFTER DELETE ON ai_metadata BEGIN
    DELETE FROM metadata_words WHERE rowid = old.id;
END;

-- Which vectors changed, in order: who keeps them in memory reads those with a higher seq again.
CREATE TABLE metadata_vectors (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    metadata_id INTEGER NOT NULL UNIQUE -- may be gone from ai_metadata
) STRICT;
CREATE TRIGGER metadata_vectors_made AFTER INSERT ON ai_metadata WHEN new.embedding IS NOT NULL BEGIN
    INSERT INTO metadata_vectors (metadata_id) VALUES (new.id);
END;
CREATE TRIGGER metadata_vectors_changed AFTER UPDATE OF embedding, embedding_model ON ai_metadata
WHEN old.embedding IS NOT new.embedding OR old.embedding_model IS NOT new.embedding_model
BEGIN
    DELETE FROM metadata_vectors WHERE metadata_id = new.id;
    INSERT INTO metadata_vectors (metadata_id) VALUES (new.id);
END;
CREATE TRIGGER metadata_vectors_gone AFTER DELETE ON ai_metadata BEGIN
    DELETE FROM metadata_vectors WHERE metadata_id = old.id;
    INSERT INTO metadata_vectors (metadata_id) VALUES (old.id);
END;

-- A failed photo that somebody has tried again, or a job that somebody cancelled, is so here too.
CREATE TRIGGER jobs_describe_again AFTER UPDATE OF state ON jobs
WHEN new.kind = 'describe' AND new.state = 'queued' AND old.state IN ('failed', 'cancelled')
BEGIN
    UPDATE jobs SET attempts = 0 WHERE number = new.number;
    UPDATE ai_metadata SET processing_status = 'pending', attempts = 0
    WHERE id = CAST(new.item AS INTEGER) AND processing_status = 'failed';
END;
CREATE TRIGGER jobs_describe_cancelled AFTER UPDATE OF state ON jobs
WHEN new.kind = 'describe' AND new.state = 'cancelled'
BEGIN
    UPDATE ai_metadata SET processing_status = 'failed', error = 'cancelled'
    WHERE id = CAST(new.item AS INTEGER) AND processing_status IN ('pending', 'processing');
END;

PRAGMA user_version = 3;
COMMIT;
