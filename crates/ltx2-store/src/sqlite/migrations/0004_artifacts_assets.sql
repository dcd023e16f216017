-- Output files. Rows of a running task are written before its files get their names.
CREATE TABLE artifacts (
    task     TEXT    NOT NULL REFERENCES tasks (id) ON DELETE CASCADE,
    number   INTEGER NOT NULL,                                           -- position among the task's outputs, from 0
    role     TEXT    NOT NULL,                                           -- video, thumbnail
    key      TEXT    NOT NULL UNIQUE,                                    -- name in the outputs folder
    mime     TEXT    NOT NULL,
    bytes    INTEGER NOT NULL,
    width    INTEGER,                                                    -- pixels
    height   INTEGER,                                                    -- pixels
    duration REAL,                                                       -- seconds
    PRIMARY KEY (task, number)
) STRICT, WITHOUT ROWID;

-- Bytes of both files were stored as one sum, which goes to the video.
INSERT INTO artifacts (task, number, role, key, mime, bytes)
    SELECT id, 0, 'video', result_file, 'video/mp4', coalesce(result_bytes, 0) FROM tasks
    WHERE result_file IS NOT NULL AND state IN ('running', 'completed');
INSERT INTO artifacts (task, number, role, key, mime, bytes)
    SELECT id, 1, 'thumbnail', thumbnail_file, 'image/jpeg', 0 FROM tasks
    WHERE result_file IS NOT NULL AND thumbnail_file IS NOT NULL AND state IN ('running', 'completed');

DROP INDEX tasks_by_result;
ALTER TABLE tasks DROP COLUMN result_file;
ALTER TABLE tasks DROP COLUMN thumbnail_file;
ALTER TABLE tasks DROP COLUMN result_bytes;

-- Uploads that outlive a task.
CREATE TABLE assets (
    id         TEXT    NOT NULL PRIMARY KEY,
    key        TEXT    NOT NULL UNIQUE,                                  -- name in the assets folder
    kind       TEXT    NOT NULL,                                         -- image, video, audio
    mime       TEXT    NOT NULL,
    bytes      INTEGER NOT NULL,
    owner      TEXT,
    created_at INTEGER NOT NULL,
    expires_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX assets_by_expiry ON assets (expires_at) WHERE expires_at IS NOT NULL;

-- Assets ('asset:ID') and results ('task:ID') that a queued or running task refers to; they are kept until it ends.
CREATE TABLE task_references (
    task   TEXT NOT NULL REFERENCES tasks (id) ON DELETE CASCADE,
    source TEXT NOT NULL,
    PRIMARY KEY (task, source)
) STRICT, WITHOUT ROWID;

CREATE INDEX task_references_by_source ON task_references (source);

-- Latest preview of a running task.
CREATE TABLE previews (
    task TEXT NOT NULL PRIMARY KEY REFERENCES tasks (id) ON DELETE CASCADE,
    jpeg BLOB NOT NULL
) STRICT;

ALTER TABLE tasks ADD COLUMN dialect TEXT;                               -- API dialect of the client
ALTER TABLE tasks ADD COLUMN owner TEXT;
ALTER TABLE tasks ADD COLUMN plan TEXT;                                  -- summary of the plan as JSON
ALTER TABLE tasks ADD COLUMN engine_crashes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tasks ADD COLUMN preview_wanted_until INTEGER;
ALTER TABLE tasks ADD COLUMN preview_number INTEGER NOT NULL DEFAULT 0;  -- of the current run; 0 without a preview
ALTER TABLE tasks ADD COLUMN webhook_leased_until INTEGER;

-- Cost in tokens x steps x passes, for expected times; 0 is unknown. The former unit cannot be converted.
ALTER TABLE tasks ADD COLUMN cost INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tasks DROP COLUMN work;

-- Queue positions are counted in this index alone.
DROP INDEX tasks_by_turn;
CREATE INDEX tasks_by_queue_order ON tasks (state, priority DESC, seq, cost);
CREATE INDEX tasks_by_completion ON tasks (finished_at DESC, started_at, cost) WHERE state = 'completed' AND cost > 0;
