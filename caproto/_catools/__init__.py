"""The parts of the command line tools that print as caget, caput, camonitor and cainfo do."""
