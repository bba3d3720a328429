-- Whether the tables are those of a release whose sellers made the summary themselves.
SELECT to_regprocedure('public.emitir_resumen()') IS NOT NULL AND to_regclass('public.ventas_dia') IS NOT NULL
