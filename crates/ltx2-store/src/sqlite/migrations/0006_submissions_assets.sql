-- Submissions without a key that a client repeats are found by their content.
CREATE INDEX tasks_by_fingerprint ON tasks (fingerprint, created_at) WHERE idempotency_key IS NULL;

-- No released version created assets.
DELETE FROM assets;
ALTER TABLE assets ADD COLUMN name TEXT;                                 -- file name that the client gave
ALTER TABLE assets ADD COLUMN media TEXT NOT NULL DEFAULT '';            -- properties of the content as JSON
