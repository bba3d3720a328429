-- Log payloads of adopted channels. $1 public channels text[], $2 payloads text[], in the order they came.
select notifiws.adopt_payloads($1, $2)
