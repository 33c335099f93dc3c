"""The threading client against the real C++ IOC: what a user at a beamline would notice."""
