-- Truncate what is older than the retention. $1 interval. → text[], the partitions that were emptied
select notifiws.rotate($1)
