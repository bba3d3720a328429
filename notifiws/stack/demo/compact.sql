-- Join the day's amounts that are settled; what others are still writing stays as it is.
WITH juntados AS (
    DELETE FROM ventas_dia WHERE ctid = ANY (ARRAY(SELECT ctid FROM ventas_dia FOR UPDATE SKIP LOCKED)) RETURNING *
)
INSERT INTO ventas_dia SELECT dia, sum(ventas), sum(importe) FROM juntados GROUP BY dia
