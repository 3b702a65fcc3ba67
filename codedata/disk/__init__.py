"""Read and write what is on disk: records, their states in the ledger, folders, files of rows."""
