-- Capture triggers that do not fire for every writer. → watched text, channel text: the watch; table text: of it or of one
-- of its partitions, name text, always boolean
select w.name as watched, w.channel, t.tgrelid::regclass::text as table, quote_ident(t.tgname) as name, w.always
from notifiws.watched w
join pg_trigger t on t.tgfoid in (select notifiws.capture_functions(w.id))
where t.tgenabled not in ('O', 'A')
order by 1, 2, 3, 4
