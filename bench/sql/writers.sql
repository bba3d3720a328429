-- Four tables alike: without a trigger, watched twice over (with a relay and without one), and with the usual trigger.
CREATE TABLE bench_bare (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, nota text NOT NULL, cantidad int NOT NULL);
CREATE TABLE bench_awake (LIKE bench_bare INCLUDING ALL);
CREATE TABLE bench_alone (LIKE bench_bare INCLUDING ALL);
CREATE TABLE bench_notify (LIKE bench_bare INCLUDING ALL);

SELECT notifiws.watch('bench_awake', 'bench-awake');
SELECT notifiws.watch('bench_alone', 'bench-alone');

CREATE FUNCTION bench_tell() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('usual_channel', row_to_json(NEW)::text);
    RETURN NEW;
END
$$;
CREATE TRIGGER bench_tell AFTER INSERT OR UPDATE ON bench_notify FOR EACH ROW EXECUTE FUNCTION bench_tell();
