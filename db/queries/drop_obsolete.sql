-- Drop the functions that have not been applied since functions_there. $1 its answer → how many
select notifiws.drop_obsolete($1)
