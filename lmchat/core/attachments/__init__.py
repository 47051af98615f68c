"""Attachments of prompts: files, folders, images, PDFs, clipboard, pages, output of commands."""
