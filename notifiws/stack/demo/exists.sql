-- Whether any of the demo's tables is here: then none is created.
SELECT coalesce(to_regclass('public.tiendas'), to_regclass('public.productos'), to_regclass('public.stock'),
                to_regclass('public.ventas')) IS NOT NULL
