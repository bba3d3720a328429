-- Unwatch a table that was dropped. $1 the name it had, $2 channel
select notifiws.forget($1, $2)
