CREATE TABLE tasks (
    seq              INTEGER PRIMARY KEY AUTOINCREMENT, -- order of arrival
    id               TEXT    NOT NULL UNIQUE,
    state            TEXT    NOT NULL CHECK (state IN ('queued', 'running', 'completed', 'failed')),
    request          TEXT    NOT NULL,                  -- the valid request as JSON
    attempts         INTEGER NOT NULL DEFAULT 0,
    lease_owner      TEXT,                              -- the worker, for people
    lease_token      TEXT,                              -- drawn at each claim: only who has it may end the task
    lease_expires_at INTEGER,
    phase            TEXT,
    step             INTEGER,
    total_steps      INTEGER,
    error_code       TEXT,
    error_message    TEXT,
    result_file      TEXT,
    pipeline         TEXT,                              -- which stages made the result
    created_at       INTEGER NOT NULL,                  -- all times are UTC milliseconds
    started_at       INTEGER,
    finished_at      INTEGER
) STRICT;

CREATE INDEX tasks_by_state ON tasks (state, seq);
CREATE UNIQUE INDEX tasks_by_result ON tasks (result_file) WHERE result_file IS NOT NULL;

CREATE TABLE task_inputs (
    file TEXT NOT NULL PRIMARY KEY,
    task TEXT NOT NULL REFERENCES tasks (id) ON DELETE CASCADE
) STRICT;

CREATE INDEX task_inputs_by_task ON task_inputs (task);
