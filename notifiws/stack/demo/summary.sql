-- The summary channel: what the dashboard's first page shows, as one row. A live query: no seller pays for it but one
-- small row, none waits for another, and at midnight the day begins anew. The day is that of the database's time zone.
SELECT notifiws.live_query('summary', format($query$
    SELECT today.*, latest.*, low_stock.*
    FROM (
        SELECT count(*) AS sales_today, coalesce(sum(total), 0.00)::text AS revenue_today
        FROM public.ventas WHERE creada >= date_trunc('day', now(), %L)
    ) today, (
        SELECT coalesce(jsonb_agg(to_jsonb(ultimas) ORDER BY id DESC), '[]') AS latest
        FROM (
            SELECT v.id, p.nombre AS producto, t.nombre AS tienda, v.cantidad, v.total::text AS total, v.creada
            FROM (SELECT * FROM public.ventas ORDER BY id DESC LIMIT 10) v
            JOIN public.productos p ON p.id = v.producto_id
            JOIN public.tiendas t ON t.id = v.tienda_id
        ) ultimas
    ) latest, (
        SELECT coalesce(jsonb_agg(to_jsonb(bajo) ORDER BY cantidad, producto, tienda), '[]') AS low_stock
        FROM (
            SELECT s.tienda_id, s.producto_id, p.nombre AS producto, t.nombre AS tienda, s.cantidad, s.minimo
            FROM public.stock s
            JOIN public.productos p ON p.id = s.producto_id
            JOIN public.tiendas t ON t.id = s.tienda_id
            WHERE s.cantidad < s.minimo
            ORDER BY s.cantidad, p.nombre, t.nombre
            LIMIT 20
        ) bajo
    ) low_stock$query$, current_setting('TimeZone')),
    depends_on => '{ventas,stock,productos,tiendas}', throttle => '100 ms', every => '1 minute');

-- How a later `up` knows these tables for its own.
COMMENT ON TABLE ventas IS 'notifiws demo';
