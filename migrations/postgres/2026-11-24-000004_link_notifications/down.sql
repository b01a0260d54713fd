DROP TRIGGER links_notify ON links;
DROP FUNCTION links_notify();
