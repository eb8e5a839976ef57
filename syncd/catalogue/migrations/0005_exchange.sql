-- Exchange between archives: every file that syncd holds in the shape of an indafoto.db, and the records of
-- what was asked for, given and taken. The sync_* tables are made in other archives that work here, too.
BEGIN IMMEDIATE;

-- Local files of batches (kept in step by the triggers below) and imports. A photo of an event is not in it:
-- it is looked at and let go, not held. A row without local_path is known only by its address.
CREATE TABLE images (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    -- Version 7, which begins with the time: an index on wholly random text slows a first sync.
    uuid TEXT UNIQUE DEFAULT (printf(
        '%08x-%04x-7%03x-%04x-%012x',
        CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) >> 16,
        CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) & 65535,
        random() & 4095, 32768 | (random() & 16383), random() & 281474976710655
    )),
    url TEXT,
    local_path TEXT,                    -- absolute
    sha256_hash TEXT,                   -- lower-case hex
    title TEXT,
    description TEXT,
    author TEXT,
    author_url TEXT,
    license TEXT,
    camera_make TEXT,
    camera_model TEXT,
    focal_length TEXT,
    aperture TEXT,
    shutter_speed TEXT,
    taken_date TEXT,
    upload_date TEXT,
    page_url TEXT,
    size_bytes INTEGER,
    perceptual_hash TEXT,               -- 16 hex digits, as in image_versions
    version_id INTEGER UNIQUE REFERENCES image_versions ON DELETE CASCADE, -- NULL: imported
    list_id TEXT                        -- the exchange that it came by
) STRICT;
CREATE INDEX images_sha256 ON images (sha256_hash) WHERE sha256_hash IS NOT NULL;
CREATE INDEX images_url ON images (url) WHERE url IS NOT NULL;

CREATE TABLE tags (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT UNIQUE,
    count INTEGER
) STRICT;
CREATE TABLE image_tags (
    image_id INTEGER NOT NULL REFERENCES images ON DELETE CASCADE,
    tag_id INTEGER NOT NULL REFERENCES tags ON DELETE CASCADE,
    PRIMARY KEY (image_id, tag_id)
) STRICT;
CREATE TABLE albums (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    album_id TEXT UNIQUE,
    title TEXT,
    url TEXT,
    is_public INTEGER
) STRICT;
CREATE TABLE image_albums (
    image_id INTEGER NOT NULL REFERENCES images ON DELETE CASCADE,
    album_id INTEGER NOT NULL REFERENCES albums ON DELETE CASCADE,
    PRIMARY KEY (image_id, album_id)
) STRICT;
CREATE TABLE collections (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    collection_id TEXT UNIQUE,
    title TEXT,
    url TEXT,
    is_public INTEGER
) STRICT;
CREATE TABLE image_collections (
    image_id INTEGER NOT NULL REFERENCES images ON DELETE CASCADE,
    collection_id INTEGER NOT NULL REFERENCES collections ON DELETE CASCADE,
    PRIMARY KEY (image_id, collection_id)
) STRICT;

-- One row each time something was done for a list.
CREATE TABLE sync_operations (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    operation_id TEXT NOT NULL UNIQUE,
    start_time TEXT NOT NULL,
    end_time TEXT,
    status TEXT NOT NULL,               -- running, completed, partial, failed or interrupted
    source_db_path TEXT,                -- analyze: the other's database; else the list file or the folder
    total_files INTEGER NOT NULL DEFAULT 0,
    processed_files INTEGER NOT NULL DEFAULT 0,
    error_count INTEGER NOT NULL DEFAULT 0,
    kind TEXT,                          -- analyze, export, import or verify
    list_id TEXT,
    error TEXT
) STRICT;

-- What became of each file in each operation.
CREATE TABLE sync_files (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    operation_id TEXT NOT NULL REFERENCES sync_operations (operation_id) ON DELETE CASCADE,
    image_id INTEGER REFERENCES images (id) ON DELETE SET NULL,
    file_path TEXT,
    file_hash TEXT,
    status TEXT NOT NULL,               -- exported, imported, already_here, missing, rejected, failed, ok, corrupt
    error_message TEXT
) STRICT;
CREATE INDEX sync_files_operation ON sync_files (operation_id, status);
CREATE INDEX sync_files_image ON sync_files (image_id) WHERE image_id IS NOT NULL;

CREATE TABLE sync_export_lists (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    operation_id TEXT REFERENCES sync_operations (operation_id) ON DELETE SET NULL, -- the last one
    list_id TEXT NOT NULL UNIQUE,
    created_time TEXT NOT NULL,
    total_files INTEGER NOT NULL DEFAULT 0,
    processed_files INTEGER NOT NULL DEFAULT 0,
    status TEXT NOT NULL DEFAULT 'pending', -- pending, running, partial, completed, verified or failed
    role TEXT NOT NULL DEFAULT 'asks',  -- this archive asks for the files, or gives them
    remote TEXT,                        -- asks: the other's database; gives: the name in the list
    list_file TEXT,
    hash_files INTEGER NOT NULL DEFAULT 0,
    url_files INTEGER NOT NULL DEFAULT 0,
    total_bytes INTEGER,                -- NULL: some sizes are not known
    near_matches INTEGER NOT NULL DEFAULT 0,
    only_here INTEGER NOT NULL DEFAULT 0,
    only_here_ids TEXT,                 -- asks: the first of them, a JSON list of images.id
    asker_key TEXT,                     -- public key of whoever asks, hex: receipts are signed with it
    folder TEXT,                        -- where files were last read from or written to
    error TEXT
) STRICT;

CREATE TABLE sync_export_files (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    list_id TEXT NOT NULL REFERENCES sync_export_lists (list_id) ON DELETE CASCADE,
    image_id INTEGER REFERENCES images (id) ON DELETE SET NULL,
    export_path TEXT,                   -- gives: below the folder; asks: where it is now
    status TEXT NOT NULL DEFAULT 'pending', -- exported, delivered; imported, already_here; missing, rejected, failed
    sha256_hash TEXT,                   -- NULL: known only by url
    url TEXT,
    size_bytes INTEGER,
    metadata TEXT,                      -- JSON, as of the analysis
    remote_path TEXT,                   -- the other's local_path, absolute
    near_image_id INTEGER,              -- a picture here that looks like it
    near_distance INTEGER,
    error_message TEXT
) STRICT;
CREATE INDEX sync_export_files_list ON sync_export_files (list_id);
CREATE UNIQUE INDEX sync_export_files_sha256 ON sync_export_files (list_id, sha256_hash)
    WHERE sha256_hash IS NOT NULL;
CREATE UNIQUE INDEX sync_export_files_url ON sync_export_files (list_id, url) WHERE sha256_hash IS NULL;
CREATE INDEX sync_export_files_near ON sync_export_files (list_id, id) WHERE near_image_id IS NOT NULL;
CREATE INDEX sync_export_files_image ON sync_export_files (image_id) WHERE image_id IS NOT NULL;

-- A version is held while its file is there as it was read.
CREATE TRIGGER images_of_new_version AFTER INSERT ON image_versions
WHEN NEW.sha256 IS NOT NULL AND NEW.gone_at IS NULL AND NEW.superseded_at IS NULL
BEGIN
    INSERT INTO images (
        local_path, sha256_hash, camera_make, camera_model, focal_length, aperture, shutter_speed,
        taken_date, size_bytes, perceptual_hash, version_id
    ) VALUES (
        NEW.local_path, NEW.sha256, NEW.camera_make, NEW.camera_model,
        NEW.focal_length, NEW.aperture, NEW.shutter_speed, NEW.captured_at, NEW.size_bytes,
        NEW.perceptual_hash, NEW.version_id
    );
END;
CREATE TRIGGER images_of_lost_version
AFTER UPDATE OF gone_at, superseded_at ON image_versions
WHEN NEW.gone_at IS NOT NULL OR NEW.superseded_at IS NOT NULL
BEGIN
    DELETE FROM images WHERE version_id = NEW.version_id;
END;
-- Whoever deletes by hand may have foreign keys off.
CREATE TRIGGER images_of_deleted_version AFTER DELETE ON image_versions
BEGIN
    DELETE FROM images WHERE version_id = OLD.version_id;
END;
CREATE TRIGGER images_of_found_version
AFTER UPDATE OF gone_at, superseded_at ON image_versions
WHEN OLD.gone_at IS NOT NULL AND NEW.gone_at IS NULL AND NEW.superseded_at IS NULL AND NEW.sha256 IS NOT NULL
BEGIN
    INSERT INTO images (
        local_path, sha256_hash, camera_make, camera_model, focal_length, aperture, shutter_speed,
        taken_date, size_bytes, perceptual_hash, version_id
    ) VALUES (
        NEW.local_path, NEW.sha256, NEW.camera_make, NEW.camera_model,
        NEW.focal_length, NEW.aperture, NEW.shutter_speed, NEW.captured_at, NEW.size_bytes,
        NEW.perceptual_hash, NEW.version_id
    );
END;
CREATE TRIGGER images_of_changed_version
AFTER UPDATE OF local_path, sha256, perceptual_hash, size_bytes ON image_versions
WHEN NEW.gone_at IS NULL AND NEW.superseded_at IS NULL
    AND (NEW.local_path, NEW.sha256, NEW.perceptual_hash, NEW.size_bytes)
        IS NOT (OLD.local_path, OLD.sha256, OLD.perceptual_hash, OLD.size_bytes)
BEGIN
    UPDATE images SET local_path = NEW.local_path, sha256_hash = NEW.sha256,
        perceptual_hash = NEW.perceptual_hash, size_bytes = NEW.size_bytes
    WHERE version_id = NEW.version_id;
END;

INSERT INTO images (
    local_path, sha256_hash, camera_make, camera_model, focal_length, aperture, shutter_speed,
    taken_date, size_bytes, perceptual_hash, version_id
)
SELECT local_path, sha256, camera_make, camera_model, focal_length, aperture,
    shutter_speed, captured_at, size_bytes, perceptual_hash, version_id
FROM image_versions WHERE sha256 IS NOT NULL AND gone_at IS NULL AND superseded_at IS NULL;

PRAGMA user_version = 5;
COMMIT;
