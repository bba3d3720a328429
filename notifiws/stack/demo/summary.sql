-- The summary channel: what the dashboard's first page shows, in one event, made in the seller's own transaction.
-- Each query below reads a handful of rows by index, so a sale pays well under a millisecond for it.
CREATE FUNCTION resumen() RETURNS jsonb LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
    SELECT jsonb_build_object(
        'sales_today', coalesce((SELECT ventas FROM ventas_dia WHERE dia = current_date), 0),
        'revenue_today', coalesce((SELECT importe FROM ventas_dia WHERE dia = current_date), 0.00)::text,
        'latest', coalesce((
            SELECT jsonb_agg(to_jsonb(ultimas) ORDER BY id DESC)
            FROM (
                SELECT v.id, p.nombre AS producto, t.nombre AS tienda, v.cantidad, v.total::text AS total, v.creada
                FROM (SELECT * FROM ventas ORDER BY id DESC LIMIT 10) v
                JOIN productos p ON p.id = v.producto_id
                JOIN tiendas t ON t.id = v.tienda_id
            ) ultimas), '[]'),
        'low_stock', coalesce((
            SELECT jsonb_agg(to_jsonb(bajo) ORDER BY cantidad, producto, tienda)
            FROM (
                SELECT s.tienda_id, s.producto_id, p.nombre AS producto, t.nombre AS tienda, s.cantidad, s.minimo
                FROM stock s
                JOIN productos p ON p.id = s.producto_id
                JOIN tiendas t ON t.id = s.tienda_id
                WHERE s.cantidad < s.minimo
                ORDER BY s.cantidad, p.nombre, t.nombre
                LIMIT 20
            ) bajo), '[]'))
$$;

-- SECURITY DEFINER: whoever sells needs no right to emit.
CREATE FUNCTION contar_ventas() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO ventas_dia AS d (dia, ventas, importe)
    SELECT creada::date, count(*), sum(total) FROM nuevas GROUP BY 1 ORDER BY 1
    ON CONFLICT (dia) DO UPDATE SET ventas = d.ventas + excluded.ventas, importe = d.importe + excluded.importe;
    RETURN NULL;
END
$$;

CREATE FUNCTION emitir_resumen() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM notifiws.emit('summary', resumen());
    RETURN NULL;
END
$$;

CREATE TRIGGER contar AFTER INSERT ON ventas
    REFERENCING NEW TABLE AS nuevas FOR EACH STATEMENT EXECUTE FUNCTION contar_ventas();
-- Triggers fire in the order of their names: the sums are there before the summary is made.
CREATE TRIGGER resumen AFTER INSERT ON ventas FOR EACH STATEMENT EXECUTE FUNCTION emitir_resumen();
CREATE TRIGGER resumen AFTER UPDATE ON stock FOR EACH STATEMENT EXECUTE FUNCTION emitir_resumen();
