-- Run once by psql in a new embedded server, as its superuser: the role that owns the log, and its database.
-- The owner is no superuser, so that what works here works at a customer's, where migrate needs to own the database
-- and CREATEROLE. What it has beyond that is for trying things out on one's own machine.
\set ON_ERROR_STOP on
\getenv owner_password NOTIFIWS_OWNER_PASSWORD
SELECT 'CREATE ROLE notifiws LOGIN CREATEROLE CREATEDB REPLICATION'
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'notifiws') \gexec
ALTER ROLE notifiws PASSWORD :'owner_password';
GRANT pg_monitor, pg_signal_backend, pg_create_subscription TO notifiws;
GRANT SET ON PARAMETER session_replication_role TO notifiws;
SELECT 'CREATE DATABASE notifiws OWNER notifiws'
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'notifiws') \gexec
