-- Before sleeping: granted, every writer that stayed silent is over and visible, so read once more, then sleep;
-- writers ring while it is held. Refused: stay awake and poll. → boolean
select pg_try_advisory_lock(1852797033, 2)
