-- Who made and who revoked each API key, and keys that may do nothing but claim links.

ALTER TABLE api_keys ADD COLUMN created_by TEXT NOT NULL DEFAULT 'system';
ALTER TABLE api_keys ADD COLUMN revoked_by TEXT;
