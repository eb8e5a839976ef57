-- The shell of SQLite leaves foreign keys off. What hangs on a row that a person deletes or renames follows it
-- all the same: rows of nobody would be in the way of what syncd records next.
BEGIN IMMEDIATE;

CREATE TRIGGER public_site_batches_deleted AFTER DELETE ON public_site_batches BEGIN
    DELETE FROM scenes WHERE batch_name = old.batch_name;
END;
CREATE TRIGGER public_site_batches_renamed AFTER UPDATE OF batch_name ON public_site_batches
WHEN old.batch_name <> new.batch_name BEGIN
    UPDATE scenes SET batch_name = new.batch_name WHERE batch_name = old.batch_name;
END;
CREATE TRIGGER scenes_deleted AFTER DELETE ON scenes BEGIN
    DELETE FROM image_versions WHERE scene_id = old.scene_id;
END;
CREATE TRIGGER scenes_renamed AFTER UPDATE OF scene_id ON scenes WHEN old.scene_id <> new.scene_id BEGIN
    UPDATE image_versions SET scene_id = new.scene_id WHERE scene_id = old.scene_id;
END;
CREATE TRIGGER events_deleted AFTER DELETE ON events BEGIN
    UPDATE event_objects SET wanted = 0 WHERE event_id = old.event_id; -- what was published goes, too
    DELETE FROM event_wanted WHERE event_id = old.event_id;
    DELETE FROM synced_photos WHERE event_id = old.event_id;
    DELETE FROM forgotten WHERE event_id = old.event_id;
END;
CREATE TRIGGER synced_photos_deleted AFTER DELETE ON synced_photos BEGIN
    DELETE FROM faces WHERE event_id = old.event_id AND photo_id = old.photo_id;
END;
CREATE TRIGGER smugmug_albums_deleted AFTER DELETE ON smugmug_albums BEGIN
    DELETE FROM smugmug_album_photos WHERE album_id = old.id;
    DELETE FROM smugmug_reads WHERE album_id = old.id;
    UPDATE smugmug_photos SET album_id = NULL WHERE album_id = old.id;
END;
CREATE TRIGGER smugmug_photos_deleted AFTER DELETE ON smugmug_photos BEGIN
    DELETE FROM smugmug_album_photos WHERE photo_id = old.id;
    DELETE FROM ai_metadata WHERE photo_id = old.id;
END;
CREATE TRIGGER ai_metadata_deleted AFTER DELETE ON ai_metadata BEGIN
    DELETE FROM metadata_history WHERE metadata_id = old.id;
END;
CREATE TRIGGER images_deleted AFTER DELETE ON images BEGIN
    DELETE FROM image_tags WHERE image_id = old.id;
    DELETE FROM image_albums WHERE image_id = old.id;
    DELETE FROM image_collections WHERE image_id = old.id;
    UPDATE sync_files SET image_id = NULL WHERE image_id = old.id;
    UPDATE sync_export_files SET image_id = NULL WHERE image_id = old.id;
END;
CREATE TRIGGER tags_deleted AFTER DELETE ON tags BEGIN
    DELETE FROM image_tags WHERE tag_id = old.id;
END;
CREATE TRIGGER albums_deleted AFTER DELETE ON albums BEGIN
    DELETE FROM image_albums WHERE album_id = old.id;
END;
CREATE TRIGGER collections_deleted AFTER DELETE ON collections BEGIN
    DELETE FROM image_collections WHERE collection_id = old.id;
END;
CREATE TRIGGER sync_operations_deleted AFTER DELETE ON sync_operations BEGIN
    DELETE FROM sync_files WHERE operation_id = old.operation_id;
    UPDATE sync_export_lists SET operation_id = NULL WHERE operation_id = old.operation_id;
END;
CREATE TRIGGER sync_export_lists_deleted AFTER DELETE ON sync_export_lists BEGIN
    DELETE FROM sync_export_files WHERE list_id = old.list_id;
END;

-- What was left without its row before these triggers were there.
DELETE FROM scenes WHERE batch_name NOT IN (SELECT batch_name FROM public_site_batches);
DELETE FROM image_versions WHERE scene_id NOT IN (SELECT scene_id FROM scenes);

PRAGMA user_version = 9;
COMMIT;
