"""Build images, and exchange them with registries."""
