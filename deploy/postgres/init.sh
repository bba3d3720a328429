#!/usr/bin/env bash
# Run once by the postgres image, in an empty data directory: the role that owns the database. It may create tables
# and roles, and is no superuser: `notifiws migrate` needs no more.
set -euo pipefail
psql --username "$POSTGRES_USER" --dbname postgres --no-psqlrc --quiet --set ON_ERROR_STOP=1 \
  --set password="$(cat /run/secrets/notifiws_password)" <<'SQL'
CREATE ROLE notifiws LOGIN CREATEROLE PASSWORD :'password';
CREATE DATABASE notifiws OWNER notifiws;
REVOKE ALL ON DATABASE notifiws FROM PUBLIC;
SQL
