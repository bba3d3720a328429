CREATE TABLE bench_bulk (seq bigint PRIMARY KEY, nota text NOT NULL);
CREATE TABLE bench_bulk_bare (LIKE bench_bulk INCLUDING ALL);

SELECT notifiws.watch('bench_bulk', 'bench-bulk');
