-- Changes inside changes. Postgres fires a statement's trigger after its rows' triggers, and the triggers of cascades once
-- for all of them; so a change made meanwhile to the same table is logged before the statement that it came after. The
-- outer capture then settles: it looks at what its rows have become, and logs that. In order, the events end at the table.

-- Whether this table was written inside a statement on it that is not over. Called by captures only inside triggers, or
-- when an inner one has left its note; the note holds for one client statement.
create or replace function notifiws.nested(target regclass) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    stamp text := statement_timestamp()::text || '@';
    note text := coalesce(current_setting('notifiws.nested', true), '');
    mark text := ' ' || target::oid || ' ';
begin
    if not starts_with(note, stamp) then
        note := stamp;
    end if;
    if position(mark in note) > 0 then
        return true;
    end if;
    if pg_trigger_depth() > 1 then
        perform set_config('notifiws.nested', note || mark, true);
    end if;
    return false;
end
$$;

-- Whether one statement may both update a row, setting a foreign key null, and delete it, following another.
create or replace function notifiws.cascades_mix(target regclass) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select exists (select from pg_constraint where conrelid = target and contype = 'f' and confdeltype = 'c')
       and exists (select from pg_constraint where conrelid = target and contype = 'f' and confdeltype in ('n', 'd'))
$$;

-- Whether each statement has to look again: after such cascades, which rows' triggers follow in their true order, and where
-- a key that went may still be there, in another row that had taken it before.
create or replace function notifiws.restless(target regclass, op text, mode text) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$ select op = 'UPDATE' and mode = 'statement' and notifiws.cascades_mix(target)
          or op in ('UPDATE', 'DELETE') and notifiws.key_deferrable(target) $$;

-- Equality of two rows' keys, by the operators of the key's own index. Null where a part has none (a key WITHOUT OVERLAPS).
create or replace function notifiws.same_key_sql(one text, other text, target regclass) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select case when count(*) = cardinality(notifiws.key_columns(target))
                then string_agg(format('%s.%I operator(%I.%s) %s.%I', one, k.name, s.nspname, o.oprname, other, k.name), ' and ') end
    from pg_index i
    cross join unnest(notifiws.key_columns(target)) with ordinality as k (name, place)
    join pg_opclass c on c.oid = i.indclass[k.place - 1]
    join pg_am m on m.oid = c.opcmethod and m.amname = 'btree'
    join pg_amop a on a.amopfamily = c.opcfamily and a.amoplefttype = c.opcintype and a.amoprighttype = c.opcintype
                  and a.amopstrategy = 3
    join pg_operator o on o.oid = a.amopopr
    join pg_namespace s on s.oid = o.oprnamespace
    where i.indrelid = target and i.indisprimary
$$;

-- Where a table's own rows are read: not those of tables that inherit from it, but all partitions'.
create or replace function notifiws.stored_sql(target regclass) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$ select case when notifiws.is_partitioned(target) then '' else 'only ' end || target::text $$;

-- The INSERT that logs what the rows of a statement have become since. Null without a key: then nothing can be looked up.
-- Here new is the row as it is now, and old as the statement wrote it; a condition is asked of these.
create or replace function notifiws.settle_sql(entry notifiws.watch_entry, op text) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    target regclass := entry.target;
    keys text[] := notifiws.key_columns(target);
    names text[] := notifiws.captured_columns(target, entry.columns);
    new_rows text := notifiws.source_sql(target, entry.mode, 'new', true);
    old_rows text := notifiws.source_sql(target, entry.mode, 'old', true);
    same text := notifiws.same_key_sql('new', 'old', target);
    place text := notifiws.free_prefix(target) || 'place';
    last text := notifiws.free_prefix(target) || 'last';
    passes text := case when entry.condition is null or op = 'TRUNCATE' then '' else format(E' and (%s\n)', entry.condition) end;
    written text;    -- rows that the statement wrote, last version of each key
    gone text;       -- rows that it took away, where the key is there again
    back text;
begin
    if same is null then
        return null;
    end if;
    written := format($sql$
        select case when new.ctid is null then 'delete' else 'update' end as op, %s as key,
               case when new.ctid is not null then %s end as new, case when new.ctid is null then %s else %s end as old
        from (select *, row_number() over (partition by %s order by %I desc) as %I
              from (select row_number() over () as %I, x.* from %s x) x) old
        left join %s new on %s
        where old.%I = 1 and (new.ctid is null or %s)%s$sql$,
        notifiws.object_sql('old', keys), notifiws.row_sql('new', target, entry.columns), notifiws.object_sql('old', names),
        notifiws.changed_sql('old', 'new', names, keys), (select string_agg(quote_ident(k), ', ') from unnest(keys) k), place, last,
        place, new_rows, notifiws.stored_sql(target), same, last, notifiws.differ_sql('new', 'old', names), passes);
    back := format('select ''insert'' as op, %s as key, %s as new, null::text as old from %s new cross join %s old where true',
                   notifiws.object_sql('new', keys), notifiws.row_sql('new', target, entry.columns), notifiws.stored_sql(target),
                   notifiws.no_row_sql(target)) || passes;
    gone := format('%s and exists (select from %s old where %s)', back, old_rows, same);
    return notifiws.log_sql(target, entry.channel, case op
        when 'INSERT' then written
        when 'DELETE' then gone
        when 'TRUNCATE' then back
        else written || ' union all ' || gone || format(' and not exists (select from %s old where %s)', new_rows, same) end);
end
$$;
