"""The project. PyMySQL stands in for the driver that Django's MySQL backend imports by name."""

import pymysql

pymysql.install_as_MySQLdb()
