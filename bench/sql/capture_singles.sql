-- Microseconds a statement: an INSERT and an UPDATE of one row each, {rows} times, in one transaction.
CREATE OR REPLACE FUNCTION pg_temp.bench_singles(OUT insert_us float, OUT update_us float) LANGUAGE plpgsql AS $$
DECLARE
    texto text := repeat('n', {bytes});
    began timestamptz := clock_timestamp();
BEGIN
    FOR i IN 1 .. {rows} LOOP
        INSERT INTO bench_rows VALUES (i, texto, 1);
    END LOOP;
    insert_us := extract(epoch FROM clock_timestamp() - began) * 1e6 / {rows};
    began := clock_timestamp();
    FOR i IN 1 .. {rows} LOOP
        UPDATE bench_rows SET cantidad = 2 WHERE id = i;
    END LOOP;
    update_us := extract(epoch FROM clock_timestamp() - began) * 1e6 / {rows};
END
$$;
