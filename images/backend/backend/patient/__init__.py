"""A database backend: Django's for MySQL and MariaDB, which waits for a server that is being restarted."""
