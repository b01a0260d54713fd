-- Nothing to do: one process has the file, and knows of its own changes. The name is there so that both databases
-- count the same steps.
SELECT 1;
