-- Adopted NOTIFY channels. → pg_channel text, channel text, named boolean: some function's source has that name
select a.pg_channel, a.channel,
       exists (select from pg_proc p where p.pronamespace <> 'pg_catalog'::regnamespace
                 and strpos(p.prosrc, a.pg_channel) > 0) as named
from notifiws.adopted a
order by 1
