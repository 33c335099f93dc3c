"""What we ask of the operating system: sockets, signals, and a process for the repeater."""
