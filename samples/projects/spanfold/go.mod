module example.org/spanfold

go 1.19
