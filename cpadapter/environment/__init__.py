"""The default instances everybody shares, and proxies to the current ones."""
