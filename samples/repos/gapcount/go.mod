module example.org/gapcount

go 1.18
