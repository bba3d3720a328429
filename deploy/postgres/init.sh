#!/usr/bin/env bash
# Run once by the postgres image, in an empty data directory: the role that owns the database. It may create tables
# and roles, and is no superuser: `notifiws migrate` needs no more. It is not called notifiws: the default search_path
# starts with a schema named like the user, and tables created without a schema would end up in the log's own.
# psql reads the password itself: a command line can be read by everybody on the machine.
set -euo pipefail
test -s /run/secrets/owner_password
psql --username "$POSTGRES_USER" --dbname postgres --no-psqlrc --quiet --set ON_ERROR_STOP=1 <<'SQL'
\set password `cat /run/secrets/owner_password`
CREATE ROLE notifiws_owner LOGIN CREATEROLE PASSWORD :'password';
CREATE DATABASE notifiws OWNER notifiws_owner;
REVOKE ALL ON DATABASE notifiws FROM PUBLIC;
SQL
