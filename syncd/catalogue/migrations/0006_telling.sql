-- Telling people by mail, and being told by Google that something changed.
-- Times are RFC 3339 in UTC with milliseconds.
BEGIN IMMEDIATE;

-- What needs a person now, and whether a person was told of it.
CREATE TABLE attention (
    what TEXT NOT NULL PRIMARY KEY,
    state TEXT NOT NULL,
    reason TEXT NOT NULL,
    seen INTEGER NOT NULL CHECK (seen IN (0, 1)), -- 1: found by looking, 0: said by the part that it is about
    since TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    told INTEGER NOT NULL DEFAULT 0 CHECK (told IN (0, 1))
) STRICT, WITHOUT ROWID;

-- Whether people were told that the event has the photo.
ALTER TABLE synced_photos ADD COLUMN announced INTEGER NOT NULL DEFAULT 0 CHECK (announced IN (0, 1));
CREATE INDEX synced_photos_new ON synced_photos (event_id, synced_at) WHERE announced = 0 AND removed_at IS NULL;
CREATE INDEX synced_photos_indexed ON synced_photos (event_id) WHERE faces_indexed = 1 AND removed_at IS NULL;

-- Channels on which Google says that a feed has something new. Written before Google is asked for one.
CREATE TABLE drive_channels (
    channel_id TEXT NOT NULL PRIMARY KEY,
    account TEXT NOT NULL,
    drive_id TEXT NOT NULL,             -- '': the account's own log
    address TEXT NOT NULL,
    token_sha256 TEXT NOT NULL,         -- of what Google has to show
    resource_id TEXT,                   -- NULL: Google has not answered yet
    expires_at_ms INTEGER               -- Unix time
) STRICT, WITHOUT ROWID;

PRAGMA user_version = 6;
COMMIT;
