"""What lies on disk: records, their states in the ledger, folders, files of rows."""
