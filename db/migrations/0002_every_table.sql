-- Capture for every table and writer, live queries, and the log's guard. Each section is one of them.
do $$ begin end $$;  -- so that the file is a statement while it has no section
