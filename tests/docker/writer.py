"""Writes numbers through HAProxy without a pause, and says of each when it was acknowledged: `NUMBER SECONDS`.

What fails or is in doubt is never asked again: its number is left out, and the next one taken on a new connection. Says
`? SECONDS WHY` then. Ends when the table `over` is there.
"""
import sys
import time

import psycopg2

where = sys.argv[1]
number = 0
connection = None
while True:
    number += 1
    try:
        if connection is None:
            connection = psycopg2.connect(where, connect_timeout=2, options="-c statement_timeout=15s")
            connection.autocommit = True
            cursor = connection.cursor()
            cursor.execute("CREATE TABLE IF NOT EXISTS written (n bigint PRIMARY KEY)")
        cursor.execute("INSERT INTO written VALUES (%s)", (number,))
        print(number, f"{time.time():.3f}", flush=True)
        if number % 10 == 0:
            cursor.execute("SELECT to_regclass('over') IS NOT NULL")
            if cursor.fetchone()[0]:
                break
        time.sleep(0.02)
    except psycopg2.Error as error:
        print("?", f"{time.time():.3f}", str(error).split("\n", 1)[0], flush=True)
        if connection is not None:
            connection.close()
            connection = None
        time.sleep(0.05)
