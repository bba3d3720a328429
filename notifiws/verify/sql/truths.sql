-- The audit trail, in the order of the changes.
select number, tx::text::bigint, (extract(epoch from statement) * 1000000)::bigint, snapshot::text, channel, op, stamp,
       row_id, version, size
from notifiws_verify.audit
order by number
