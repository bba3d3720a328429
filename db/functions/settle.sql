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

-- Equality of two rows' keys, by the operators of the key's own index.
create or replace function notifiws.same_key_sql(one text, other text, target regclass) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select string_agg(format('%s.%I operator(%I.%s) %s.%I', one, k.name, s.nspname, o.oprname, other, k.name), ' and ')
    from pg_index i
    cross join unnest(notifiws.key_columns(target)) with ordinality as k (name, place)
    join pg_opclass c on c.oid = i.indclass[k.place - 1]
    join pg_amop a on a.amopfamily = c.opcfamily and a.amoplefttype = c.opcintype and a.amoprighttype = c.opcintype
                  and a.amopstrategy = 3
    join pg_operator o on o.oid = a.amopopr
    join pg_namespace s on s.oid = o.oprnamespace
    where i.indrelid = target and i.indisprimary
$$;

-- The INSERT that logs what the rows of a statement have become since. Null without a key: then nothing can be looked up.
create or replace function notifiws.settle_sql(target regclass, channel text, chosen text[], op text) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    keys text[] := notifiws.key_columns(target);
    names text[] := notifiws.captured_columns(target, chosen);
    columns text;
    written text;    -- rows that the statement wrote, last version of each key
    gone text;       -- rows that it took away, where the key is there again
    key_now text;
    key_written text;
    row_now text := notifiws.row_sql('c', target, chosen);
    row_written text;
    diff text;
    wrote text;
begin
    if keys is null then
        return null;
    end if;
    select string_agg(format('n.%I', k), ', ') into columns from unnest(keys) k;
    select format('''{'' || %s || ''}''', notifiws.members_sql(array_agg(notifiws.member_sql('c', k) order by place))),
           format('''{'' || %s || ''}''', notifiws.members_sql(array_agg(notifiws.member_sql('n', k) order by place)))
    into key_now, key_written from unnest(keys) with ordinality as u (k, place);
    select format('''{'' || %s || ''}''', notifiws.members_sql(array_agg(notifiws.member_sql('n', c) order by place))),
           format('''{'' || %s || ''}''', notifiws.members_sql(array_agg(
               case when c = any (keys) then notifiws.member_sql('n', c)
                    else format('case when record_image_ne(row(n.%I), row(c.%I)) then %s end', c, c, notifiws.member_sql('n', c)) end
               order by place))),
           string_agg(format('record_image_ne(row(n.%I), row(c.%I))', c, c), ' or ')
    into row_written, diff, wrote
    from unnest(names) with ordinality as u (c, place);
    written := format(replace($sql$
        select case when c.ctid is null then 'delete' else 'update' end as op, %s as key, case when c.ctid is not null then %s end as new,
               case when c.ctid is null then %s else %s end as old
        from (select *, row_number() over (partition by %s order by "notifiws#" desc) as "notifiws#last"
              from (select row_number() over () as "notifiws#", n.* from notifiws_new n) n) n
        left join only %s c on %s
        where "notifiws#last" = 1 and (c.ctid is null or %s)$sql$, 'notifiws#', notifiws.free_prefix(target)),
        key_written, row_now, row_written, diff, columns, target, notifiws.same_key_sql('n', 'c', target), coalesce(wrote, 'false'));
    gone := format($sql$
        select 'insert' as op, %s as key, %s as new, null::text as old
        from only %s c
        where exists (select from notifiws_old o where %s)$sql$,
        key_now, row_now, target, notifiws.same_key_sql('o', 'c', target));
    return notifiws.log_sql(target, channel, case op
        when 'INSERT' then written
        when 'DELETE' then gone
        when 'TRUNCATE' then format('select ''insert'' as op, %s as key, %s as new, null::text as old from only %s c', key_now, row_now, target)
        else written || ' union all ' || gone || format(' and not exists (select from notifiws_new n where %s)',
                                                         notifiws.same_key_sql('n', 'c', target)) end);
end
$$;
