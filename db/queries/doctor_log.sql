-- The log's state. → epoch text, slot_seconds int, broken text (null: whole), tick bigint, oldest float8: age in seconds of
-- the oldest tick that can be read whole, size bigint, outbox_partitions int, tick_partitions int
select m.epoch, m.slot_seconds, notifiws.log_broken() as broken,
       (select t.number from notifiws.tick t order by t.number desc limit 1) as tick,
       coalesce(extract(epoch from clock_timestamp() - (
           select t.at from notifiws.tick t where t.number > m.horizon order by t.number limit 1)), 0)::float8 as oldest,
       p.size, p.outbox_partitions, p.tick_partitions
from notifiws.meta m,
     (select coalesce(sum(pg_total_relation_size(inhrelid)), 0)::bigint as size,
             count(*) filter (where inhparent = 'notifiws.outbox'::regclass)::integer as outbox_partitions,
             count(*) filter (where inhparent = 'notifiws.tick'::regclass)::integer as tick_partitions
      from pg_inherits
      where inhparent in ('notifiws.outbox'::regclass, 'notifiws.tick'::regclass)) p
