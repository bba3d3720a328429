-- $1 table text. → boolean
select to_regclass($1) is not null
