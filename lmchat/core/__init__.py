"""Chats and servers, without a front end."""
