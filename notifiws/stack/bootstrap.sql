-- Run once by psql in a new embedded server, as its superuser: the role that owns the log, and its database.
-- The owner is no superuser, so that what works here works at a customer's, where migrate needs to own the database
-- and CREATEROLE. It is not called notifiws: the default search_path starts with a schema named like the user, and
-- tables created without a schema would end up in the log's own.
-- What it has beyond that is for trying things out on one's own machine.
\set ON_ERROR_STOP on
\getenv owner_password NOTIFIWS_OWNER_PASSWORD
SELECT 'CREATE ROLE notifiws_owner LOGIN CREATEROLE CREATEDB REPLICATION'
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'notifiws_owner') \gexec
ALTER ROLE notifiws_owner PASSWORD :'owner_password';
GRANT pg_monitor, pg_signal_backend, pg_create_subscription TO notifiws_owner;
GRANT SET ON PARAMETER session_replication_role TO notifiws_owner;
SELECT 'CREATE DATABASE notifiws OWNER notifiws_owner'
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'notifiws') \gexec
