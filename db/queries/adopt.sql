-- $1 NOTIFY channel, $2 public channel
select notifiws.adopt($1, $2)
