-- Events by where log_keys found them. $1 tx text[], $2 id bigint[]. → as tick_rows_wide, by id
select o.id, o.tx::text as tx, o.channel, o.op, o.source, o.key, o.new, o.old, o.payload, o.is_json, o.at
from unnest($1::text[]::xid8[], $2::bigint[]) k (tx, id)
join notifiws.outbox o on o.tx = k.tx and o.id = k.id
order by o.id
