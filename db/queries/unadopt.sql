-- $1 NOTIFY channel
select notifiws.unadopt($1)
