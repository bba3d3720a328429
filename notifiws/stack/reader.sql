-- The role that the nodes of an embedded database log in as: they may read the log, and nothing else. Statements for the
-- owner to run, since a password can be no parameter of theirs. $1 password text. → statement text, in order
select format(statement, $1::text) as statement
from (values
    (1, 'create role notifiws_node login password %L', not exists (select from pg_roles where rolname = 'notifiws_node')),
    (2, 'alter role notifiws_node login password %L', true),
    (3, 'grant notifiws_reader to notifiws_node', true)
) as steps (number, statement, wanted)
where wanted
order by number
