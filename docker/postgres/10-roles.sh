#!/bin/bash
# Once, when the data is new: one role owns and migrates, the other runs and owns nothing.
set -eu
psql --username "$POSTGRES_USER" --dbname postgres --set ON_ERROR_STOP=1 \
  --set owner_password="$OWNER_PASSWORD" --set runtime_password="$RUNTIME_PASSWORD" <<'SQL'
CREATE ROLE fallow_owner LOGIN PASSWORD :'owner_password';
CREATE ROLE fallow_app LOGIN PASSWORD :'runtime_password';
CREATE DATABASE fallow OWNER fallow_owner;
\connect fallow
ALTER DEFAULT PRIVILEGES FOR ROLE fallow_owner GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO fallow_app;
ALTER DEFAULT PRIVILEGES FOR ROLE fallow_owner GRANT USAGE ON SEQUENCES TO fallow_app;
SQL
