-- Have live queries follow partitions that came or went. Waits for no table's lock. → count
select notifiws.refresh_touches()
