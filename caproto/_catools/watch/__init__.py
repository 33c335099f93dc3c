"""The full-screen table of ``caproto-monitor --watch``: what it shows, and how it is drawn."""
