INSERT INTO bench_usual (seq, nota) VALUES ($1, $2)
