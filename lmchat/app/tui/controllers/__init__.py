"""The controllers of the chat screen, one for each subject; docs/architecture.md lists them."""
