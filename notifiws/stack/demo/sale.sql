-- One sale of one product in one shop, of what is in stock and in nobody else's hands: a transaction that somebody
-- leaves open on a stock does not stop the sales.
WITH elegido AS (
    SELECT s.tienda_id, s.producto_id, p.precio, least(s.cantidad, 1 + floor(random() * random() * 6)::int) AS cantidad
    FROM stock s JOIN productos p ON p.id = s.producto_id
    WHERE s.cantidad > 0
    -- Some things sell better than others.
    ORDER BY random() * (1 + (s.producto_id * 5 + s.tienda_id * 3) % 11)
    LIMIT 1
    FOR UPDATE OF s SKIP LOCKED
), retirado AS (
    UPDATE stock s SET cantidad = s.cantidad - e.cantidad
    FROM elegido e
    WHERE s.tienda_id = e.tienda_id AND s.producto_id = e.producto_id
    RETURNING s.tienda_id, s.producto_id, e.cantidad, e.precio
)
INSERT INTO ventas (tienda_id, producto_id, cantidad, total)
SELECT tienda_id, producto_id, cantidad, cantidad * precio FROM retirado
