-- Which database this is, whatever it is called: the cluster's identifier and the name. → text
select s.system_identifier || '/' || current_database() from pg_control_system() s
