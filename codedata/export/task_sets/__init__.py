"""Export tasks: as folders for Harbor and its readers, or as rows for graders."""
