-- The self-probe of a LISTEN connection. $1 nonce.
select pg_notify('notifiws_probe', $1)
