SELECT count(*) FROM stock WHERE cantidad < minimo
