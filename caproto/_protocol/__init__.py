"""What may be said: commands and their bytes, and which command is legal when.

Pure: no socket, thread or clock; the same rules for clients and servers.
"""
