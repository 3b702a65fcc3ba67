"""Export judged turns as training sets: select turns, make rows, write files and cards."""
