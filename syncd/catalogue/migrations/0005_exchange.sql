-- Exchange between archives: every file that syncd holds in the shape of an indafoto.db, and the records of
-- what was asked for, sent and taken.
BEGIN IMMEDIATE;

PRAGMA user_version = 5;
COMMIT;
