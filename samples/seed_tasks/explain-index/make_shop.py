import random
import sqlite3

numbers = random.Random(8)
database = sqlite3.connect("shop.db")
database.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, customer INT, status TEXT,"
                 " placed TEXT)")
database.execute("CREATE TABLE lines (order_id INT, article INT, number INT)")
for order in range(20000):
    status = numbers.choices(["open", "sent", "paid"], [1, 4, 20])[0]
    placed = f"2024-{numbers.randrange(1, 13):02}-{numbers.randrange(1, 29):02}"
    database.execute("INSERT INTO orders VALUES (?, ?, ?, ?)",
                     (order, numbers.randrange(900), status, placed))
    for _ in range(numbers.randrange(1, 4)):
        database.execute("INSERT INTO lines VALUES (?, ?, ?)",
                         (order, numbers.randrange(500), numbers.randrange(1, 9)))
database.commit()
