-- A delivery fills what is low in one shop: alerts vanish.
WITH pedido AS (
    SELECT tienda_id, producto_id FROM stock
    WHERE cantidad < minimo AND tienda_id = (
        SELECT tienda_id FROM stock WHERE cantidad < minimo GROUP BY 1 ORDER BY count(*) DESC, random() LIMIT 1)
    FOR UPDATE SKIP LOCKED
)
UPDATE stock s SET cantidad = minimo + 8 + floor(random() * 20)::int
FROM pedido p WHERE s.tienda_id = p.tienda_id AND s.producto_id = p.producto_id
