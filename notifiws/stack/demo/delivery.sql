-- A delivery fills what is low in one shop: alerts vanish.
UPDATE stock SET cantidad = minimo + 8 + floor(random() * 20)::int
WHERE cantidad < minimo AND tienda_id = (
    SELECT tienda_id FROM stock WHERE cantidad < minimo GROUP BY 1 ORDER BY count(*) DESC, random() LIMIT 1)
