INSERT INTO {table} (seq, nota) SELECT g, $3 FROM generate_series($1::bigint, $1::bigint + $2::int - 1) g
