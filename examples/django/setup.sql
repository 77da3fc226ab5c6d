-- Makes the application's role and database if they are missing; may be run again at any time.
\set ON_ERROR_STOP on
\set QUIET on
-- Backquotes, not a psql option: the password is in no command line.
\set role `printf %s "${DB_USER:-demo}"`
\set database `printf %s "${DB_NAME:-demo}"`
\set password `printf %s "$DB_PASSWORD"`

SELECT format('CREATE ROLE %I LOGIN', :'role')
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'role') \gexec

ALTER ROLE :"role" PASSWORD :'password';

SELECT format('CREATE DATABASE %I OWNER %I', :'database', :'role')
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'database') \gexec
