-- → whether a change with stamp $1 was committed
select exists (select from notifiws_verify.audit where stamp = $1)
