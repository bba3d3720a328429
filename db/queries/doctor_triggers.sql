-- Capture triggers that do not fire for every writer. → table text, name text, always boolean: of a watch that is always
select c.oid::regclass::text as table, quote_ident(t.tgname) as name, coalesce(w.always, false) as always
from pg_trigger t
join pg_class c on c.oid = t.tgrelid
join pg_proc p on p.oid = t.tgfoid
left join notifiws.watch_entry w on p.proname like 'capture\_' || w.id || '\_%'
where p.pronamespace = to_regnamespace('notifiws') and p.proname like 'capture\_%' and not t.tgisinternal
  and t.tgenabled not in ('O', 'A')
order by 1, 2
