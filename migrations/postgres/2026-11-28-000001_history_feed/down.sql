DROP INDEX link_events_xact_idx;
ALTER TABLE link_events DROP COLUMN xact, DROP COLUMN code;
