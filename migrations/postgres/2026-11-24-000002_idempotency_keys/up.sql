-- Answers of requests that carried an Idempotency-Key, kept for 24 hours.

CREATE TABLE idempotency_keys (
    actor       TEXT        COLLATE "C" NOT NULL,
    key         TEXT        COLLATE "C" NOT NULL,
    fingerprint BYTEA       NOT NULL,
    answer      TEXT        NOT NULL,
    recorded_at TIMESTAMPTZ NOT NULL,
    -- What repetitions of one request race on.
    CONSTRAINT idempotency_keys_pkey PRIMARY KEY (actor, key),
    CONSTRAINT idempotency_keys_key_check CHECK (char_length(key) BETWEEN 1 AND 255),
    CONSTRAINT idempotency_keys_fingerprint_check CHECK (octet_length(fingerprint) = 32)
);

-- Forgetting what is older than a day.
CREATE INDEX idempotency_keys_recorded_idx ON idempotency_keys (recorded_at);
