-- Fails if there are links that only the wider constraints allow.

ALTER TABLE links
    DROP CONSTRAINT links_code_check,
    DROP CONSTRAINT links_target_check,
    ADD CONSTRAINT links_code_check CHECK (code ~ '^[A-Za-z0-9_-]{3,64}$'),
    ADD CONSTRAINT links_target_check CHECK (octet_length(target) <= 2048 AND target ~ '^https?://[!-~]+$');
