"""One call, one result: reads, writes and updates for scripts, without objects to keep."""
