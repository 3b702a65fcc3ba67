"""Read and change source code: definitions, calls, small faults, patches, clones, licences."""
