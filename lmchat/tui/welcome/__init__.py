"""The page while no server answers."""
