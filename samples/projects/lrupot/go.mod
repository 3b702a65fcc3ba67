module example.org/lrupot

go 1.19
