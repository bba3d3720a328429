INSERT INTO {table} (nota, cantidad) VALUES ({text}, 1);
