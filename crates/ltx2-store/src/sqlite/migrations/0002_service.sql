-- What a task is given beside its request.
ALTER TABLE tasks ADD COLUMN priority INTEGER NOT NULL DEFAULT 0;        -- higher goes first
ALTER TABLE tasks ADD COLUMN work INTEGER NOT NULL DEFAULT 0;            -- pixels x frames x steps, to guess times by
ALTER TABLE tasks ADD COLUMN idempotency_key TEXT;
ALTER TABLE tasks ADD COLUMN fingerprint TEXT;                           -- of what came with that key
-- What becomes of it.
ALTER TABLE tasks ADD COLUMN cancel_requested INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tasks ADD COLUMN thumbnail_file TEXT;
ALTER TABLE tasks ADD COLUMN result_bytes INTEGER;                       -- of the result's files together
-- Who is told at its end.
ALTER TABLE tasks ADD COLUMN webhook_url TEXT;
ALTER TABLE tasks ADD COLUMN webhook_base TEXT;                          -- the front of URLs as its client knows it
ALTER TABLE tasks ADD COLUMN webhook_attempts INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tasks ADD COLUMN webhook_due_at INTEGER;                     -- when to call next; NULL when there is nothing to do

CREATE UNIQUE INDEX tasks_by_idempotency_key ON tasks (idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX tasks_by_turn ON tasks (priority DESC, seq) WHERE state = 'queued';
CREATE INDEX tasks_by_end ON tasks (finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX tasks_by_webhook ON tasks (webhook_due_at) WHERE webhook_due_at IS NOT NULL;

CREATE TABLE task_events (
    task        TEXT    NOT NULL REFERENCES tasks (id) ON DELETE CASCADE,
    number      INTEGER NOT NULL,                                        -- 1 is the task's first
    kind        TEXT    NOT NULL,
    phase       TEXT,
    step        INTEGER,
    total_steps INTEGER,
    at          INTEGER NOT NULL,
    PRIMARY KEY (task, number)
) STRICT, WITHOUT ROWID;
