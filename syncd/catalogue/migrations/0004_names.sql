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

-- A list of albums that was fetched before a rename and is recorded after it does not bring the old name back.
CREATE TRIGGER album_name_came_late AFTER UPDATE OF title ON smugmug_albums
WHEN new.album_updated < old.album_updated AND new.title <> old.title BEGIN
    UPDATE smugmug_albums SET title = old.title, album_updated = old.album_updated WHERE id = new.id;
END;

-- What a person knows of an album wins over what a model saw.
CREATE TABLE album_name_hints (
    album_key TEXT NOT NULL PRIMARY KEY,
    teams TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(teams)),
    event TEXT NOT NULL DEFAULT '',
    sport TEXT NOT NULL DEFAULT '',
    updated_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
) STRICT, WITHOUT ROWID;

-- What the mirror still has to be told: a photo in an album, or (photo_id 0) an album's name. One row each,
-- however often it changes; `version` rises with each change, so that one that comes while the row is on its
-- way is not lost.
CREATE TABLE mirror_queue (
    album_id INTEGER NOT NULL,
    photo_id INTEGER NOT NULL,
    version INTEGER NOT NULL DEFAULT 1,
    error TEXT,                         -- why Postgres did not take it
    retry_at TEXT,                      -- and when it is asked again
    PRIMARY KEY (album_id, photo_id)
) STRICT, WITHOUT ROWID;

-- What the mirror has: a digest of each row as Postgres gave it back when it was written.
CREATE TABLE mirror_rows (
    album_id INTEGER NOT NULL,
    photo_id INTEGER NOT NULL,
    digest INTEGER NOT NULL,
    PRIMARY KEY (album_id, photo_id)
) STRICT, WITHOUT ROWID;

-- The mirror as it was last seen: one row.
CREATE TABLE mirror_state (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    identity TEXT,                      -- which database and table
    last_success_at TEXT,
    compared_at TEXT,
    compared_sync TEXT                  -- smugmug_account.last_sync as it was then
) STRICT;
INSERT INTO mirror_state (id) VALUES (1);

-- Marks, in the transaction that changes what the mirror shows, whoever changes it.
CREATE VIEW mirror_marks AS SELECT album_id, photo_id FROM mirror_queue;
CREATE TRIGGER mirror_marks_made INSTEAD OF INSERT ON mirror_marks BEGIN
    INSERT INTO mirror_queue (album_id, photo_id) VALUES (new.album_id, new.photo_id)
    ON CONFLICT DO UPDATE SET version = version + 1, error = NULL, retry_at = NULL;
END;
CREATE TRIGGER mirror_photo_came AFTER INSERT ON smugmug_album_photos BEGIN
    INSERT INTO mirror_marks VALUES (new.album_id, new.photo_id);
END;
CREATE TRIGGER mirror_photo_left AFTER DELETE ON smugmug_album_photos BEGIN
    INSERT INTO mirror_marks VALUES (old.album_id, old.photo_id);
END;
CREATE TRIGGER mirror_photo_changed AFTER UPDATE OF
    filename, title, caption, keywords, date_taken, thumbnail_url, large_url, original_url, width, height,
    removed_at
ON smugmug_photos WHEN (
    old.filename, old.title, old.caption, old.keywords, old.date_taken, old.thumbnail_url, old.large_url,
    old.original_url, old.width, old.height, old.removed_at
) IS NOT (
    new.filename, new.title, new.caption, new.keywords, new.date_taken, new.thumbnail_url, new.large_url,
    new.original_url, new.width, new.height, new.removed_at
) BEGIN
    INSERT INTO mirror_marks SELECT album_id, photo_id FROM smugmug_album_photos WHERE photo_id = new.id;
END;
CREATE TRIGGER mirror_album_renamed AFTER UPDATE OF title ON smugmug_albums WHEN old.title <> new.title BEGIN
    INSERT INTO mirror_marks VALUES (new.id, 0);
END;
CREATE TRIGGER mirror_album_removed AFTER UPDATE OF removed_at ON smugmug_albums
WHEN old.removed_at IS NOT new.removed_at BEGIN
    INSERT INTO mirror_marks SELECT album_id, photo_id FROM smugmug_album_photos WHERE album_id = new.id;
END;
-- Of a description only what is approved is shown.
CREATE TRIGGER mirror_description_made AFTER INSERT ON ai_metadata WHEN new.approved BEGIN
    INSERT INTO mirror_marks SELECT album_id, photo_id FROM smugmug_album_photos WHERE photo_id = new.photo_id;
END;
CREATE TRIGGER mirror_description_changed AFTER UPDATE OF
    approved, ai_description, ai_tags, ai_categories, teams, event, sport, confidence_score, embedding
ON ai_metadata WHEN (old.approved OR new.approved) AND (
    old.approved, old.ai_description, old.ai_tags, old.ai_categories, old.teams, old.event, old.sport,
    old.confidence_score, old.embedding
) IS NOT (
    new.approved, new.ai_description, new.ai_tags, new.ai_categories, new.teams, new.event, new.sport,
    new.confidence_score, new.embedding
) BEGIN
    INSERT INTO mirror_marks SELECT album_id, photo_id FROM smugmug_album_photos WHERE photo_id = new.photo_id;
END;
CREATE TRIGGER mirror_description_gone AFTER DELETE ON ai_metadata WHEN old.approved BEGIN
    INSERT INTO mirror_marks SELECT album_id, photo_id FROM smugmug_album_photos WHERE photo_id = old.photo_id;
END;
CREATE TRIGGER mirror_hint_made AFTER INSERT ON album_name_hints WHEN new.sport <> '' BEGIN
    INSERT INTO mirror_marks SELECT l.album_id, l.photo_id FROM smugmug_album_photos l
    JOIN smugmug_albums a ON a.id = l.album_id WHERE a.album_key = new.album_key;
END;
CREATE TRIGGER mirror_hint_changed AFTER UPDATE OF sport ON album_name_hints WHEN old.sport <> new.sport BEGIN
    INSERT INTO mirror_marks SELECT l.album_id, l.photo_id FROM smugmug_album_photos l
    JOIN smugmug_albums a ON a.id = l.album_id WHERE a.album_key = new.album_key;
END;
CREATE TRIGGER mirror_hint_gone AFTER DELETE ON album_name_hints WHEN old.sport <> '' BEGIN
    INSERT INTO mirror_marks SELECT l.album_id, l.photo_id FROM smugmug_album_photos l
    JOIN smugmug_albums a ON a.id = l.album_id WHERE a.album_key = old.album_key;
END;

PRAGMA user_version = 4;
COMMIT;
