-- Codes of one or two characters, and with dots inside; targets of 32,768 bytes, of which the settings allow fewer.
-- Not validated: each row that is there has satisfied a stricter constraint, and a table of millions need not be locked
-- while it is read.

-- Whatever waits for this table waits with it: not for long. It is tried again.
SET LOCAL lock_timeout = '500ms';

ALTER TABLE links
    DROP CONSTRAINT links_code_check,
    DROP CONSTRAINT links_target_check,
    ADD CONSTRAINT links_code_check CHECK (octet_length(code) <= 64 AND code ~ '^[A-Za-z0-9_-]+([.][A-Za-z0-9_-]+)*$') NOT VALID,
    ADD CONSTRAINT links_target_check CHECK (octet_length(target) <= 32768 AND target ~ '^https?://[!-~]+$') NOT VALID;
