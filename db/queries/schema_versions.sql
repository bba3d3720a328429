-- → schema_version int, compatible_from int
select schema_version, compatible_from from notifiws.meta
