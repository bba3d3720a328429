-- Give row $1 another key. → the new one
update notifiws_verify.{table}
set id = nextval('notifiws_verify.row_id'), version = version + 1, stamp = nextval('notifiws_verify.stamp')
where id = $1
returning id
