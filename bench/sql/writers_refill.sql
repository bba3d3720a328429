-- Each round starts with the same rows, in a table without dead ones.
TRUNCATE {table} RESTART IDENTITY;
INSERT INTO {table} (nota, cantidad) SELECT {text}, 1 FROM generate_series(1, {rows});
