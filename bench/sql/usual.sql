-- What the usual way needs in the database: a table and a row trigger that sends the new row.
CREATE TABLE IF NOT EXISTS bench_usual (seq bigint PRIMARY KEY, nota text NOT NULL);

CREATE OR REPLACE FUNCTION bench_notify() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify('usual_channel', row_to_json(NEW)::text);
  RETURN NEW;
END
$$;

CREATE OR REPLACE TRIGGER bench_notify AFTER INSERT ON bench_usual FOR EACH ROW EXECUTE FUNCTION bench_notify();
