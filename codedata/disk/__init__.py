"""Read and write data on disk: records, their states in the ledger, folders, files of rows."""
