-- What watch would refuse is refused here. $1 … $7 as watch. → the statement to run, text
select format('select notifiws.watch(%L, %L, events => %L%s%s%s%s)', $1::text::regclass, $2::text,
              notifiws.check_watch($1::text::regclass, $2, $3, $4, $5, $7::boolean),
              ', columns => ' || quote_literal($4::text[]),
              ', condition => ' || quote_literal($5::text),
              case when not $6::boolean then ', snapshot => false' end,
              case when $7::boolean then ', always => true' end)
