-- $1 schema_version, $2 compatible_from
update notifiws.meta set schema_version = $1, compatible_from = $2
