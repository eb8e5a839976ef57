-- A job without a result yet: SQLite before 3.41 calls NULL no valid JSON, so that its integrity_check found
-- fault with each job that waits or runs.
BEGIN IMMEDIATE;

PRAGMA writable_schema = ON;
UPDATE sqlite_schema SET sql = replace(sql, 'CHECK (json_valid(result))', 'CHECK (result IS NULL OR json_valid(result))')
    WHERE type = 'table' AND name = 'jobs';
PRAGMA writable_schema = RESET;

PRAGMA user_version = 8;
COMMIT;
