-- Whether the demo made these tables, so that its generator of sales may write.
SELECT to_regprocedure('public.emitir_resumen()') IS NOT NULL
       OR obj_description(to_regclass('public.ventas'), 'pg_class') IS NOT DISTINCT FROM 'notifiws demo'
