-- The two roles: keyvault_owner owns the tables and migrates, keyvault_app is what the service
-- runs as. The app's role can read and write rows, cannot change tables, and (by the migrations)
-- can only append to the audit log.
--
-- Run once by a superuser in the database `keyvault`: by the Postgres image at its first start, or
--   psql -v secrets=/path/to/deploy/secrets -f deploy/postgres-init.sql keyvault

\set ON_ERROR_STOP on
\if :{?secrets}
\else
\set secrets /run/secrets
\endif
\set owner_password `cat :'secrets'/postgres_owner_password`
\set app_password `cat :'secrets'/postgres_app_password`

-- Neither may the passwords stand in the server's log.
SET log_statement = 'none';
SET log_min_error_statement = 'panic';
SET log_min_duration_statement = -1;

CREATE ROLE keyvault_owner LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'owner_password';
CREATE ROLE keyvault_app LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'app_password';

ALTER DATABASE keyvault OWNER TO keyvault_owner;
REVOKE ALL ON DATABASE keyvault FROM PUBLIC;
GRANT CONNECT ON DATABASE keyvault TO keyvault_app;

REVOKE CREATE ON SCHEMA public FROM PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE keyvault_owner IN SCHEMA public
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO keyvault_app;
ALTER DEFAULT PRIVILEGES FOR ROLE keyvault_owner IN SCHEMA public
    GRANT USAGE, SELECT ON SEQUENCES TO keyvault_app;
