-- The summary channel: what the dashboard's first page shows, in one event, made in the seller's own transaction.
-- Each query below reads a handful of rows by index, so a sale pays well under a millisecond for it.
CREATE FUNCTION resumen() RETURNS jsonb LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
    SELECT jsonb_build_object(
        'sales_today', (SELECT coalesce(sum(ventas), 0) FROM ventas_dia WHERE dia = current_date),
        'revenue_today', (SELECT coalesce(sum(importe), 0.00)::text FROM ventas_dia WHERE dia = current_date),
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

-- SECURITY DEFINER: whoever sells needs no right to the sums, nor to emit.
CREATE FUNCTION contar_ventas() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF tg_op = 'TRUNCATE' THEN
        DELETE FROM ventas_dia;
    END IF;
    IF tg_op IN ('UPDATE', 'DELETE') THEN
        INSERT INTO ventas_dia SELECT creada::date, -count(*), -sum(total) FROM viejas GROUP BY 1;
    END IF;
    IF tg_op IN ('INSERT', 'UPDATE') THEN
        INSERT INTO ventas_dia SELECT creada::date, count(*), sum(total) FROM nuevas GROUP BY 1;
    END IF;
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

-- Transition tables want a trigger for each event. Triggers fire in the order of their names: first the sums, then the
-- summary, which has them.
CREATE TRIGGER contar_altas AFTER INSERT ON ventas
    REFERENCING NEW TABLE AS nuevas FOR EACH STATEMENT EXECUTE FUNCTION contar_ventas();
CREATE TRIGGER contar_bajas AFTER DELETE ON ventas
    REFERENCING OLD TABLE AS viejas FOR EACH STATEMENT EXECUTE FUNCTION contar_ventas();
CREATE TRIGGER contar_cambios AFTER UPDATE ON ventas
    REFERENCING OLD TABLE AS viejas NEW TABLE AS nuevas FOR EACH STATEMENT EXECUTE FUNCTION contar_ventas();
CREATE TRIGGER contar_vaciado AFTER TRUNCATE ON ventas FOR EACH STATEMENT EXECUTE FUNCTION contar_ventas();
CREATE TRIGGER resumen AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON ventas
    FOR EACH STATEMENT EXECUTE FUNCTION emitir_resumen();
CREATE TRIGGER resumen AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON stock
    FOR EACH STATEMENT EXECUTE FUNCTION emitir_resumen();
