-- Have watches follow their tables: capture functions of a changed shape are made anew, partitions that came or went are
-- followed. Waits for nobody. → count
select notifiws.refresh_watches()
