-- Links that only the wider constraints allow stay as they are. A release that knows none leaves them out.

-- Whatever waits for this table waits with it: not for long. It is tried again.
SET LOCAL lock_timeout = '500ms';

ALTER TABLE links
    DROP CONSTRAINT links_code_check,
    DROP CONSTRAINT links_target_check,
    ADD CONSTRAINT links_code_check CHECK (code ~ '^[A-Za-z0-9_-]{3,64}$') NOT VALID,
    ADD CONSTRAINT links_target_check CHECK (octet_length(target) <= 2048 AND target ~ '^https?://[!-~]+$') NOT VALID;
