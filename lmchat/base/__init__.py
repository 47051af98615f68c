"""What all houses use, and what knows nothing of chats."""
