-- Delete rows $1.
delete from notifiws_verify.{table} where id = any ($1::bigint[])
