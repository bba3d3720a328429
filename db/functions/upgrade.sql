-- What migrate does with functions: those of an earlier release go, generated ones are made anew.

-- Drop the functions that have not been applied anew since: an earlier release's, whose overloads would make calls
-- ambiguous. Generated functions, which are named with a number, stay; so does what somebody else's object depends on.
create or replace function notifiws.drop_obsolete(there text[]) returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    obsolete regprocedure;
    dropped integer := 0;
begin
    for obsolete in
        select p.oid from pg_proc p
        where p.pronamespace = 'notifiws'::regnamespace and p.oid || ' ' || p.ctid = any (there)
          and p.proname !~ '_[0-9]+(_|$)'
    loop
        begin
            execute format('drop routine %s', obsolete);
            dropped := dropped + 1;
        exception when dependent_objects_still_exist then
            raise warning 'function % of an earlier release stays: %', obsolete, sqlerrm;
        end;
    end loop;
    return dropped;
end
$$;

-- Generate one watch's functions with this release's generator, and put on the triggers that it asks for. Returns null, or
-- why that failed: one table must not keep the others, or a migration, from going on, and what is there goes on capturing.
create or replace function notifiws.regenerate(watch_id integer) returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    entry record;
begin
    perform pg_advisory_xact_lock(1852797033, 5);
    select w.target, w.name into entry from notifiws.watched w where w.id = watch_id;
    if entry.target is null or notifiws.shape(entry.target) is null then
        return null;  -- unwatched meanwhile, or its table is gone
    end if;
    perform notifiws.follow_watch(watch_id, entry.target, everything => true, exact => false);
    return null;
exception
    when lock_not_available or deadlock_detected or internal_error then
        raise;  -- tried again
    when others then
        return format('the capture of %s is not renewed: %s', entry.name, sqlerrm);
end
$$;
