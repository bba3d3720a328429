-- $1 digest
update notifiws.meta set functions_digest = $1
