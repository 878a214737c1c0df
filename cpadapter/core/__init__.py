"""The classes that do the work; no environ, no scope, no thread, no loop."""
