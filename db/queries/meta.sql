-- Which history this is, and whether it can be gone on with.
-- → schema_version int, compatible_from int, epoch text, system_identifier text, in_recovery boolean, broken text (null: whole)
select schema_version, compatible_from, epoch, system_identifier, pg_is_in_recovery() as in_recovery,
       notifiws.log_broken() as broken
from notifiws.meta
