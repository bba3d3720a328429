-- The watched tables as they stand.
select 'notifiws-verify.alpha', id, version, stamp from notifiws_verify.alpha
union all
select 'notifiws-verify.beta', id, version, stamp from notifiws_verify.beta
