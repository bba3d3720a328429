-- What watch would refuse is refused here. $1 … $6 as watch. → the statement to run, text
select format('select notifiws.watch(%L, %L, events => %L%s%s)', $1::text::regclass, $2::text,
              notifiws.check_watch($1::text::regclass, $2, $3, $4, $5, false),
              ', columns => ' || quote_literal($4::text[]),
              case when not $6::boolean then ', snapshot => false' end)
