-- Emit on channel $1 a payload with stamp $2 and note $3.
select notifiws_verify.say($1, $2, $3)
