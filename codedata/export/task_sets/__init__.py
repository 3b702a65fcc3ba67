"""Export tasks: as folders for Harbor and programs that read its format, or as rows for graders."""
