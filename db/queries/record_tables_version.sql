-- A migration of the tables is done; the release's functions are not yet there. $1 its number, $2 compatible_from
update notifiws.meta set tables_version = $1, compatible_from = $2
