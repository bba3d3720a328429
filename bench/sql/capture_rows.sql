-- A table to be written row by row, and by how many channels it is watched.
DROP TABLE IF EXISTS bench_rows;
CREATE TABLE bench_rows (id bigint PRIMARY KEY, nota text STORAGE EXTERNAL NOT NULL, cantidad int NOT NULL);

SELECT notifiws.watch('bench_rows', 'bench-rows-' || g) FROM generate_series(1, {watches}) g;
