INSERT INTO bench_latency (seq, nota) VALUES ($1, $2)
