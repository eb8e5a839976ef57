-- What events wait for: their folder, and their faces. Times are RFC 3339 in UTC with milliseconds.
BEGIN IMMEDIATE;

ALTER TABLE events ADD COLUMN blocked_at TEXT; -- since when `blocked` holds
CREATE INDEX synced_photos_unindexed ON synced_photos (event_id, photo_id)
    WHERE faces_indexed = 0 AND removed_at IS NULL;

PRAGMA user_version = 7;
COMMIT;
