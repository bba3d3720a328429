-- $1 rows of version 0, with note $2. → their ids
insert into notifiws_verify.{table} (id, version, stamp, note)
select nextval('notifiws_verify.row_id'), 0, nextval('notifiws_verify.stamp'), $2 from generate_series(1, $1::int)
returning id
