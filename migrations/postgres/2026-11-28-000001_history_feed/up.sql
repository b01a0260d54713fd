-- The history can be followed from its end: each entry carries its code, so that nothing has to be joined, and the
-- transaction that wrote it. Transactions end in another order than they begin in, so a reader compares snapshots; no
-- number drawn from a sequence could tell it what is still to come.

ALTER TABLE link_events ADD COLUMN code TEXT COLLATE "C", ADD COLUMN xact xid8;
ALTER TABLE link_events DISABLE TRIGGER link_events_guard;
UPDATE link_events e SET code = l.code FROM links l WHERE l.id = e.link_id;
ALTER TABLE link_events ENABLE TRIGGER link_events_guard;
ALTER TABLE link_events ALTER COLUMN code SET NOT NULL;
-- Older entries have none: no reader follows them any more.
ALTER TABLE link_events ALTER COLUMN xact SET DEFAULT pg_current_xact_id();

-- What was written since a snapshot.
CREATE INDEX link_events_xact_idx ON link_events (xact) WHERE xact IS NOT NULL;
