"""What can go with a prompt: files, folders, images, PDFs, clipboard, pages, output of commands.

Must not know prompts or screens.
"""
