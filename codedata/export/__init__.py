"""Training sets from judged turns: what may go in, rows in the formats of trainers, files, and the card beside them."""
