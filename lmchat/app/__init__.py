"""What people use: the screen, the command line, and the leaves."""
