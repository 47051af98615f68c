"""What the commands of the screen do. Each controller owns one part of the screen's state."""
