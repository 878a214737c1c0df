"""HTTP values as pure functions: text and bytes in, values out; no request, no config, no I/O."""
