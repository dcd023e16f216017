-- Submissions without a key that a client repeats are found by their content.
CREATE INDEX tasks_by_fingerprint ON tasks (fingerprint, created_at) WHERE idempotency_key IS NULL;
