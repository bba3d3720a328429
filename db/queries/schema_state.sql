-- How the schema stands, for migrate. Older schemas lack columns, hence by JSON. → schema_version int,
-- compatible_from int, tables_version int, functions_digest text, captures_digest text
select m.schema_version, m.compatible_from,
       coalesce((to_jsonb(m) ->> 'tables_version')::integer, m.schema_version) as tables_version,
       m.functions_digest, to_jsonb(m) ->> 'captures_digest' as captures_digest
from notifiws.meta m
