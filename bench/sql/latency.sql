-- The same table as the peer's, watched instead of triggered by hand.
CREATE TABLE IF NOT EXISTS bench_latency (seq bigint PRIMARY KEY, nota text NOT NULL);

SELECT notifiws.watch('bench_latency', 'bench-latency');
