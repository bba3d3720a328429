-- Whether the demo's own triggers are here, so that its generator of sales may write.
SELECT to_regprocedure('public.emitir_resumen()') IS NOT NULL
