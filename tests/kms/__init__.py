"""An emulator of a cloud's key service, for tests: see emulator.py."""
