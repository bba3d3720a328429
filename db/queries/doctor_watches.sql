-- What notifiws.watches says, all its columns, and which of the tables' columns there are. → …, present text[]
select w.*, array(select a.attname::text from pg_attribute a
                  where a.attrelid = to_regclass(w.table) and a.attnum > 0 and not a.attisdropped) as present
from notifiws.watches w
order by w.table, w.channel
