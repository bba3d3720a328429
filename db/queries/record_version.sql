-- Tables and functions are this release's, capture functions not yet. $1 schema_version, $2 compatible_from, $3 digest
update notifiws.meta
set schema_version = $1, tables_version = $1, compatible_from = $2, functions_digest = $3, captures_digest = null
