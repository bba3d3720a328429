-- How far a reader may go: ask before reading, and again after it, outside the reader's snapshot.
-- → schema_version int, compatible_from int, epoch text, horizon bigint, epoch_tick bigint, last bigint (the newest tick)
select m.schema_version, m.compatible_from, m.epoch, m.horizon, m.epoch_tick,
       (select max(number) from notifiws.tick) as last
from notifiws.meta m
