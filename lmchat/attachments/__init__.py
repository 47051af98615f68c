"""What can go with a prompt: files, folders, images, PDFs, clipboard, pages, output of commands.

Entrance: `read_attachment(path)` and similar functions, which return an `Attachment`. This package
does not know prompts or screens.
"""
