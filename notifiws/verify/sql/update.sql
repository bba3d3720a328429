-- The next version of rows $1, with note $2.
update notifiws_verify.{table}
set version = version + 1, stamp = nextval('notifiws_verify.stamp'), note = $2
where id = any ($1::bigint[])
