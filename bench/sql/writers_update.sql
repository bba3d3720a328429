\set id random(1, {rows})
UPDATE {table} SET cantidad = cantidad + 1 WHERE id = :id;
