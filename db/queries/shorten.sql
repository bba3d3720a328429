-- Keep less than the retention, until the log has at most so many bytes. $1 retention interval, $2 most bigint.
-- → kept interval, bytes bigint (still more than $2: the rest was not cut yet, or is in use), emptied text[],
-- moved boolean (writers go on in the next slot)
select kept, bytes, emptied, moved from notifiws.shorten($1, $2)
